"""How does the loss fall with parameters and tokens, and what is the best use of a budget? A law fitted to a grid of runs."""

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from trivium.core.config import component
from trivium.core.errors import DataError
from trivium.core.seeds import generator
from trivium.plan.law import FLOPS_PER, REFITTED, Law
from trivium.plan.repeated_data import plan
from trivium.report.reading import number_of, read_record
from trivium.report.svg import Line, line_chart
from trivium.studies.finding import Cell, Control, Figure, Finding
from trivium.studies.scaling_law import MIN_RUNS, Runs, bootstrap, fit, isoflop, residuals
from trivium.studies.study import Preset, Trial, refuse_folders
from trivium.text.rows import rows

HEADER = ("what", "value", "low", "high")
SEED = 1
MEASURE = "bits_per_byte"
WIDEST = 0.5  # an interval of b / (a + b) that is wider decides nothing
LAPTOP_SIZES, GPU_SIZES = (1, 2, 3, 4), ((4, 256), (6, 384), (8, 512), (12, 768))  # of the recipe's stages; (depth, width)
STEPS = (125, 250, 500, 1000)  # of the recipe


@component
class Scaling:
    """From every `pretrain` stage of the folders, each with the schedule that ends at its last step; or from a table of runs.

    runs: a file with `parameters`, `tokens` and `loss` of each. budget: FLOPs to plan for (0: ten times the largest run's).
    unique_tokens: text there is for it (0: without end).
    """

    name: ClassVar = "scaling"
    claim: ClassVar = "loss is E + A / N^a + B / D^b, and parameters and tokens should grow alike with compute (Hoffmann et al. 2022)"
    question: ClassVar = "How does the loss fall with parameters and tokens, and what is the best use of a budget?"
    rule: ClassVar = (
        "the claim is seen if the 95 % bootstrap intervals of a and b lie above 0 and that of b / (a + b), the power of compute by which"
        f" the best size grows, holds 1/2; an interval of it wider than {WIDEST:g} decides nothing at all"
    )
    expected: ClassVar = "a law that fits to about 1 %, with a power of compute that a dozen small runs leave wide open"
    runs: str = ""
    budget: float = Field(default=0.0, ge=0)
    unique_tokens: float = Field(default=0.0, ge=0)

    def trials(self, preset: Preset) -> Sequence[Trial]:
        if self.runs:
            return ()
        return (Trial("scaling", _shorter() if preset == "laptop" else _for_gpu()),)

    def find(self, folders: Sequence[Path]) -> Finding:
        if self.runs:
            refuse_folders(folders, f"runs={self.runs}")
        runs = _table(Path(self.runs)) if self.runs else _runs(folders)
        law = fit(runs)
        laws = bootstrap(runs, law, SEED)
        holds = _decide(laws)
        table = _constants(law, laws, runs) + _isoflops(runs) + self._plans(law, laws, runs)
        controls = [
            Control("planted runs of a law with b / (a + b) of .51, 1 % noise", is_positive=True, is_detected=_planted(REFITTED) is True),
            Control("the same with .2", is_positive=False, is_detected=_planted(Law(1.8, 2e4, 12.0, 0.6, 0.15)) is True),
        ]
        return Finding(_verdict(law, laws, runs, holds), holds, HEADER, table, controls, _figures(runs, law))

    def _plans(self, law: Law, laws: Sequence[Law], runs: Runs) -> list[list[Cell]]:
        budget = self.budget or 10 * FLOPS_PER * float((runs.parameters * runs.tokens).max())
        unique = self.unique_tokens or math.inf
        best, others = plan(law, budget, unique), [plan(each, budget, unique) for each in laws]
        words = {"parameters": "parameters", "tokens": "tokens", "epochs": "epochs over the text", "loss": "loss by the law"}
        if not self.unique_tokens:
            del words["epochs"]
        values = {name: [getattr(each, name) for each in others] for name in words}
        return [[f"best {said} for {budget:.2g} FLOPs", getattr(best, name), *_interval(values[name])] for name, said in words.items()]


def _shorter() -> dict[str, Any]:
    """The recipe's grid with half as many tokens, and a warm-up that is half as long."""
    schedule = {"warmup_steps": 10, "decay_share": 0.5}
    return {
        f"n{size}_d{number}": {"steps": steps // 2, "schedule": schedule}
        for size in LAPTOP_SIZES
        for number, steps in enumerate(STEPS, start=1)
    }


def _for_gpu() -> dict[str, Any]:
    """The recipe's grid with larger models, and 64 times the tokens in each step."""
    large = {"batch_tokens": 131072, "micro_batch_rows": 256, "seq_len": 512, "head_dim": 64}
    return {
        f"n{size}_d{number}": {"depth": depth, "width": width, "steps": steps * 4, **large}
        for size, (depth, width) in zip(LAPTOP_SIZES, GPU_SIZES, strict=True)
        for number, steps in enumerate(STEPS, start=1)
    }  # fmt: skip


def _runs(folders: Sequence[Path]) -> Runs:
    """The pre-training stages of run folders. N is the FLOPs a token over 6: the weights that a token is multiplied with, and attention."""
    found = []
    for folder in folders:
        record = read_record(folder)
        for stage in record.stages:
            facts, curve = record.facts.get(stage, {}), record.curves.get(stage, {}).get(MEASURE)
            flops, tokens = number_of(facts.get("flops")), number_of(facts.get("tokens"))
            if flops and tokens and curve:
                found.append((flops / FLOPS_PER / tokens, tokens, curve[-1][1]))
    if len(found) < MIN_RUNS:
        raise DataError(
            f"{', '.join(map(str, folders))}: {len(found)} complete stages of pre-training with '{MEASURE}', {MIN_RUNS} are needed, of 3"
            " sizes and 3 numbers of tokens or more; give more folders, a table as runs=FILE, or none, and the study makes its own"
        )
    return Runs(*np.array(found).T)


def _table(path: Path) -> Runs:
    return Runs(*np.array([[row.finite(field) for field in ("parameters", "tokens", "loss")] for row in rows(path)]).T)


def _interval(values: Sequence[float]) -> list[Cell]:
    low, high = np.quantile(values, [0.025, 0.975], method="nearest").tolist()
    return [low, high]


def _power(law: Law) -> float:
    """Of compute, by which the best size grows."""
    return law.b / (law.a + law.b)


def _decide(laws: Sequence[Law]) -> bool | None:
    """The rule, from the laws of resampled runs."""
    low, high = np.quantile([_power(law) for law in laws], [0.025, 0.975], method="nearest")
    if high - low > WIDEST:
        return None
    is_falling = all(np.quantile([getattr(law, name) for law in laws], 0.025, method="nearest") > 0 for name in "ab")
    return is_falling and bool(low <= 0.5 <= high)


@cache
def _planted(law: Law) -> bool | None:
    """What the rule says of runs that follow a law with 1 % noise: 8 sizes, each with 6 numbers of tokens."""
    N, D = (grid.ravel() for grid in np.meshgrid(np.geomspace(3e7, 1e10, 8), np.geomspace(1e9, 3e11, 6)))
    noise = np.exp(0.01 * generator(SEED, "planted runs").normal(size=len(N)))
    runs = Runs(N, D, law(N, D) * noise)
    return _decide(bootstrap(runs, fit(runs), SEED))


def _constants(law: Law, laws: Sequence[Law], runs: Runs) -> list[list[Cell]]:
    rows_of: list[list[Cell]] = [
        [name, getattr(law, name), *_interval([getattr(each, name) for each in laws])] for name in ("E", "A", "B", "a", "b")
    ]
    rows_of.append(["b / (a + b)", _power(law), *_interval([_power(each) for each in laws])])
    return [
        *rows_of,
        ["typical error of the law", float(np.median(np.abs(residuals(runs, law)))), None, None],
        ["runs", len(runs), None, None],
    ]


def _isoflops(runs: Runs) -> list[list[Cell]]:
    try:
        found = isoflop(FLOPS_PER * runs.parameters * runs.tokens, runs.parameters, runs.loss)
    except DataError:
        return []
    rows_of: list[list[Cell]] = [["power of compute by IsoFLOP", found.slope, None, None]]
    return rows_of + [
        [f"best size at {C:.2g} FLOPs, by IsoFLOP", N, None, None] for C, N in zip(found.flops, found.parameters, strict=True)
    ]


def _verdict(law: Law, laws: Sequence[Law], runs: Runs, holds: bool | None) -> str:
    low, high = _interval([_power(each) for each in laws])
    told = {True: "so parameters and tokens may grow alike", False: "which the claim does not allow", None: "which is too wide to decide"}
    return (
        f"{len(runs)} runs fit loss = {law.E:.3g} + {law.A:.3g} / N^{law.a:.2f} + {law.B:.3g} / D^{law.b:.2f} to"
        f" {np.median(np.abs(residuals(runs, law))):.1%} (median); the best size grows as compute to the {_power(law):.2f}"
        f" [{low:.2f}, {high:.2f}], {told[holds]}."
    )


def _figures(runs: Runs, law: Law) -> list[Figure]:
    sizes = np.unique(runs.parameters)
    shown = sizes[np.linspace(0, len(sizes) - 1, min(4, len(sizes))).astype(int)]
    lines = []
    for size in shown:
        tokens = runs.tokens[runs.parameters == size]
        along = np.geomspace(tokens.min(), tokens.max(), 30)
        dots = list(zip(np.log10(tokens).tolist(), runs.loss[runs.parameters == size].tolist(), strict=True))
        lines.append(
            Line(f"{size:.2g}", list(zip(np.log10(along).tolist(), law(size, along).tolist(), strict=True)), raw=dots, is_cloud=True)
        )
    said = list(zip(law(runs.parameters, runs.tokens).tolist(), runs.loss.tolist(), strict=True))
    ends = [min(runs.loss.tolist()), max(runs.loss.tolist())]
    equal = [Line("equal", list(zip(ends, ends, strict=True)), raw=said, is_cloud=True)]
    return [
        Figure(
            "loss against tokens", "dots measured, lines the law, by N", line_chart("loss against tokens", lines, x_name="log10 tokens")
        ),
        Figure("measured against the law", "dots on the line: right", line_chart("loss, measured", equal, x_name="loss by the law")),
    ]
