"""Does a model say that it does not know, and only then: after imitation, and after rewards with negative marks?"""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from trivium.core.config import component
from trivium.core.errors import DataError
from trivium.report.intervals import clustered_share_interval
from trivium.report.svg import Interval, intervals
from trivium.score.rewards.marked import pays_from
from trivium.studies.asked import Asked, asked_in
from trivium.studies.finding import Cell, Control, Figure, Finding
from trivium.studies.study import Preset, Trial

HEADER = (
    "run", "asked", "taught by", "a wrong answer costs", "people known", "people unknown",
    "abstains on the unknown", "low", "high", "abstains on the known", "known low", "known high",
    "of its abstentions, unknown", "right when it answers", "pays from", "mean mark",
)  # fmt: skip


@component
class Abstention:
    """Looks at `sample` stages whose prompts have the fields `answer` and `known`, as `facts` writes them, of models that were fine-tuned
    or reinforced with rewards=[{ kind = 'marked' }]."""

    name: ClassVar = "abstention"
    claim: ClassVar = "imitation teaches guessing, rewards with negative marks teach 'I do not know' (Goldberg 2023, Schulman 2023)"
    question: ClassVar = "Does a model that does not know say so, after imitation and after rewards with negative marks?"
    rule: ClassVar = (
        "the claim is seen if, of every model that lost something for wrong answers, the 95 % interval of the share of unknown people on"
        " whom it abstains lies above that of known people, and above that of unknown people of the fine-tuned model that was asked last;"
        " intervals know that answers about one person are alike"
    )
    expected: ClassVar = (
        "imitation of people who know answers always; after rewards so small a model abstains on a few more of the unknown than of the"
        " known, about people that it was not marked on"
    )

    def trials(self, preset: Preset) -> Sequence[Trial]:
        more = {} if preset == "laptop" else {"facts": {"known": 2000, "unknown": 2000}, "pretrain": {"width": 384, "depth": 6}}
        return (Trial("abstention", more),)

    def find(self, folders: Sequence[Path]) -> Finding:
        asked = [each for folder in folders for each in asked_in(folder) if not each.is_known_P.all()]
        marked = [each for each in asked if each.wrong]
        imitating = [each for each in asked if each.taught == "finetune"]
        if not marked or not imitating:
            raise DataError(
                f"{', '.join(map(str, folders))}: {len(marked)} models that lost something for wrong answers and {len(imitating)}"
                " fine-tuned ones were asked by `sample` about people known and unknown (`trivium facts`); one of each is needed"
            )
        holds = all(knows_its_limits(each, imitating[-1]) for each in marked)
        return Finding(
            _verdict(marked, imitating[-1], holds), holds, HEADER, [_row(each) for each in asked],
            [
                Control("answers what is known and abstains on the rest", is_positive=True, is_detected=_planted(abstains=True)),
                Control("answers always", is_positive=False, is_detected=_planted(abstains=False)),
            ],
            [_figure(asked)],
        )  # fmt: skip


def abstains(asked: Asked, *, known: bool) -> tuple[float, float, float]:
    """The share of answers about people known, or unknown, that say so, with its 95 % interval."""
    is_silent_PK = asked.marks()[asked.is_known_P == known] == 0
    if not len(is_silent_PK):
        raise DataError(f"{asked.run}/{asked.stage}: nobody {'known' if known else 'unknown'} was asked about")
    return clustered_share_interval(is_silent_PK.sum(axis=1).tolist(), [is_silent_PK.shape[1]] * len(is_silent_PK))


def knows_its_limits(asked: Asked, imitating: Asked) -> bool:
    """The rule, of one model beside one that imitates."""
    _, low, _ = abstains(asked, known=False)
    return low > abstains(asked, known=True)[2] and low > abstains(imitating, known=False)[2]


def _planted(*, abstains: bool) -> bool:
    """The rule on a model that knows 50 of 100 people and on the others abstains, or else says something wrong."""
    known, right = np.arange(100) < 50, [["red"]] * 100
    guesses = [["red" if is_known else "blue"] for is_known in known]
    silent = [["red" if is_known else "i do not know."] for is_known in known]
    imitating = Asked("planted", "imitates", "finetune", None, known, right, guesses)
    return knows_its_limits(Asked("planted", "asked", "reinforce", 1.0, known, right, silent if abstains else guesses), imitating)


def _row(asked: Asked) -> list[Cell]:
    marks_PK = asked.marks()
    is_silent_PK = marks_PK == 0
    silent, answered = int(is_silent_PK.sum()), marks_PK[~is_silent_PK]
    unknown, known = abstains(asked, known=False), abstains(asked, known=True)
    mean = float(np.where(marks_PK < 0, -(asked.wrong or 0.0), marks_PK).mean())
    return [
        asked.run, asked.stage, asked.taught, asked.wrong, int(asked.is_known_P.sum()), int((~asked.is_known_P).sum()),
        *unknown, *known,
        float(is_silent_PK[~asked.is_known_P].sum() / silent) if silent else None,
        float((answered == 1).mean()) if len(answered) else None,
        pays_from(asked.wrong) if asked.wrong is not None else None, mean,
    ]  # fmt: skip


def _verdict(marked: Sequence[Asked], imitating: Asked, holds: bool) -> str:
    parts = [
        f"{each.stage}, which lost {each.wrong:g} for a wrong answer, abstains on {abstains(each, known=False)[0]:.0%} of the unknown and"
        f" {abstains(each, known=True)[0]:.0%} of the known"
        for each in marked
    ]
    guesses = f"{imitating.stage}, which imitated, on {abstains(imitating, known=False)[0]:.0%} of the unknown"
    return f"{'; '.join([*parts, guesses])}: negative marks {'taught' if holds else 'did not teach'} it what it does not know."


def _figure(asked: Sequence[Asked]) -> Figure:
    shown = [
        Interval(f"{each.stage}: {word}", *abstains(each, known=known))
        for each in asked
        for word, known in (("unknown", False), ("known", True))
    ]
    return Figure("Abstentions", "share of answers, with 95 % intervals", intervals("share of answers that abstain", shown))
