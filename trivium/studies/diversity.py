"""Where many answers are right, how many of them does a model give: after imitation of one each, and after rewards for any of them?"""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from trivium.core.config import component
from trivium.core.errors import DataError
from trivium.report.intervals import clustered_share_interval, mean_interval, paired_bootstrap
from trivium.report.svg import Interval, intervals
from trivium.studies.asked import Asked, asked_in
from trivium.studies.finding import Cell, Control, Figure, Finding
from trivium.studies.study import Preset, Trial

HEADER = ("run", "asked", "taught by", "prompts", "answers to each", "entropy of right answers, nats", "low", "high",
          "wrong answers", "wrong low", "wrong high")  # fmt: skip
SEED = 1
FEWEST = 10  # prompts with a right answer of both models


@component
class Diversity:
    """Looks at `sample` stages that ask several times for what has several right answers, as `facts right=4` writes them, of models that
    were fine-tuned and reinforced."""

    name: ClassVar = "diversity"
    claim: ClassVar = (
        "imitation punishes right answers that nobody showed; rewards accept them all, and push wrong ones down (Goldberg 2023)"
    )
    question: ClassVar = "Where many answers are right, how many does a model give after imitation, and after rewards?"
    rule: ClassVar = (
        "the claim is seen if the 95 % interval of the difference in the mean entropy of right answers, of the reinforced model less the"
        " fine-tuned one and prompt by prompt, lies above 0, and that of the difference in the share of wrong answers below 0; one of the"
        " two alone is not enough"
    )
    expected: ClassVar = "imitation of one answer a prompt collapses on it; rewards keep several right answers, and wrong ones become rare"

    def trials(self, preset: Preset) -> Sequence[Trial]:
        more = {} if preset == "laptop" else {"facts": {"known": 2000}, "pretrain": {"width": 384, "depth": 6}}
        return (Trial("diversity", more),)

    def find(self, folders: Sequence[Path]) -> Finding:
        asked = [each for folder in folders for each in asked_in(folder) if len(each.said_PK[0]) > 1]
        imitating = [each for each in asked if each.taught == "finetune"]
        rewarded = [each for each in asked if each.taught == "reinforce"]
        if not imitating or not rewarded:
            raise DataError(
                f"{', '.join(map(str, folders))}: {len(imitating)} fine-tuned and {len(rewarded)} reinforced models were asked several"
                " times by `sample` for what has several right answers (`trivium facts right=4`); one of each is needed"
            )
        before, after = imitating[-1], rewarded[-1]
        more, low, high = difference(after, before)
        holds = is_richer(after, before)
        verdict = (
            f"Right answers of {after.stage} have {more:+.2f} nats [{low:+.2f}, {high:+.2f}] more entropy than those of {before.stage};"
            f" wrong are {wrong_share(after)[0]:.0%} and {wrong_share(before)[0]:.0%} of their answers."
        )
        return Finding(
            verdict, holds, HEADER, [_row(each) for each in asked],
            [
                Control("four right answers against one", is_positive=True, is_detected=is_richer(_planted(4, 0), _planted(1, 3))),
                Control("a model against itself", is_positive=False, is_detected=is_richer(before, before)),
            ],
            [_figure(asked)],
        )  # fmt: skip


def difference(after: Asked, before: Asked) -> tuple[float, float, float]:
    """Mean entropy of right answers of one model less another's, over the prompts that both answer right, with its 95 % interval."""
    if after.right_P != before.right_P:
        raise DataError(f"{after.stage} and {before.stage} were not asked the same; let `sample` ask both the same prompts")
    a, b = after.entropies(), before.entropies()
    is_there = np.isfinite(a) & np.isfinite(b)
    if is_there.sum() < FEWEST:
        raise DataError(f"{after.stage} and {before.stage} are both right on {is_there.sum()} prompts; {FEWEST} are needed")
    return paired_bootstrap(a[is_there].tolist(), b[is_there].tolist(), SEED)


def wrong_share(asked: Asked) -> tuple[float, float, float]:
    """The share of answers that are wrong, with its 95 % interval."""
    is_wrong_PK = asked.marks() < 0
    return clustered_share_interval(is_wrong_PK.sum(axis=1).tolist(), [is_wrong_PK.shape[1]] * len(is_wrong_PK))


def is_richer(after: Asked, before: Asked) -> bool:
    """The rule."""
    wrong, fewer = ((each.marks() < 0).mean(axis=1).tolist() for each in (before, after))
    return difference(after, before)[1] > 0 and paired_bootstrap(fewer, wrong, SEED)[2] < 0


def _planted(different: int, wrong: int) -> Asked:
    """A model that gives so many different right answers and so many wrong ones among 12, to each of 50 prompts."""
    right = ["red", "green", "blue", "white"]
    said = [*(right[number % different] for number in range(12 - wrong)), *["black"] * wrong]
    return Asked("planted", "asked", "finetune", None, np.ones(50, bool), [right] * 50, [said] * 50)


def _entropy(asked: Asked) -> tuple[float, float | None, float | None]:
    entropies = asked.entropies()
    return mean_interval(entropies[np.isfinite(entropies)].tolist())


def _row(asked: Asked) -> list[Cell]:
    return [
        asked.run, asked.stage, asked.taught, len(asked.said_PK), len(asked.said_PK[0]), *_entropy(asked), *wrong_share(asked),
    ]  # fmt: skip


def _figure(asked: Sequence[Asked]) -> Figure:
    shown = [Interval(each.stage, *_entropy(each)) for each in asked]
    return Figure("Right answers", "entropy in nats, with 95 % intervals", intervals("entropy of right answers", shown))
