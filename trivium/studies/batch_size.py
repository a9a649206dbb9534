"""Does doubling the batch halve the updates for the same number of tokens without making the model worse? While it is below the noise."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field

from trivium.core.config import component
from trivium.core.errors import DataError
from trivium.report.intervals import mean_interval
from trivium.report.svg import Interval, Line, intervals, line_chart
from trivium.studies.evidence import Training, trainings_of
from trivium.studies.finding import Control, Figure, Finding
from trivium.studies.held_out import HeldOut, heldout_shard, measured
from trivium.studies.released import batch_pairs, read_evaluations
from trivium.studies.statistics import noise_scale
from trivium.studies.study import Preset, Trial, refuse_folders

HEADER = (
    "training", "batch tokens", "updates", "seconds", "bits per byte", "more than the smallest, %", "low", "high", "batch / noise scale",
)  # fmt: skip
RELEASED_HEADER = ("size", "accuracy, 2M tokens", "smaller batch", "difference in points", "low", "high")
ARM, CONTROL, AGAIN = "batch_", "huge_", "again_"  # what the stages are called
SCALED = "scaled_"  # of those whose rate grows with the root of the batch, as is usual for Adam
LARGE_MODELS = ("1b", "1.4b")  # of the released table: at 1B parameters and above
POINTS = 2.0  # of LAMBADA, that a larger batch may cost there


@dataclass(frozen=True, slots=True)
class Arm:
    """A training at one batch size. more: per cent of the smallest batch's bits per byte, with its 95 % interval over held-out rows."""

    training: Training
    batch_tokens: int
    steps: int
    seconds: float | None
    held_out: HeldOut
    more: tuple[float, float | None, float | None]

    @property
    def is_scaled(self) -> bool:
        """Whether its rate was raised with its batch; then the rule does not ask for it."""
        return self.training.stage.startswith(SCALED)


@component
class BatchSize:
    """Folders: a run with several pre-trainings of as many tokens each at different batch_tokens, or several such runs.

    margin: per cent of the smallest batch's bits per byte that a larger batch may cost. small: rows of the batches that gradients are
    taken of for the noise scale, batches: how many. released: instead of runs, the table of Pythia's evaluations (evals_v1.csv), of which
    five-shot LAMBADA of 2M tokens is compared with that of the smaller batch.
    """

    name: ClassVar = "batch_size"
    claim: ClassVar = "doubling the batch halves the time and hurts nothing (Biderman et al. 2023; only neutral from 1B parameters on)"
    question: ClassVar = "Does a model that sees as many tokens in half as many updates come out as good?"
    rule: ClassVar = (
        "seen if every batch up to the gradient noise scale has a held-out loss (bits per byte) at most {margin:g} % above that of the"
        " smallest batch: the upper end of the 95 % interval over held-out rows; not seen if the lower end of one of them is above"
        " {margin:g} %; else one cannot tell. Released table: the same with the 95 % intervals of five-shot LAMBADA, 2 points, and models"
        " of 1B and more"
    )
    expected: ClassVar = (
        "holds while the batch is below the noise scale, which at this size is a few thousand tokens; the largest batches cost"
    )
    margin: float = Field(default=1.0, gt=0)
    small: int = Field(default=4, gt=0)
    batches: int = Field(default=64, ge=2)
    released: str = ""

    def trials(self, preset: Preset) -> Sequence[Trial]:
        if self.released:
            return []
        if preset == "laptop":
            return [Trial("batch_size")]
        tokens = 129 * 2048 * 400
        sizes = {f"{ARM}{times}x": times * 129 * 64 for times in (1, 2, 4, 8)} | {f"{CONTROL}64x": 64 * 129 * 64, f"{AGAIN}1x": 129 * 64}
        large = {"preset": "pythia-70m", "micro_batch_rows": 256, "optimizer": {"lr": 1e-3}}
        stages = {name: {**large, "batch_tokens": batch, "steps": tokens // batch} for name, batch in sizes.items()}
        stages[f"{SCALED}8x"] = {**stages[f"{ARM}8x"], "optimizer": {"lr": 1e-3 * 8**0.5}}
        return [Trial("batch_size", {"tokenize": {"vocab_size": 16384}, **stages})]

    def find(self, folders: Sequence[Path]) -> Finding:
        if self.released:
            refuse_folders(folders, f"released={self.released}")
            return self._published()
        trainings = [training for training in trainings_of(folders) if training.trace is not None]
        found = _arms([each for each in trainings if not each.stage.startswith((CONTROL, AGAIN))])
        arms, scaled = ([arm for arm in found if arm.is_scaled == which] for which in (False, True))
        smallest = arms[0]
        _, _, scale = gradient_noise(smallest.training, rows=self.small, batches=self.batches)
        noise_tokens = scale * smallest.training.seq_len  # of gradients of whole rows
        rows = [
            [arm.training.name, arm.batch_tokens, arm.steps, arm.seconds, arm.held_out.bits, *arm.more, arm.batch_tokens / noise_tokens]
            for arm in found
        ]
        controls = self._controls(trainings, arms)
        verdict, holds = self._judged(arms, noise_tokens)
        if scaled:
            verdict += f" With a rate that grows with the root of the batch: {_told(scaled)}."
        shown = [Interval(f"{arm.batch_tokens:,} tokens", *arm.more) for arm in arms]
        points = [(float(np.log2(arm.batch_tokens)), arm.held_out.bits) for arm in arms]
        title = "per cent more bits per byte than the smallest batch"
        figures = [
            Figure(title, f"margin {self.margin:g}", intervals(title, shown)),
            Figure("held-out loss", "bits per byte", line_chart("held-out loss", [Line("loss", points)], x_name="log2 of batch tokens")),
        ]
        return Finding(verdict, holds, HEADER, rows, controls, figures)

    def _judged(self, arms: Sequence[Arm], noise_tokens: float) -> tuple[str, bool | None]:
        below = [arm for arm in arms[1:] if arm.batch_tokens <= noise_tokens]
        told = _told(arms[1:])
        scale = (
            f"the noise scale is about {noise_tokens:,.0f} tokens" if 0 < noise_tokens < math.inf else "no signal is seen above the noise"
        )
        base = f"{arms[0].batch_tokens:,} tokens in {arms[0].steps:,} updates"
        if not 0 < noise_tokens < math.inf:
            return f"There is no noise scale ({scale}), so one cannot tell which batches are small; against {base}: {told}.", None
        if not below:
            return f"No batch but the smallest is below the noise scale ({scale}): one cannot tell; against {base}: {told}.", None
        ends = [(arm.more[1], arm.more[2]) for arm in below]
        holds = all(high is not None and high <= self.margin for _, high in ends)
        hurts = any(low is not None and low > self.margin for low, _ in ends)
        words = "costs at most" if holds else "costs more than" if hurts else "may cost more than"
        return (
            f"Up to the noise scale a larger batch {words} {self.margin:g} % ({scale}; against {base}: {told}).",
            True if holds else False if hurts else None,
        )

    def _controls(self, trainings: Sequence[Training], arms: Sequence[Arm]) -> list[Control]:
        """A batch far above the noise and the smallest once more, where they were trained; else losses with per cents added."""
        base, shard = arms[0], heldout_shard(arms[0].training)
        found = []
        for training in trainings:
            if training.stage.startswith((CONTROL, AGAIN)):
                is_huge = training.stage.startswith(CONTROL)
                more = _more(base.held_out, measured(training.model, training, shard))
                about = "a batch far above the noise" if is_huge else "the smallest batch once more"
                found.append(Control(f"{about} ({training.name})", is_positive=is_huge, is_detected=self._hurts(more)))
        if {control.is_positive for control in found} == {True, False}:
            return found
        worse = HeldOut(base.held_out.bits_N * (1 + self.margin / 50), base.held_out.points_N)
        return [
            Control(
                f"the smallest batch's losses and {2 * self.margin:g} %",
                is_positive=True,
                is_detected=self._hurts(_more(base.held_out, worse)),
            ),
            Control("the smallest batch against itself", is_positive=False, is_detected=self._hurts(_more(base.held_out, base.held_out))),
        ]

    def _hurts(self, more: tuple[float, float | None, float | None]) -> bool:
        return more[1] is not None and more[1] > self.margin

    def _published(self) -> Finding:
        pairs = [(*pair, 100 * (pair[1].mean - pair[2].mean)) for pair in batch_pairs(read_evaluations(Path(self.released)))]
        half = {size: 196 * math.hypot(standard.error, smaller.error) for size, standard, smaller, _ in pairs}
        large = {size: gain for size, _, _, gain in pairs if size in LARGE_MODELS}
        small = [gain for size, _, _, gain in pairs if size not in LARGE_MODELS]
        if not large:
            raise DataError(f"{self.released}: has no model of 1B parameters or more at two batch sizes; is it evals_v1.csv?")
        widths = [half[size] for size in large]
        holds = is_neutral(list(large.values()), widths)
        told = "; ".join(f"{size} {100 * standard.mean:.1f} and {100 * smaller.mean:.1f}" for size, standard, smaller, _ in pairs)
        cost = f"below 1B it costs {-np.mean(small):.1f} points on average; " if small else ""
        words = {True: "is", False: "is not", None: "may be, or may not be,"}[holds]
        worse = is_neutral([gain - 10 for gain in large.values()], widths)
        controls = [
            Control("the models of 1B and more, 10 points taken away", is_positive=True, is_detected=worse is False),
            Control("no difference, as widely spread", is_positive=False, is_detected=is_neutral([0.0] * len(large), widths) is not True),
        ]
        rows = [
            [size, 100 * standard.mean, 100 * smaller.mean, gain, gain - half[size], gain + half[size]]
            for size, standard, smaller, gain in pairs
        ]
        title = "points that 2M tokens a batch gain"
        shown = [Interval(size, gain, gain - half[size], gain + half[size]) for size, _, _, gain in pairs]
        figure = Figure(title, "five-shot LAMBADA", intervals(title, shown))
        verdict = f"From 1B on the large batch {words} within {POINTS:g} points or better; {cost}five-shot LAMBADA, 2M and fewer: {told}."
        return Finding(verdict, holds, RELEASED_HEADER, rows, controls, [figure])


def is_neutral(gains: Sequence[float], halves: Sequence[float]) -> bool | None:
    """The rule, of points that the larger batch gains and half the widths of their 95 % intervals, one for each model."""
    if all(gain - half >= -POINTS for gain, half in zip(gains, halves, strict=True)):
        return True
    return False if any(gain + half < -POINTS for gain, half in zip(gains, halves, strict=True)) else None


def gradient_noise(training: Training, *, rows: int, batches: int) -> tuple[float, float, float]:
    """(|G|^2, tr(Sigma), noise scale in rows) of a finished model, from gradients of `batches` batches of its rows and of all of them."""
    from trivium.data.pack import pack
    from trivium.learn.objectives import CrossEntropy
    from trivium.learn.schedules import Schedule
    from trivium.train.trainer import Trainer

    source = training.order.source
    trainer = Trainer("noise", training.speaker().model, CrossEntropy(), [], schedule=Schedule(), steps=1)
    small, total = 0.0, None
    for number in range(batches):
        groups = [(source.row(int(row)),) for row in source.rows_at(number * rows, rows)]
        _, gradients = trainer.gradients(pack(groups, rows=rows, length=source.seq_len))
        small += sum(float(gradient.double().square().sum()) for gradient in gradients.values()) / batches
        total = gradients if total is None else {name: total[name] + gradient for name, gradient in gradients.items()}
    assert total is not None
    large = sum(float((gradient / batches).double().square().sum()) for gradient in total.values())
    return noise_scale((rows, small), (rows * batches, large))


def _arms(trainings: Sequence[Training]) -> list[Arm]:
    """By batch size, the smallest first, those with a rate that grows with it behind all others.

    Raises DataError if there are not two sizes, or they do not see as many tokens.
    """
    options = [(training, training.trace.options) for training in trainings if training.trace is not None]
    options.sort(key=lambda pair: (pair[0].stage.startswith(SCALED), pair[1].batch_tokens))
    tokens = [stage.steps * stage.rows_per_step * stage.seq_len for _, stage in options]
    if len({stage.batch_tokens for _, stage in options}) < 2 or max(tokens) > 1.02 * min(tokens):
        raise DataError(
            "the study needs pre-trainings at two batch sizes or more that see as many tokens"
            f" (here: {', '.join(f'{stage.batch_tokens:,} x {stage.steps:,}' for _, stage in options) or 'none'});"
            " let it make its own: trivium study batch_size"
        )
    shard = heldout_shard(options[0][0])
    held_out = [measured(training.model, training, shard) for training, _ in options]
    return [
        Arm(training, stage.batch_tokens, stage.steps, training.seconds, found, _more(held_out[0], found))
        for (training, stage), found in zip(options, held_out, strict=True)
    ]


def _told(arms: Sequence[Arm]) -> str:
    return "; ".join(f"{arm.batch_tokens:,} tokens {arm.more[0]:+.2f} % in {arm.steps:,} updates" for arm in arms)


def _more(base: HeldOut, other: HeldOut) -> tuple[float, float | None, float | None]:
    """Per cent of the base's mean by which the other's losses are higher, with the 95 % interval over rows."""
    return mean_interval((100 * (other.bits_N - base.bits_N) / base.bits).tolist())
