"""Three ways from one base to one domain: going on with pre-training, fine-tuning, and proxy tuning, which leaves the base untouched.

Ibrahim et al. 2024, arXiv:2403.08763 (continual pre-training with replay); Liu et al. 2024, arXiv:2401.08565 (proxy tuning), whose measure
is the gap closed, (proxy - base) / (tuned - base). Difference: one score, and its interval by a bootstrap over prompts, not a mean over
five benchmarks. Left out: the cost of making the small model, which is in the table only where that model is evaluated too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from trivium.core.config import component
from trivium.core.errors import DataError
from trivium.core.seeds import generator
from trivium.nn.config import ModelConfig
from trivium.nn.io.adapter_config import base_of
from trivium.nn.io.config_json import read_config
from trivium.nn.io.proxy_json import is_proxy, read_proxy
from trivium.report.intervals import paired_bootstrap
from trivium.report.reading import Record, Result, read_record
from trivium.report.svg import Line, line_chart
from trivium.stages.base import located
from trivium.stages.evaluate import Evaluate, true_scores
from trivium.stages.proxy import Proxy
from trivium.stages.recipe import Recipe, load_recipe
from trivium.studies.finding import Cell, Control, Figure, Finding
from trivium.studies.study import Preset, Trial

NEEDED = ("base", "continual", "tuned", "proxy", "same_size", "no_expert")
TEXTS = ("domain", "general")
HEADER = (
    "run", "way", "domain bits per byte", "domain low", "domain high", "general bits per byte", "general low", "general high", "forgotten",
    "instruction score", "score low", "score high", "gap closed", "gap low", "gap high",
    "training FLOPs", "parameters at inference", "weights, MB", "keys and values, kB a token",
)  # fmt: skip
EXACT = 0.01  # of the gap: what the controls may miss 100 % and 0 % by
RESAMPLES = 10_000
FP32 = 4  # bytes
LEARNS = {True: "learns", False: "does not learn", None: "may learn"}
FORGETS = {True: "forgets", False: "keeps", None: "may forget"}
ROWS = 16  # of an update of the recipe
LAPTOP = {  # of the recipe: a smaller base, and fewer updates
    "base": {"depth": 3, "width": 192, "steps": 400, "evaluate_every": 100}, "small": {"steps": 400},
    "continual": {"steps": 150, "mix": {"general": {"skip": 400 * ROWS}}},
    **dict.fromkeys(("tuned", "expert"), {"steps": 200}),
}  # fmt: skip

Span = tuple[float, float | None, float | None]  # a value and the ends of its 95 % interval, None where there is none


@dataclass(frozen=True, slots=True)
class Way:
    """One model of a run: what was measured of it, what its own training took, and what it takes to use it."""

    name: str
    texts: Mapping[str, Result]  # bits per byte, of TEXTS
    score: Result
    scores_N: np.ndarray  # true score of its answer to each prompt
    flops: float | None
    shapes: Sequence[ModelConfig]
    parameters: int

    @property
    def kv_bytes(self) -> int:
        """Keys and values of one token, in fp32."""
        return sum(2 * FP32 * shape.num_layers * shape.num_kv_heads * shape.head_dim for shape in self.shapes)


@dataclass(frozen=True, slots=True)
class Adapted:
    """A run with its ways by name."""

    record: Record
    ways: Mapping[str, Way]

    @staticmethod
    def read(folder: Path) -> "Adapted":
        """Read a run folder. Raises DataError that says what is missing."""
        recipe, record = load_recipe(str(folder / "run.toml"), {}), read_record(folder)
        found = [(name, stage) for name, stage in recipe.stages.items() if isinstance(stage, Evaluate) and stage.rule is not None]
        for name, stage in found:
            models = stage.models or {}
            if {*NEEDED} <= {*models} and {*TEXTS} <= {*stage.texts}:
                scores = true_scores(folder / name)
                return Adapted(record, {way: _way(way, path, recipe, record, scores) for way, path in models.items()})
        raise DataError(
            f"{folder}: no `evaluate` with a rule has the models {', '.join(NEEDED)} and tokens of {' and '.join(TEXTS)}; the recipe"
            " `adapt` shows how, and makes a run for the study: trivium study adapt"
        )

    def gap(self, name: str) -> Span:
        """The share of the way from base to tuned that a model has gone."""
        return gap_closed(self.ways["base"].scores_N, self.ways["tuned"].scores_N, self.ways[name].scores_N)

    def forgets(self, name: str) -> bool | None:
        """Whether its interval on general text lies above the base's; None where there is no interval."""
        mine, base = (self.ways[way].texts["general"] for way in (name, "base"))
        return None if mine.low is None or base.high is None else mine.low > base.high

    def forgotten(self, name: str) -> float | None:
        """By how many bits per byte general text got worse."""
        mine, base = (self.ways[way].texts["general"].value for way in (name, "base"))
        return None if mine is None or base is None else mine - base

    def learns(self, name: str) -> bool | None:
        """Whether its interval on text of the domain lies below the base's; None where there is no interval."""
        mine, base = (self.ways[way].texts["domain"] for way in (name, "base"))
        return None if mine.high is None or base.low is None else mine.high < base.low


@component
class Adapt:
    """Looks at runs with an `evaluate` of models called base, continual, tuned, proxy and the two controls (recipe adapt)."""

    name: ClassVar = "adapt"
    claim: ClassVar = "a small tuned model moves a large untouched one most of the way to direct tuning (Liu et al. 2024)"
    question: ClassVar = "Of three ways from one base to one domain, what does each learn, forget and cost?"
    rule: ClassVar = (
        "proxy tuning works if direct tuning beats the base on the same prompts (in each of 10,000 resamples of them) and the"
        " 95 % interval of the gap closed, (proxy - base) / (tuned - base), lies above 0; the measure is right if the tuned base as its own"
        " expert closes 100 % and an expert that is its own anti-expert 0 %, each within 1 %. A way learns the domain, or forgets, if its"
        " interval of bits per byte lies below the base's on the domain, or above it on general text"
    )
    expected: ClassVar = "the proxy closes 40 to 100 % of the gap; fine-tuning forgets, replay and proxy tuning hardly"

    def trials(self, preset: Preset) -> Sequence[Trial]:
        if preset == "laptop":
            return [Trial("adapt", LAPTOP)]
        unread = {"mix": {"general": {"skip": 20_000 * ROWS}}}  # general text that the base has not read
        larger = {"base": {"depth": 12, "steps": 20_000}, "small": {"depth": 6, "steps": 10_000}, "continual": unread}
        return [Trial("adapt", {"seed": seed, **larger}, f"adapt-{seed}") for seed in (1, 2, 3)]

    def find(self, folders: Sequence[Path]) -> Finding:
        runs = [Adapted.read(folder) for folder in folders]
        pooled = {way: np.concatenate([run.ways[way].scores_N for run in runs]) for way in NEEDED}
        gain = paired_bootstrap(pooled["tuned"].tolist(), pooled["base"].tolist(), 1)
        gaps = {way: gap_closed(pooled["base"], pooled["tuned"], pooled[way]) for way in ("proxy", "same_size", "no_expert")}
        return Finding(
            _verdict(runs, gain, gaps["proxy"]),
            None if (low := gaps["proxy"][1]) is None else low > 0,
            HEADER,
            [_row(run, way) for run in runs for way in run.ways.values()],
            [
                Control(
                    "the tuned base as expert, the base as anti-expert",
                    is_positive=True,
                    is_detected=abs(gaps["same_size"][0] - 1) <= EXACT,
                ),
                Control("an expert that is its own anti-expert", is_positive=False, is_detected=abs(gaps["no_expert"][0]) > EXACT),
            ],
            [figure for run in runs for figure in _figures(run.record)],
        )


def gap_closed(base_N: np.ndarray, tuned_N: np.ndarray, way_N: np.ndarray, seed: int = 1) -> Span:
    """(way - base) / (tuned - base) of means over the same prompts, and its 95 % percentile interval over resampled prompts.

    There is no interval where the resampled gap may be none at all, and a value of 0 where it is none.
    """
    draw, n = generator(seed, "gap closed"), len(base_N)
    pick = draw.integers(n, size=(RESAMPLES, n))
    gap, gone = (tuned_N - base_N)[pick].mean(axis=1), (way_N - base_N)[pick].mean(axis=1)
    whole, part = float((tuned_N - base_N).mean()), float((way_N - base_N).mean())
    if not (gap > 0).all():
        return part / whole if whole else 0.0, None, None
    low, high = np.quantile(gone / gap, [0.025, 0.975])
    return part / whole, float(low), float(high)


def _way(name: str, path: str, recipe: Recipe, record: Record, scores: Mapping[str, list[float]]) -> Way:
    """What the run says of one of the models that it evaluated."""
    results = {row.measure: row for row in record.results if row.stage == name}
    texts = {text: results[f"bits_per_byte_{text}"] for text in TEXTS if f"bits_per_byte_{text}" in results}
    if "true_score" not in results or len(texts) < len(TEXTS) or name not in scores:
        raise DataError(f"{record.folder}: results.json has no whole row of '{name}'; run the recipe again")
    place = located(record.folder, path)
    parts = [Path(part) for part in dict.fromkeys(read_proxy(place).parts.values())] if is_proxy(place) else [place]
    stage = path[1:].split("/")[0]
    options = recipe.stages.get(stage)
    trained = options.expert[1:].split("/")[0] if isinstance(options, Proxy) else stage  # of a proxy, its expert was trained
    flops, parameters = record.facts.get(trained, {}).get("flops"), record.facts.get(stage, {}).get("parameters", 0)
    return Way(
        name, texts, results["true_score"], np.array(scores[name], np.float64), flops, [read_config(base_of(part)) for part in parts],
        int(parameters),
    )  # fmt: skip


def _row(run: Adapted, way: Way) -> list[Cell]:
    domain, general, score = way.texts["domain"], way.texts["general"], way.score
    gap = run.gap(way.name)
    return [
        run.record.name, way.name, domain.value, domain.low, domain.high, general.value, general.low, general.high, run.forgotten(way.name),
        score.value, score.low, score.high, *gap,
        way.flops, way.parameters, way.parameters * FP32 / 1e6, way.kv_bytes / 1e3,
    ]  # fmt: skip


def _verdict(runs: Sequence[Adapted], gain: tuple[float, float, float], gap: Span) -> str:
    tuned = f"direct tuning gains {gain[0]:.3f} [{gain[1]:.3f}, {gain[2]:.3f}] in the instruction score"
    value, low, high = gap
    if low is None or high is None:
        parts = [f"There is no gap to close: {tuned}"]
    else:
        parts = [f"Proxy tuning closes {value:.0%} [{low:.0%}, {high:.0%}] of the gap; {tuned}"]
    for run in runs:
        said = []
        for way in ("continual", "tuned", "proxy"):
            change = run.forgotten(way)
            more = "" if change is None else f" ({change:+.3f} bits per byte)"
            said.append(f"{way} {LEARNS[run.learns(way)]} the domain's text and {FORGETS[run.forgets(way)]} the general{more}")
        parts.append(f"{run.record.name}: {', '.join(said)}")
    return "; ".join(parts) + "."


def _figures(record: Record) -> list[Figure]:
    """Bits per byte on each text on the way, of every stage that measured both."""
    found = []
    for stage, curves in record.curves.items():
        lines = [Line(text, curves[f"bits_per_byte_{text}"]) for text in TEXTS if f"bits_per_byte_{text}" in curves]
        if len(lines) == len(TEXTS):
            found.append(Figure("bits per byte on the way", f"{record.name} / {stage}", line_chart("bits per byte", lines)))
    return found
