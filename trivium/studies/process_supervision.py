"""Does a reward model that learned of every step choose better among answers than one that learned of results from the same answers?

Lightman et al. 2023, arXiv:2305.20050, figure 3 (best of 1,860 on MATH: 78.2 % by steps, 72.4 % by results); Uesato et al. 2022,
arXiv:2211.14275. Differences: steps are labelled by rollouts (Math-Shepherd, Wang et al. 2024, arXiv:2312.08935) and not by people, and
sums worked out digit by digit are what is solved; the best of n is its mean over all subsets (score/best_of.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from trivium.core.config import component
from trivium.core.errors import DataError
from trivium.core.types import Message
from trivium.learn.objectives import Process
from trivium.report.intervals import curve_bootstrap, paired_bootstrap
from trivium.report.svg import Line, line_chart
from trivium.score.best_of import best_of
from trivium.score.keep import Steps
from trivium.stages.recipe import load_recipe
from trivium.stages.reward import Reward
from trivium.stages.sample import Sample
from trivium.stages.selection import SCORED, scored_table
from trivium.studies.evidence import machine_of, names_of
from trivium.studies.finding import Cell, Control, Figure, Finding
from trivium.studies.study import Preset, Trial

if TYPE_CHECKING:
    from trivium.stages.computing.models import Speaker

SEED = 1
CONTROL = "control"  # how the names of stages begin whose labels say nothing
ROWS = 32  # answers that are read at once
HEADER = (
    "run", "reward model", "learned from", "prompts", "answers to each", "right, one answer", "right, best of all", "low", "high",
    "with a perfect judge", "gain over a draw", "gain low", "gain high",
)  # fmt: skip
STEPS, RESULTS = "steps", "results"


@dataclass(frozen=True, slots=True)
class Judged:
    """What a reward model chose. learned: from steps or results. right_PK: probability that the best of k answers, k = 1 to N, is right.

    drawn_P: the same of a draw among those that were not cut off, which nobody would choose. perfect: of a judge who knows.
    """

    run: str
    name: str
    learned: str
    right_PK: np.ndarray
    drawn_P: np.ndarray
    perfect: float

    @property
    def is_control(self) -> bool:
        """Whether its labels say nothing."""
        return self.name.startswith(CONTROL)

    @property
    def gain(self) -> tuple[float, float, float]:
        """Of the best of all answers over a draw, prompt by prompt, with its 95 % interval."""
        return paired_bootstrap(self.right_PK[:, -1].tolist(), self.drawn_P.tolist(), SEED)

    @property
    def helps(self) -> bool:
        """Whether it chooses better than a draw."""
        return self.gain[1] > 0

    def above(self, other: "Judged") -> tuple[float, float, float]:
        """How much more often its choice is right than another's, prompt by prompt, with its 95 % interval."""
        return paired_bootstrap(self.right_PK[:, -1].tolist(), other.right_PK[:, -1].tolist(), SEED)

    def is_better(self, other: "Judged") -> bool | None:
        """The rule; None: cannot tell."""
        _, low, high = self.above(other)
        return True if low > 0 else False if high < 0 else None


@component
class ProcessSupervision:
    """Looks at runs with stages of `reward objective=process` (score=last: an outcome reward model) whose `heldout` is what a `sample` with
    keep=steps kept; names of reward stages with shuffled labels begin with 'control'."""

    name: ClassVar = "process_supervision"
    claim: ClassVar = "process supervision beats outcome supervision (Lightman et al. 2023, Uesato et al. 2022)"
    question: ClassVar = "Does a reward model that learned of every step choose better among answers than one that learned of results?"
    rule: ClassVar = (
        "the claim is seen if the 95 % interval of the difference in how often the best of all answers to a held-out problem is right, by"
        " steps less by results and problem by problem, lies above 0; not seen if it lies below; else one cannot tell. A reward model"
        " chooses better than a draw if the same interval of the best of all answers, less a draw among those that ended by themselves,"
        " lies above 0"
    )
    expected: ClassVar = "steps at least as good as results, and both better than a draw; with shuffled labels no better than one"

    def trials(self, preset: Preset) -> Sequence[Trial]:
        longer = {"sampling": {"max_new_tokens": 80}}  # three digits
        sums = {"arithmetic": {"largest": 999, "num_demonstrations": 4000, "num_prompts": 4000}}
        larger = {"pretrain": {"depth": 6, "width": 384}, **sums, "judged": longer, "answers": longer}
        return [Trial("process_supervision", larger if preset == "gpu" else {})]

    def find(self, folders: Sequence[Path]) -> Finding:
        judged = [each for folder, run in zip(folders, names_of(folders), strict=True) for each in judged_in(folder, run)]
        controls = [each for each in judged if each.is_control] or [planted("no better than a draw", 0.0)]
        steps, results = ([each for each in judged if each.learned == by and not each.is_control] for by in (STEPS, RESULTS))
        pairs = [(one, other) for one in steps for other in results if one.run == other.run]
        if not pairs:
            raise DataError(
                f"{', '.join(map(str, folders))}: {len(steps)} reward models of steps and {len(results)} of results (objective.score=last)"
                " have the answers of a `sample` with keep=steps as `heldout`; a run with both is needed: trivium study process_supervision"
            )
        seen = [one.is_better(other) for one, other in pairs]
        return Finding(
            f"{'; '.join(_told(*pair) for pair in pairs)}.",
            True if all(seen) else False if False in seen else None,
            HEADER,
            [_row(each) for each in judged],
            [
                *(Control(f"{each.run}/{each.name}, labels of steps", is_positive=True, is_detected=each.helps) for each in steps),
                *(Control(f"{each.run}/{each.name}, shuffled labels", is_positive=False, is_detected=each.helps) for each in controls),
            ],
            [_figure(run, [each for each in judged if each.run == run]) for run in dict.fromkeys(each.run for each in judged)],
        )  # fmt: skip


def judged_in(folder: Path, run: str) -> list[Judged]:
    """What each process reward model of a run makes of the answers that it was not trained on."""
    from trivium.stages.computing.models import Speaker

    stages = load_recipe(str(folder / "run.toml"), {}).stages
    found = []
    for name, stage in stages.items():
        if not isinstance(stage, Reward) or not isinstance(stage.objective, Process) or not stage.heldout.startswith("@"):
            continue
        place = stage.heldout[1:].split("/")[0]
        source, file = stages.get(place), folder / place / "answers" / SCORED
        if isinstance(source, Sample) and isinstance(source.keep, Steps) and file.is_file() and (folder / name / "done.json").is_file():
            table, learned = list(scored_table(file)()), RESULTS if stage.objective.score == "last" else STEPS
            speaker = Speaker.load_judge(folder / name / "model", machine_of(folder))
            found.append(judged(run, name, learned, _scores(speaker, table), _right(table, source.keep.at_least)))
    return found


def judged(run: str, name: str, learned: str, scores_PN: np.ndarray, right_PN: np.ndarray) -> Judged:
    """From the scores of all answers, -infinity for what was cut off, and whether they are right."""
    drawn_P = best_of(np.where(np.isfinite(scores_PN), 0.0, -np.inf), right_PN)[:, -1]
    return Judged(run, name, learned, best_of(scores_PN, right_PN), drawn_P, float(right_PN.max(1).mean()))


def planted(name: str, share: float, *, prompts: int = 200, answers: int = 8) -> Judged:
    """A judge of answers half of which are right, who knows of this share of the problems which."""
    right_PN = (np.arange(prompts * answers).reshape(prompts, answers) % 2).astype(float)
    is_known_P1 = (np.arange(prompts) < share * prompts)[:, None]
    return judged("planted", name, STEPS, np.where(is_known_P1, right_PN, 0.0), right_PN)


def _right(table: Sequence[Mapping[str, Any]], least: float) -> np.ndarray:
    """(P, N): 1 where an answer ended by itself and its score says that it is right."""
    return np.array([[float(end and score >= least) for end, score in zip(row["stopped"], row["scores"], strict=True)] for row in table])


def _scores(speaker: "Speaker", table: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """(P, N): the probability by the reward model that an answer is right; -infinity for what was cut off, which others go before."""
    there = [(row, place) for row in table for place, end in enumerate(row["stopped"]) if end]
    prompts = {id(row): tuple(Message(turn["role"], turn["content"]) for turn in row["prompt"]) for row in table}
    answers = [speaker.answer(prompts[id(row)], row["responses"][place]) for row, place in there]
    scores_PN = np.full((len(table), len(table[0]["responses"])), -np.inf)
    if answers:
        scores_PN[[row["stopped"] for row in table]] = speaker.scores(answers, rows=ROWS, length=max(len(each.tokens) for each in answers))
    return scores_PN


def _row(each: Judged) -> list[Cell]:
    share_K, low_K, high_K = curve_bootstrap(each.right_PK, SEED)
    return [
        each.run, each.name, each.learned, *each.right_PK.shape, float(share_K[0]), float(share_K[-1]), float(low_K[-1]), float(high_K[-1]),
        each.perfect, *each.gain,
    ]  # fmt: skip


def _told(steps: Judged, results: Judged) -> str:
    more, low, high = steps.above(results)
    return (
        f"{steps.run}: of {steps.right_PK.shape[1]} answers {steps.name}, which learned of every step, chooses a right one in"
        f" {steps.right_PK[:, -1].mean():.1%}, {results.name}, which learned of results, in {results.right_PK[:, -1].mean():.1%}, a draw in"
        f" {steps.drawn_P.mean():.1%}: {100 * more:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]"
    )


def _figure(run: str, judged: Sequence[Judged]) -> Figure:
    title = "right, best of n"
    lines = []
    for each in judged:
        share_K, low_K, high_K = curve_bootstrap(each.right_PK, SEED)
        number_K = np.arange(1.0, len(share_K) + 1).tolist()
        whiskers = list(zip(number_K, low_K.tolist(), high_K.tolist(), strict=True))
        lines.append(Line(each.name, list(zip(number_K, share_K.tolist(), strict=True)), whiskers=whiskers))
    return Figure(title, f"{run}, by the reward model that chooses, with 95 % intervals", line_chart(title, lines, x_name="answers"))
