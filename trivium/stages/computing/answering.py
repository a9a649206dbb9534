"""A model answers every prompt several times and the answers are scored, piece by piece on disk (pieces.py).

A piece holds the prompts that fill the engine's rows a few times. What an answer is depends on (seed, name of the stage, number of the
prompt and of the answer, weights), so two rounds with one seed do not draw the same numbers. Rollouts from the steps of answers are a part
of the piece, and their numbers also depend on the step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trivium.core.errors import DataError, DivergedError
from trivium.core.run import Run
from trivium.core.types import Example, Message
from trivium.score.keep import Steps
from trivium.score.rewards import AnyReward
from trivium.score.rewards.opened import check_records
from trivium.stages.base import data_source
from trivium.stages.computing.choosing import rules_of
from trivium.stages.computing.judges import Judges, judge
from trivium.stages.computing.models import Speaker, engine_of
from trivium.stages.computing.step_columns import step_columns
from trivium.stages.pieces import Rows, in_pieces
from trivium.text.read import read_prompt_records
from trivium.text.write import plain_turns

if TYPE_CHECKING:
    from trivium.stages.sample import Sample

KIND = "scored answers"
ROUNDS = 8  # times that a piece fills the engine's rows, about
READ_ROWS = 16  # rows that a reward model reads at once

Turns = tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt with the fields of its record, and the answer that the record has, where it is needed."""

    messages: Turns
    fields: Mapping[str, Any]
    demonstration: str = ""


def answer(options: Sample, run: Run, prompts: Callable[[], Iterator[Prompt]], asks: Callable[[Turns], Turns]) -> Rows:
    """Answer all prompts, which are read twice.

    Gives what reads the answers: a row a prompt {prompt, responses, scores, stopped, tokens}, and true_scores and demonstration where
    known, steps and step_shares where they are kept. asks: what the model is asked for a prompt. Raises DataError if there is no prompt,
    or one has no room for an answer.
    """
    speaker = Speaker.of(run, options.model)
    asked = looked_at(prompts(), options.rewards)
    total, longest = measured(asked, lambda prompt: speaker.prompt(asks(prompt.messages)), speaker.model.config.max_seq_len)
    models = [judge(run, speaker, reference, [longest], options.sampling) for reference in options.reward_model]
    rules = rules_of(run, options.rewards)
    engine = engine_of(run, speaker, rows=options.rows)

    def make(number: int, part: Sequence[Prompt], on_done: Callable[[int], None]) -> Iterator[dict[str, Any]]:
        first, owners = number * options.answers, [owner for owner in range(len(part)) for _ in range(options.answers)]
        asked = [speaker.prompt(asks(each.messages)) for each in part]
        answers = engine.generate(
            [asked[owner] for owner in owners], options.sampling, seed=run.seed, purpose=run.stage,
            numbers=range(first, first + len(owners)), on_done=on_done,
        )  # fmt: skip
        judges = Judges(
            options, speaker, asked, [(each.messages, each.fields) for each in part], models, [], None, _read, rules, options.truth
        )
        columns = _columns(options, judges, answers, owners)
        if isinstance(options.keep, Steps):
            columns |= step_columns(options, run, engine, judges, columns, first=first)
        return _as_rows(part, columns)

    each = options.answers * (options.keep.rollouts if isinstance(options.keep, Steps) else 1)
    size = max(1, ROUNDS * options.rows // each)
    return in_pieces(run, prompts(), make, total=total, size=size, kind=KIND, steps=options.answers)


def prompts_of(run: Run, source: str) -> Iterator[Prompt]:
    """The prompts of an option."""
    return (Prompt(messages, fields) for messages, fields in read_prompt_records(data_source(run, source)))


def looked_at(prompts: Iterator[Prompt], rules: Sequence[AnyReward]) -> Iterator[Prompt]:
    """The same. Raises DataError at one whose answers a rule could not judge."""
    for number, prompt in enumerate(prompts, start=1):
        check_records(rules, [prompt.fields], first=number)
        yield prompt


def measured(prompts: Iterator[Prompt], ids_of: Callable[[Prompt], np.ndarray], reads: int) -> tuple[int, np.ndarray]:
    """How many prompts there are, and the ids of the longest. Raises DataError if there is none, or one leaves no room in `reads`."""
    total, longest = 0, np.zeros(0, np.int32)
    for total, prompt in enumerate(prompts, start=1):  # noqa: B007
        ids = ids_of(prompt)
        if len(ids) >= reads:
            raise DataError(
                f"prompt {total:,} has {len(ids):,} tokens, and the model reads {reads:,}, so there is no room for an answer; drop it"
                f" (it ends: {prompt.messages[-1].content[-60:]!r})"
            )
        longest = ids if len(ids) > len(longest) else longest
    if not total:
        raise DataError("there is no prompt to answer")
    return total, longest


def _read(judge: Speaker, answers: Sequence[Example]) -> np.ndarray:
    return judge.scores(answers, rows=READ_ROWS, length=max(len(each.tokens) for each in answers))


def _columns(options: Sample, judges: Judges, answers: Sequence[Example], owners: Sequence[int]) -> dict[str, list[Any]]:
    """The columns of a piece, a value for each answer."""
    stopped = np.array([bool(each.meta["stopped"]) for each in answers])
    columns: dict[str, list[Any]] = {"responses": [judges.policy.text_of(each) for each in answers]}
    if options.reward_model or options.rewards:
        scores = np.where(stopped, judges.score(answers, owners), options.missing_end_penalty)
        if not np.isfinite(scores).all():
            raise DivergedError("a reward model gives scores that are not finite; its weights are damaged, or it has diverged in training")
        columns["scores"] = scores.tolist()
    columns["stopped"] = stopped.tolist()
    columns["tokens"] = [len(each.response) for each in answers]
    if options.truth is not None:
        columns["true_scores"] = judges.true_score(answers, owners).tolist()
    return columns


def _as_rows(part: Sequence[Prompt], columns: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
    each = len(columns["responses"]) // len(part)
    for number, prompt in enumerate(part):
        row: dict[str, Any] = {"prompt": plain_turns(prompt.messages)}
        row |= {name: values[number * each : (number + 1) * each] for name, values in columns.items()}
        yield row | ({"demonstration": prompt.demonstration} if prompt.demonstration else {})
