"""What preference losses train on, made of the records of a file: pairs, rankings, or single answers with a label."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from trivium.core.errors import DataError
from trivium.core.run import Run
from trivium.core.seeds import generator
from trivium.core.types import Example, Group, Preference
from trivium.learn.objectives.preference import KTO, RRHF, OfAnswers, PreferenceLoss
from trivium.stages.base import data_source, gather
from trivium.stages.computing.models import Speaker, ranked_group
from trivium.stages.prefer import PAIRS_PER_PROMPT, Prefer
from trivium.text.read import is_labelled, read_labels, read_preferences


def groups_for(stage: Prefer, speaker: Speaker, run: Run) -> list[Group]:
    """The groups that the stage's objective takes, in the order of the file.

    Raises DataError if there are none, or if the objective needs scores or labels that the file lacks.
    """
    objective, data, unreadable = stage.objective, data_source(run, stage.data), stage.unreadable
    if isinstance(objective, OfAnswers) and is_labelled(data):
        groups = [_labelled(speaker, *each) for each in gather(lambda on_skip: read_labels(data, on_skip), run, unreadable)]
    else:
        found = ranked_groups(
            gather(lambda on_skip: read_preferences(data, on_skip), run, unreadable), speaker, stage.seq_len, run, source=stage.data
        )
        needs_scores = "score" in objective.needs
        ranked = [_scored(group, item, needs_scores, data) for item, group in found]
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
    return mismatched(groups, stage.seq_len, str(data)) if isinstance(objective, KTO) else groups


def called(objective: PreferenceLoss) -> str:
    """What its groups are."""
    return "labels" if isinstance(objective, OfAnswers) else "rankings" if isinstance(objective, RRHF) else "pairs"


def ranked_groups(
    preferences: Sequence[Preference], speaker: Speaker, seq_len: int, run: Run, *, source: str
) -> list[tuple[Preference, Group]]:
    """Each preference with its ranked group; those with an answer that is too long for a row or the model are left out and counted.

    source: what the user calls them. Raises DataError if none is left, or none has a better and a worse answer.
    """
    longest = min(seq_len, speaker.model.config.max_seq_len)
    all_groups: list[tuple[Preference, Group]] = [(item, ranked_group(speaker, item)) for item in preferences]
    kept = [(item, group) for item, group in all_groups if max(len(answer.tokens) for answer in group) <= longest]
    if not kept:
        raise DataError(
            f"{source}: none of {len(all_groups):,} preferences fits in {longest:,} tokens, prompt and answer together; raise seq_len"
        )
    if len(kept) < len(all_groups):
        run.log(f"{source}: {len(kept):,} of {len(all_groups):,} preferences fit in {longest:,} tokens; the others are left out")
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


def _labelled(speaker: Speaker, prompt: Any, response: str, is_good: bool) -> Group:
    return (_with(speaker.answer(prompt, response), label=1.0 if is_good else -1.0),)


def _scored(group: Group, item: Preference, is_needed: bool, data: Any) -> Group:
    """The ranked answers with the column `score`, where the record states scores."""
    scores = item.meta.get("scores")
    if not isinstance(scores, list):
        if is_needed:
            raise DataError(
                f"{data}: a record has no 'scores', which odpo needs to know how much better an answer is"
                f" (the prompt begins: {item.prompt[0].content[:60]!r}); take objective=dpo"
            )
        return group
    order = np.argsort(item.ranks, kind="stable").tolist()
    return tuple(_with(answer, score=float(scores[i])) for answer, i in zip(group, order, strict=True))


def _with(item: Example, **values: float) -> Example:
    return item.with_columns(**{name: np.full(len(item.tokens), value, np.float32) for name, value in values.items()})
