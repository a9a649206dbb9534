"""What a model's answers to the items of a task are worth, item by item: rows as plain values, so that they can lie on a disk.

A row is {item, group, scores: {measure: number, or [sum, count]}} and what it rests on: logprobs, or responses.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from trivium.core.types import Message
from trivium.evals.scoring import Answer, Continuation, Dialogue, Preference, Ratio, Scores, pass_at
from trivium.evals.subject import Subject
from trivium.evals.task import Item, NamedTask
from trivium.generate.sampling import Sampling
from trivium.score.rewards import Code, Exact, Instructions, MathAnswer, Numeric, RewardRule, Said, checked

Row = dict[str, Any]
PIECE_CHARACTERS = 1 << 18  # of contexts: what a kill can cost is about a minute of a laptop
PASS_AT = (1, 10, 100)


def in_order(items: Sequence[Item]) -> list[list[Item]]:
    """Pieces of items: those of one group together, the longest first, so that batches are even and memory is largest at once."""
    ordered = sorted(items, key=lambda item: (item.group, -len(item.context), item.number))
    pieces: list[list[Item]] = []
    size = PIECE_CHARACTERS
    for item in ordered:
        if size >= PIECE_CHARACTERS:
            pieces.append([])
            size = 0
        pieces[-1].append(item)
        size += len(item.context)
    return pieces


def rows_of(subject: Subject, named: NamedTask, items: Sequence[Item], rule: RewardRule | None, *, seed: int) -> list[Row]:
    """The rows of these items, in order. rule: of a task in which the model answers, made ready (score/rewards/opened.py)."""
    scoring = named.task.scoring
    if isinstance(scoring, Answer):
        assert rule is not None
        return _answered(subject, named.name, scoring, items, rule, seed)
    assert not isinstance(scoring, Preference | Dialogue)
    requests = [named.requests(item) for item in items]
    flat = [request for each in requests for request in each]
    found = iter(subject.likelihoods(flat, with_greedy=isinstance(scoring, Continuation)))
    rows = []
    for item, each in zip(items, requests, strict=True):
        mine = [next(found) for _ in each]
        rows.append(row_of(item, scoring.scores(mine, item.fields, named.where), logprobs=[one.logprob for one in mine]))
    return rows


Judge = Callable[[Sequence[tuple[tuple[Message, ...], str]]], Sequence[float]]  # scores of answers to prompts


def judged_rows(judge: Judge, named: NamedTask, items: Sequence[Item]) -> list[Row]:
    """The rows of a reward model at a task of preferences."""
    scoring = named.task.scoring
    assert isinstance(scoring, Preference)
    answers = [scoring.answers(item.fields, named.where) for item in items]
    asked = [(item.turns, text) for item, both in zip(items, answers, strict=True) for texts in both for text in texts]
    found = iter(judge(asked))
    rows = []
    for item, (chosen, rejected) in zip(items, answers, strict=True):
        first, second = [float(next(found)) for _ in chosen], [float(next(found)) for _ in rejected]
        rows.append(row_of(item, scoring.scores(first, second, item.fields, named.where), rewards=[first, second]))
    return rows


def shown(subject: Subject, named: NamedTask, item: Item) -> str:
    """All that the model reads of an item: the prompt with its control tokens, and what may follow."""
    scoring = named.task.scoring
    if isinstance(scoring, Answer):
        return subject.tokenizer.decode(prompt_ids(subject, scoring, item), skip_special=False)
    if isinstance(scoring, Dialogue):
        turn = Message("user", scoring.said_by_user(item.fields, named.where)[0])
        return subject.tokenizer.decode(subject.prompt((turn,)), skip_special=False)
    requests = named.requests(item)
    contexts = {request.context for request in requests}
    if len(contexts) == 1:
        return "\n".join([*contexts, *(f"  -> {request.continuation!r}" for request in requests)])
    return "\n".join(f"{request.context!r} -> {request.continuation!r}" for request in requests)


def prompt_ids(subject: Subject, scoring: Answer, item: Item) -> np.ndarray:
    """What the model answers to."""
    if scoring.is_chat:
        return subject.prompt(item.turns)
    [ids] = subject.encode([item.context])
    return ids if len(ids) else np.array([subject.first_id], np.int32)


def _answered(subject: Subject, name: str, scoring: Answer, items: Sequence[Item], rule: RewardRule, seed: int) -> list[Row]:
    count = scoring.samples
    owners = [item for item in items for _ in range(count)]
    prompts = [prompt_ids(subject, scoring, item) for item in owners]
    sampling = Sampling(temperature=scoring.temperature, max_new_tokens=scoring.max_new_tokens)
    numbers = [item.number * count + sample for item in items for sample in range(count)]
    answers = subject.answer(prompts, sampling, scoring.stop, seed=seed, purpose=name, numbers=numbers)
    said = [
        Said(item.turns or (Message("user", item.context),), text, stopped, item.fields)
        for item, (text, stopped) in zip(owners, answers, strict=True)
    ]
    worth = checked(rule, said)
    rows = []
    for number, item in enumerate(items):
        mine = slice(number * count, (number + 1) * count)
        scores = _parts(rule, said[mine], worth[mine])
        stopped = [one.is_stopped for one in said[mine]]
        scores["stop_rate"] = (float(sum(stopped)), count) if count > 1 else float(stopped[0])
        rows.append(row_of(item, scores, responses=[one.response for one in said[mine]], worth=worth[mine]))
    return rows


def is_yes_no(rule: RewardRule) -> bool:
    """Whether an answer is right or wrong by a rule, and nothing between, whatever the answers are."""
    return not rule.partial if isinstance(rule, Code) else isinstance(rule, Exact | Numeric | MathAnswer)


def _parts(rule: RewardRule, said: Sequence[Said], worth: Sequence[float]) -> Scores:
    """The measures of one item's answers."""
    count = len(said)
    if isinstance(rule, Instructions):
        return _mean([rule.parts(one) for one in said])
    if is_yes_no(rule) and (count > 1 or isinstance(rule, Code)):
        correct = sum(value == 1 for value in worth)
        return {f"pass@{k}": pass_at(count, correct, k) for k in sorted({*(k for k in PASS_AT if k <= count), count})}
    return {rule.kind: float(np.mean(worth))}


def _mean(parts: Sequence[Scores]) -> Scores:
    """Sums of ratios, means of numbers."""
    found: Scores = {}
    for name in parts[0]:
        values = [part[name] for part in parts]
        ratios = [value for value in values if isinstance(value, tuple)]
        found[name] = _added(ratios) if ratios else float(np.mean([value for value in values if not isinstance(value, tuple)]))
    return found


def _added(ratios: Sequence[Ratio]) -> Ratio:
    return sum(ratio[0] for ratio in ratios), sum(ratio[1] for ratio in ratios)


def row_of(item: Item, scores: Scores, **rests_on: Any) -> Row:
    """One row as plain values."""
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in scores.items()}
    return {"item": item.number, "group": item.group, "scores": plain, **rests_on}
