"""Is a model better at sums with numbers that it has seen more often? Accuracy of an operand beside how many rows had it by then."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from trivium.core.config import component
from trivium.core.errors import ConfigError, DataError
from trivium.core.seeds import generator
from trivium.report.correlation import correlation, ranks, spearman
from trivium.report.intervals import RESAMPLES, mean_interval
from trivium.report.svg import Line, line_chart
from trivium.studies.evidence import Training, trainings_of
from trivium.studies.finding import Cell, Control, Figure, Finding
from trivium.studies.numbers_seen import seen_by
from trivium.studies.released import arithmetic_means
from trivium.studies.study import Preset, Trial, refuse_folders
from trivium.text.planted import QUESTION, sum_line
from trivium.text.tokenizer.pieces import decoder_of

if TYPE_CHECKING:
    from trivium.stages.computing.models import Speaker

HEADER = (
    "training", "parameters", "updates", "operands", "mean accuracy", "low", "high", "top - bottom tenth, points", "gap low", "gap high",
    "rho", "rho low", "rho high", "p",
)  # fmt: skip
RELEASED_HEADER = ("model", "task", "checkpoint", "mean accuracy", "low", "high")
EVEN = "even"  # what a stage is called whose operands stand alike often: the negative control
NUMBER = re.compile(r"\d{1,5}")
LEARNED = 0.05  # mean accuracy from which on a model counts as knowing some of the task


@dataclass(frozen=True, slots=True)
class Measured:
    """Of a model after so many updates: for each first operand how many rows had it, and its accuracy, 0 to 1."""

    name: str
    parameters: int
    step: int
    seen: list[int]
    accuracy: list[float]

    @property
    def mean(self) -> float:
        """Over all operands."""
        return float(np.mean(self.accuracy))

    @property
    def is_even(self) -> bool:
        """Whether its corpus is that of the control."""
        return self.name.rpartition("/")[2].startswith(EVEN)

    @property
    def rises(self) -> bool:
        """Whether accuracy rises with the count, by the rule."""
        rho, p = spearman(self.seen, self.accuracy)
        return rho > 0 and p < 0.05

    @property
    def gap(self) -> float:
        """Accuracy of the tenth of operands that were seen most minus that of the tenth seen least, in points."""
        return _gap(np.array(self.seen), np.array(self.accuracy))

    def spans(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """The ends of the 95 % intervals of the gap and of rho, percentiles over resampled operands."""
        draw, seen_X, accuracy_X = generator(1, "operands"), np.array(self.seen), np.array(self.accuracy)
        picks = draw.integers(len(seen_X), size=(RESAMPLES, len(seen_X)))
        found = [(_gap(seen_X[pick], accuracy_X[pick]), correlation(ranks(seen_X[pick]), ranks(accuracy_X[pick]))) for pick in picks]
        (gap_low, rho_low), (gap_high, rho_high) = np.quantile(found, [0.025, 0.975], axis=0).tolist()
        return (gap_low, gap_high), (rho_low, rho_high)


@component
class TermFrequency:
    """Sums x1 + x2 with x1 from 0 to `first` - 1 and x2 from 1 to `second`, as `plant` writes them, `shots` solved ones before each.

    Folders: runs whose pre-training kept models (keep_every); a stage called even... is the control. released: instead of runs, Pythia's
    table of arithmetic by operand, which has no counts: its means over checkpoints are shown.
    """

    name: ClassVar = "term_frequency"
    claim: ClassVar = "few-shot accuracy goes with how often the terms were seen (Biderman et al. 2023, section 3.3; Razeghi et al. 2022)"
    question: ClassVar = "Is a model better at sums whose first number stood in more rows of its training?"
    rule: ClassVar = (
        "seen if, of the finished model, Spearman's rho of accuracy and the number of rows up to then that have the operand is above 0 with"
        " p < 0.05 (permutation); a model with a mean accuracy below 5 % has not learned the task, and one cannot tell"
    )
    expected: ClassVar = "rho above 0.3 with operands by Zipf's law, about 0 with even ones; it comes when the task is learned"
    first: int = Field(default=50, ge=10)
    second: int = Field(default=9, ge=1)
    shots: int = Field(default=2, ge=0)
    released: str = ""

    def __post_init__(self) -> None:
        if self.shots >= self.first:
            raise ConfigError(
                f"shots is {self.shots}; each has another first number than the question, of which there are {self.first - 1}"
            )

    def trials(self, preset: Preset) -> Sequence[Trial]:
        if self.released:
            return []
        if preset == "laptop":
            return [Trial("term_frequency")]
        large = {"preset": "pythia-70m", "batch_tokens": 129 * 256, "micro_batch_rows": 256, "steps": 4000, "optimizer": {"lr": 1e-3}}
        return [Trial("term_frequency", {"tokenize": {"vocab_size": 4096}, "zipf": large, "even": large})]

    def find(self, folders: Sequence[Path]) -> Finding:
        if self.released:
            refuse_folders(folders, f"released={self.released}")
            return self._published()
        found = [measured for training in trainings_of(folders) for measured in self._measured(training)]
        last = list({measured.name: measured for measured in found}.values())
        studied = [measured for measured in last if not measured.is_even]
        if not studied:
            raise DataError(f"every training here is a control (a stage called {EVEN}...); the study needs one that is not")
        able = [measured for measured in studied if measured.mean >= LEARNED]
        told = "; ".join(_told(measured) for measured in last)
        if able:
            holds, verdict = all(each.rises for each in able), f"Of {len(able)} models that have learned some of the task: {told}."
        else:
            holds, verdict = None, f"No model has learned the task, so one cannot tell: {told}."
        controls = _controls([each for each in last if each.is_even], studied[0].seen)
        return Finding(verdict, holds, HEADER, [_row(each) for each in found], controls, [_figure(each) for each in last])

    def _measured(self, training: Training) -> list[Measured]:
        if training.trace is None:
            raise DataError(f"{training.name}: is a model directory; counts come from the rows of a run folder")
        shard = next(iter(training.trace.lineage.shards.values()))
        text_of = decoder_of(training.trace.tokenizer)
        counts = seen_by(training.order, text_of, list(training.models), int(shard.meta["document_start"]))
        steps = [step for step in training.models if step >= max(training.models) // 8]
        return [
            Measured(
                training.name, training.parameters, step, [counts[step][x] for x in range(self.first)], self._accuracies(training, step)
            )
            for step in steps
        ]

    def _accuracies(self, training: Training, step: int) -> list[float]:
        speaker = training.speaker(step)
        pairs = [(x, y) for x in range(self.first) for y in range(1, self.second + 1)]
        answers = answer(speaker, [self.prompt(x, y) for x, y in pairs])
        right_XY = np.array([is_right(text, x + y) for text, (x, y) in zip(answers, pairs, strict=True)]).reshape(self.first, self.second)
        return right_XY.mean(axis=1).tolist()

    def prompt(self, x: int, y: int) -> str:
        """The question after `shots` solved ones with other first operands, drawn by lot."""
        draw = generator(1, "shots", x, y)
        others = [other for other in draw.permutation(self.first).tolist() if other != x][: self.shots]
        shown = [sum_line(other, int(draw.integers(1, self.second + 1))) for other in others]
        return "\n".join([*shown, QUESTION.format(first=x, second=y)])

    def _published(self) -> Finding:
        means = arithmetic_means(Path(self.released))
        rows = [[model, task, step, *span] for (model, task), steps in means.items() for step, span in steps.items()]
        if not rows:
            raise DataError(f"{self.released}: has no 16-shot accuracies; is it Pythia's table of term frequency?")
        mean, step, model, task = max((span[0], step, *name) for name, steps in means.items() for step, span in steps.items())
        verdict = (
            f"The table has accuracies and no counts, so one cannot tell; the best, {model}, does {mean:.1%} of {task} at step {step:,}."
        )
        lines = [Line(name, [(float(at), span[0]) for at, span in steps.items()]) for (name, what), steps in means.items() if what == task]
        figure = Figure(f"{task}, 16 shots", "mean accuracy", line_chart(f"{task}, 16 shots", lines))
        return Finding(verdict, None, RELEASED_HEADER, rows, _controls([], list(range(100))), [figure])


def _controls(even: Sequence[Measured], seen: Sequence[int]) -> list[Control]:
    """A learner whose chance to be right grows with the count; the even corpus or, without one, a learner that is blind to the count."""
    draw, tries = generator(1, "mock learners"), 100
    chance_X = 0.1 + 0.8 * np.argsort(np.argsort(seen, kind="stable"), kind="stable") / len(seen)
    grows = Measured("mock", 0, 0, list(seen), (draw.binomial(tries, chance_X) / tries).tolist())
    alike = Measured("mock", 0, 0, list(seen), (draw.binomial(tries, 0.5, len(seen)) / tries).tolist())
    negative = [(f"even operands ({each.name})", each) for each in even] or [("a learner that is right half of the time", alike)]
    return [
        Control("a learner that is right the more often the more it saw", is_positive=True, is_detected=grows.rises),
        *(Control(about, is_positive=False, is_detected=each.rises) for about, each in negative),
    ]


def _told(each: Measured) -> str:
    (rho, p), ((gap_low, gap_high), (low, high)) = spearman(each.seen, each.accuracy), each.spans()
    return (
        f"{each.name} does {each.mean:.1%} of the sums, rho = {rho:.2f} [{low:.2f}, {high:.2f}] (p = {p:.4f}), top - bottom tenth"
        f" {each.gap:+.0f} points [{gap_low:+.0f}, {gap_high:+.0f}]"
    )


def _gap(seen_X: np.ndarray, accuracy_X: np.ndarray) -> float:
    order, tenth = np.argsort(seen_X, kind="stable"), max(1, len(seen_X) // 10)
    return 100 * float(accuracy_X[order[-tenth:]].mean() - accuracy_X[order[:tenth]].mean())


def _row(each: Measured) -> list[Cell]:
    (rho, p), (gap, of_rho) = spearman(each.seen, each.accuracy), each.spans()
    mean = mean_interval(each.accuracy)
    return [each.name, each.parameters, each.step, len(each.seen), *mean, each.gap, *gap, rho, *of_rho, p]


def _figure(each: Measured) -> Figure:
    points = [(math.log10(1 + seen), accuracy) for seen, accuracy in zip(each.seen, each.accuracy, strict=True)]
    by_bin: dict[int, list[tuple[float, float]]] = {}
    for point in points:
        by_bin.setdefault(round(point[0] * 5), []).append(point)
    means = [(float(np.mean([x for x, _ in of_bin])), mean_interval([y for _, y in of_bin])) for _, of_bin in sorted(by_bin.items())]
    spans = [(x, low, high) for x, (_, low, high) in means if low is not None and high is not None]
    line = Line("accuracy", [(x, y) for x, (y, *_) in means], raw=points, is_cloud=True, whiskers=spans)
    return Figure(
        "accuracy and frequency", f"{each.name}, {each.step:,} updates", line_chart("accuracy", [line], x_name="log10 of 1 + rows")
    )


def answer(speaker: "Speaker", prompts: Sequence[str]) -> list[str]:
    """What a model writes after each text, greedily, up to the end of the line."""
    from trivium.generate.engine import Engine
    from trivium.generate.sampling import Sampling

    engine = Engine(speaker.model, stop_ids=(), kernels="torch")
    ids = [np.asarray(speaker.tokenizer.encode(prompt), np.int32) for prompt in prompts]
    answers = engine.generate(ids, Sampling(temperature=0.0, max_new_tokens=6), seed=1, purpose="sums")
    return [speaker.tokenizer.decode(said.tokens[len(prompt) :]).partition("\n")[0] for said, prompt in zip(answers, ids, strict=True)]


def is_right(text: str, result: int) -> bool:
    """Whether the first number of one to five digits is the result."""
    found = NUMBER.search(text)
    return found is not None and int(found[0]) == result
