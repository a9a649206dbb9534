"""Matches as arrays: N matches of M models on P prompts. What belongs together is counted together: matches on one prompt are alike."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from trivium.core.errors import DataError
from trivium.core.types import Match, Message

Turns = tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class MatchTable:
    """first_N, second_N: numbers of models; score_N: how much the first won, 0 to 1; prompt_N: the number of its prompt.

    A match without a prompt has a number of its own, and no text in `prompts`. answers: texts of both, where the matches have them.
    values_N2: what the answers were worth, nan where nobody said.
    """

    models: tuple[str, ...]
    first_N: np.ndarray
    second_N: np.ndarray
    score_N: np.ndarray
    prompt_N: np.ndarray
    prompts: tuple[Turns, ...]
    answers: tuple[tuple[str, str] | None, ...]
    values_N2: np.ndarray

    def __len__(self) -> int:
        return len(self.score_N)

    @property
    def num_models(self) -> int:
        """M."""
        return len(self.models)

    @property
    def num_prompts(self) -> int:
        """P."""
        return len(self.prompts)

    @property
    def baseline(self) -> str | None:
        """The model that stands in every match, if there is exactly one."""
        always = [name for number, name in enumerate(self.models) if ((self.first_N == number) | (self.second_N == number)).all()]
        return always[0] if len(always) == 1 else None

    @property
    def is_soft(self) -> bool:
        """Whether some score is neither a win, a loss nor a draw."""
        return bool(np.isin(self.score_N, (0.0, 0.5, 1.0), invert=True).any())

    def where(self, chosen_N: np.ndarray) -> "MatchTable":
        """Some of the matches; models and prompts keep their numbers."""
        places = np.flatnonzero(chosen_N)
        answers = tuple(self.answers[place] for place in places.tolist())
        return MatchTable(
            self.models, self.first_N[places], self.second_N[places], self.score_N[places], self.prompt_N[places], self.prompts,
            answers, self.values_N2[places],
        )  # fmt: skip

    def without(self, models: Sequence[str]) -> "MatchTable":
        """The matches of the other models, which are numbered anew."""
        gone = np.isin(self.models, list(models)) if models else np.zeros(self.num_models, bool)
        kept = self.where(~gone[self.first_N] & ~gone[self.second_N])
        number_M = np.cumsum(~gone) - 1
        names = tuple(name for name, is_gone in zip(self.models, gone, strict=True) if not is_gone)
        return MatchTable(
            names, number_M[kept.first_N], number_M[kept.second_N], kept.score_N, kept.prompt_N, kept.prompts, kept.answers, kept.values_N2
        )

    def number(self, model: str) -> int:
        """The number of a model. Raises DataError if it played no match."""
        if model not in self.models:
            raise DataError(f"'{model}' is in no match; the models are: {', '.join(self.models)}")
        return self.models.index(model)


def tabulate(matches: Iterable[Match], models: Sequence[str] = ()) -> MatchTable:
    """All matches in order. models: which there may be, in this order; else those of the matches by name.

    Raises DataError if there is no match, or one of another model.
    """
    listed = list(matches)
    if not listed:
        raise DataError("there is no match")
    there = {model for match in listed for model in match.models}
    if models and (strangers := sorted(there - set(models))):
        raise DataError(f"'{strangers[0]}' is in no match that is learned from; the models are: {', '.join(models)}")
    models = tuple(models or sorted(there))
    number = {model: place for place, model in enumerate(models)}
    seen: dict[Turns, int] = {}
    prompts: list[Turns] = []
    prompt_N = np.empty(len(listed), np.int64)
    for place, match in enumerate(listed):
        known = seen.get(match.prompt) if match.prompt else None
        if known is None:
            known = len(prompts)
            prompts.append(match.prompt)
            if match.prompt:
                seen[match.prompt] = known
        prompt_N[place] = known
    return MatchTable(
        models,
        np.array([number[match.models[0]] for match in listed]),
        np.array([number[match.models[1]] for match in listed]),
        np.array([match.score for match in listed], np.float64),
        prompt_N,
        tuple(prompts),
        tuple(match.answers for match in listed),
        np.array([match.values or (np.nan, np.nan) for match in listed], np.float64),
    )


def check_connected(table: MatchTable) -> None:
    """Raise DataError if the models fall into groups that never met: strengths compare only within one."""
    met_MM = np.zeros((table.num_models,) * 2, bool)
    met_MM[table.first_N, table.second_N] = met_MM[table.second_N, table.first_N] = True
    reached = _reached(met_MM)
    if not reached.all():
        inside, outside = ([name for name, is_in in zip(table.models, reached == side, strict=True) if is_in] for side in (True, False))
        raise DataError(
            f"the models fall into groups that never met: {', '.join(inside[:3])} ({len(inside)}) and {', '.join(outside[:3])}"
            f" ({len(outside)}); rank them apart, or add matches between them"
        )


def has_finite_strengths(first_N: np.ndarray, second_N: np.ndarray, score_N: np.ndarray, num_models: int) -> bool:
    """Whether the likelihood has a maximum: every model won something, directly or through others, from every other one.

    Ford 1957, American Mathematical Monthly 64(8):28. Of a model that lost every match it has none.
    """
    won_MM = np.zeros((num_models,) * 2, bool)
    won_MM[first_N[score_N > 0], second_N[score_N > 0]] = True
    won_MM[second_N[score_N < 1], first_N[score_N < 1]] = True
    return bool(_reached(won_MM).all() and _reached(won_MM.T).all())


def _reached(edge_MM: np.ndarray) -> np.ndarray:
    reached = np.zeros(len(edge_MM), bool)
    reached[0] = True
    queue = deque([0])
    while queue:
        new = edge_MM[queue.popleft()] & ~reached
        reached |= new
        queue.extend(np.flatnonzero(new).tolist())
    return reached
