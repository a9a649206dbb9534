"""What preference losses train on, made of the records of a file: pairs, rankings, or single answers with a label."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import combinations
from typing import TypeVar

import numpy as np

from trivium.core.errors import DataError
from trivium.core.run import Run
from trivium.core.seeds import generator
from trivium.core.types import Example, Group, Message, Preference
from trivium.learn.objectives.preference import KTO, RRHF, OfAnswers, PreferenceLoss
from trivium.stages.base import data_source, gather
from trivium.stages.computing.models import Speaker, ranked_group
from trivium.stages.prefer import PAIRS_PER_PROMPT, Prefer
from trivium.text.read import is_labelled, read_labels, read_preferences
from trivium.text.records import Labelled

T = TypeVar("T")
STATED = {"margin": "margin", "prob": "prob", "score": "scores"}  # columns that a record may state -> the field that does


def groups_for(stage: Prefer, speaker: Speaker, run: Run) -> list[Group]:
    """The groups that the stage's objective takes, in the order of the file.

    Raises DataError if there are none, or if the objective reads what records of the file lack.
    """
    objective, data = stage.objective, data_source(run, stage.data)
    if isinstance(objective, OfAnswers) and is_labelled(data):
        groups = _labelled(stage, speaker, run)
    else:
        preferences = gather(lambda on_skip: read_preferences(data, on_skip), run, stage.unreadable)
        found = ranked_groups(preferences, speaker, stage.seq_len, run, source=stage.data, needs=objective.needs)
        ranked = [group for _, group in found]
        if isinstance(objective, RRHF):
            groups = [group for group in ranked if len({item.columns["rank"][0] for item in group}) > 1]
        else:
            pairs = [pairs_of(group, PAIRS_PER_PROMPT, run.seed, number) for number, group in enumerate(ranked)]
            groups = [pair for each in pairs for pair in each]
    if not groups:
        raise DataError(f"{data}: gives no {called(objective)}; all answers to a prompt are equal or tied")
    if isinstance(objective, OfAnswers):
        labelled = (group if len(group) == 1 else (_with(group[0], label=1.0), _with(group[1], label=-1.0)) for group in groups)
        singles: list[Group] = [(item,) for group in labelled for item in group]
        groups = singles
    return mismatched(groups, _longest(speaker, stage.seq_len), str(data)) if isinstance(objective, KTO) else groups


def called(objective: PreferenceLoss) -> str:
    """What its groups are."""
    return "labels" if isinstance(objective, OfAnswers) else "rankings" if isinstance(objective, RRHF) else "pairs"


def ranked_groups(
    preferences: Sequence[Preference], speaker: Speaker, seq_len: int, run: Run, *, source: str, needs: Collection[str] = ()
) -> list[tuple[Preference, Group]]:
    """Each preference with its ranked group; those with an answer that is too long for a row or the model are left out and counted.

    source: what the user calls them. needs: see `ranked_group`. Raises DataError if none is left, if none has a better and a worse answer,
    or if one of them does not state what is needed.
    """
    _say_what_is_empty([(item.prompt, item.responses) for item in preferences], run, source=source, called="preferences")
    begun = [item for item in preferences if all(text or end for text, end in zip(item.responses, item.is_stopped, strict=True))]
    if len(begun) < len(preferences):
        run.log(f"{source}: left out {len(preferences) - len(begun):,} preferences with an answer that was cut off before it began")
    if not begun:
        raise DataError(f"{source}: every preference has an answer that was cut off before it began, so there is nothing to compare")
    found: list[tuple[Preference, Group]] = [(item, ranked_group(speaker, item, needs)) for item in begun]
    _check_stated(found, needs, source)
    kept = _fitting(found, _longest(speaker, seq_len), run, source=source, called="preferences")
    flat = sum(not pairs_of(group, 0, run.seed, 0) for _, group in kept)
    if flat == len(kept):
        raise DataError(f"{source}: gives no pairs; all answers to a prompt are equal or tied")
    if flat:
        run.log(f"{source}: {flat:,} of {len(kept):,} preferences give no pair: all their answers are equal or tied")
    return kept


def pairs_of(group: Sequence[Example], per_prompt: int, seed: int, number: int) -> list[Group]:
    """Pairs of one ranking, the better answer first; equal answers and ties make none."""
    ordered: list[Group] = [
        (better, worse) for better, worse in combinations(group, 2)
        if better.columns["rank"][0] < worse.columns["rank"][0] and better.tokens.tolist() != worse.tokens.tolist()
    ]  # fmt: skip
    if not per_prompt or len(ordered) <= per_prompt:
        return ordered
    chosen = generator(seed, "pairs", number).choice(len(ordered), per_prompt, replace=False)
    return [ordered[i] for i in sorted(chosen)]


def mismatched(answers: Sequence[Group], max_tokens: int, data: str) -> list[Group]:
    """Each answer with one that belongs to another prompt: the next in the file whose prompt differs, cut to max_tokens."""
    prompts = [item.tokens[: _begin(item)].tobytes() for [item] in answers]
    groups: list[Group] = []
    for number, [item] in enumerate(answers):
        others = (place % len(answers) for place in range(number + 1, number + len(answers)))
        other = next((place for place in others if prompts[place] != prompts[number]), None)
        if other is None:
            raise DataError(f"{data}: all its answers are to one prompt; kto compares with answers to other prompts")
        groups.append((item, _exchanged(item, answers[other][0], max_tokens)))
    return groups


def _exchanged(item: Example, other: Example, max_tokens: int) -> Example:
    begin, start = _begin(item), _begin(other)
    tokens = np.concatenate([item.tokens[:begin], other.tokens[start:]])[:max_tokens]
    mask = np.concatenate([item.loss_mask[:begin], other.loss_mask[start:]])[:max_tokens]
    return Example(tokens, mask, {name: np.zeros(len(tokens), np.float32) for name in item.columns})


def _begin(item: Example) -> int:
    return int(np.flatnonzero(item.loss_mask)[0])


def _labelled(stage: Prefer, speaker: Speaker, run: Run) -> list[Group]:
    """The answers of a file with labels, each by itself, without those that are too long."""
    data = data_source(run, stage.data)
    records = gather(lambda on_skip: read_labels(data, on_skip), run, stage.unreadable)
    _say_what_is_empty([(prompt, (response,)) for prompt, response, _ in records], run, source=stage.data, called="labels")
    found: list[tuple[Labelled, Group]] = [
        (record, (_with(speaker.answer(record[0], record[1]), label=1.0 if record[2] else -1.0),)) for record in records
    ]
    return [group for _, group in _fitting(found, _longest(speaker, stage.seq_len), run, source=stage.data, called="labels")]


def _longest(speaker: Speaker, seq_len: int) -> int:
    return min(seq_len, speaker.model.config.max_seq_len)


def _fitting(found: list[tuple[T, Group]], longest: int, run: Run, *, source: str, called: str) -> list[tuple[T, Group]]:
    """Those whose answers fit in so many tokens with the prompt; how many do not is told. Raises DataError if none does."""
    kept = [(item, group) for item, group in found if max(len(answer.tokens) for answer in group) <= longest]
    if not kept:
        raise DataError(f"{source}: none of {len(found):,} {called} fits in {longest:,} tokens, prompt and answer together; raise seq_len")
    if len(kept) < len(found):
        run.log(f"{source}: {len(kept):,} of {len(found):,} {called} fit in {longest:,} tokens; the others are left out")
    return kept


def _check_stated(found: Sequence[tuple[Preference, Group]], needs: Collection[str], source: str) -> None:
    """Raise DataError if a record does not state a number that is read of it."""
    for column, field in STATED.items():
        lacking = [item for item, group in found if column in needs and column not in group[0].columns]
        if lacking:
            raise DataError(
                f"{source}: {len(lacking):,} of {len(found):,} records have no '{field}', which the objective reads (the first prompt:"
                f" {lacking[0].prompt[0].content[:60]!r}); add it, or choose an objective that does not read it"
            )


def _say_what_is_empty(texts: Sequence[tuple[Sequence[Message], Sequence[str]]], run: Run, *, source: str, called: str) -> None:
    """A line if there are empty prompts or answers, which are trained on as they are."""
    prompts, answers = (
        sum(not prompt[-1].content for prompt, _ in texts),
        sum(not all(responses) for _, responses in texts),
    )
    if prompts or answers:
        run.log(
            f"{source}: {prompts:,} of {len(texts):,} {called} have an empty prompt, {answers:,} an empty answer, which is the end of the"
            " turn alone; they are learned from like the others"
        )


def _with(item: Example, **values: float) -> Example:
    return item.with_columns(**{name: np.full(len(item.tokens), value, np.float32) for name, value in values.items()})
