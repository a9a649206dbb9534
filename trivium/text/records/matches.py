"""Rows to matches: two models, and who was better on a prompt, as arenas, judges and evaluations of many models write it.

    kind                                fields that tell it
    matches (Chatbot Arena and ours)    model_a, model_b, winner or score
    AlpacaEval, a judgement             generator_1, generator_2, preference
    AlpacaEval, many models, one prompt baseline_output, outputs, preference
    AlpacaEval, a matrix                instruction_id, instruction, a column a model
    RouteLLM's outcomes                 prompt, a column a model, each True or False
    what answers were worth             prompt, values: {model: number}
    MT-bench judgements                 question_id, model, score, turn: a row a model and turn
    Arena-Hard judgements               model, games: two verdicts on A and B; A is the baseline in the first, the model in the second

What was found of more than two models on a prompt gives a match for each two of them.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, combinations
from typing import Any

from trivium.core.types import Match, Message, Preference
from trivium.text.records.questions import has_question, question
from trivium.text.records.ranks import is_number, ranked, ranks_of_scores
from trivium.text.records.turns import alternating
from trivium.text.records.verdicts import is_table, outputs_of
from trivium.text.rows import Row, type_name
from trivium.text.write import plain_turns

Turns = tuple[Message, ...]
BASELINE = "baseline"  # what a matrix's models were compared with, where nothing says its name

_WINNERS = {"model_a": 1.0, "model_b": 0.0, "a": 1.0, "b": 0.0, "tie": 0.5, "tie (bothbad)": 0.5, "both_bad": 0.5}
_ANSWERS = (("response_a", "response_b"), ("output_1", "output_2"), ("conversation_a", "conversation_b"))
_MATRIX = ("instruction_id", "instruction")
_JUDGEMENT = ("question_id", "model", "score", "turn")
# what a judge of five levels says of two answers -> (the score of A, how often it counts): Li et al. 2024, arXiv:2406.11939
LEVELS: Mapping[str, tuple[float, int]] = {"A>>B": (1.0, 3), "A>B": (1.0, 1), "A=B": (0.5, 1), "B>A": (0.0, 1), "B>>A": (0.0, 3)}
_LEVELS = {**LEVELS, "A<<B": (0.0, 3), "A<B": (0.0, 1), "B=A": (0.5, 1), "B<A": (1.0, 1), "B<<A": (1.0, 3)}
_TRUTH: Mapping[Any, float] = {"True": 1.0, "False": 0.0, True: 1.0, False: 0.0}


def matches(rows: Iterable[Row]) -> Iterator[Match]:
    """All matches of a file, whose first row says what kind it is. Raises DataError for a row that is none."""
    stream = iter(rows)
    first = next(stream, None)
    if first is None:
        return
    every = chain([first], stream)
    if all(name in first.values for name in _JUDGEMENT):
        yield from _judged(every)
    elif all(name in first.values for name in _MATRIX) and len(first.values) > len(_MATRIX):
        yield from _matrix(list(every))
    else:
        for row in every:
            yield from _matches(row)


def plain_match(match: Match) -> dict[str, Any]:
    """A match as a row of ours, which `matches` reads again."""
    row: dict[str, Any] = {"model_a": match.models[0], "model_b": match.models[1], "score": match.score}
    if match.prompt:
        row["prompt"] = plain_turns(match.prompt)
    if match.answers is not None:
        row["answers"] = list(match.answers)
    if match.values is not None:
        row["values"] = list(match.values)
    return row


def is_voted(row: Row) -> bool:
    """Whether the row is a match of ours, such as a vote, with both answers in it."""
    return all(field in row.values for field in ("model_a", "model_b", "answers"))


def voted(row: Row) -> Preference:
    """What a match says of its answers: the one that won is better. The names of the models stay in `meta`."""
    [match] = _matches(row)
    prompt, used = question(row)
    ranks = ranks_of_scores(row, [match.score, 1 - match.score], 2)
    return ranked(prompt, match.answers or (), ranks, row.rest(*used, "answers", "score", "winner"))


def versus(worth: Mapping[str, float], prompt: Turns, answers: Mapping[str, str] | None = None) -> list[Match]:
    """A match for each two models whose answers to one prompt were measured: the one with more wins, equals draw."""
    return [
        Match(
            (a, b), 0.5 if worth[a] == worth[b] else float(worth[a] > worth[b]), prompt,
            (answers[a], answers[b]) if answers is not None else None, (worth[a], worth[b]),
        )
        for a, b in combinations(worth, 2)
    ]  # fmt: skip


def _matches(row: Row) -> list[Match]:
    values = row.values
    if "model_a" in values and "model_b" in values:
        pair = _pair(row, "model_a", "model_b")
        return [Match(pair, _score(row, pair), _prompt(row), _answers(row), _worth(row))]
    if "generator_1" in values and "generator_2" in values:
        score = 1 - _preferred(row, values.get("preference"), "preference")  # 1: the first is better
        return [Match(_pair(row, "generator_1", "generator_2"), score, _prompt(row), _answers(row))]
    if is_table(row):
        return _against_baseline(row)
    if "model" in values and "games" in values:
        return _games(row)
    return _outcomes(row)


def _pair(row: Row, first: str, second: str) -> tuple[str, str]:
    pair = row.text(first), row.text(second)
    if pair[0] == pair[1]:
        row.fail(f"'{pair[0]}' stands against itself; a match needs two models")
    return pair


def _score(row: Row, pair: tuple[str, str]) -> float:
    if "winner" not in row.values:
        score = row.values["score"] if "score" in row.values else row.missing("'winner' or 'score'")
        if not is_number(score) or not 0 <= score <= 1:
            row.fail(f"'score' is {score!r}; a number from 0 (model_b was better) to 1 (model_a was) is expected")
        return float(score)
    winner = row.text("winner")
    known = {**_WINNERS, pair[0]: 1.0, pair[1]: 0.0}
    if winner not in known:
        row.fail(f"'winner' is {winner!r}; it is one of: {', '.join(known)}")
    return known[winner]


def _worth(row: Row) -> tuple[float, float] | None:
    values = row.values.get("values")
    if values is None:
        return None
    if not isinstance(values, list) or len(values) != 2 or not all(map(is_number, values)):
        row.fail("'values' must be two finite numbers, what the answers of model_a and model_b were worth")
    return float(values[0]), float(values[1])


def _prompt(row: Row) -> Turns:
    """The turns before the answers, if the row has them."""
    if "conversation_a" in row.values:
        turns = list(alternating(row, "conversation_a"))
        while turns and turns[-1].role == "assistant":
            turns.pop()
        return tuple(turns)
    return question(row)[0] if has_question(row) else ()


def _answers(row: Row) -> tuple[str, str] | None:
    if "answers" in row.values:
        answers = row.values["answers"]
        if not isinstance(answers, list) or len(answers) != 2:
            row.fail("'answers' must be two texts, of model_a and of model_b")
        return row.check_text(answers[0], "answers[0]"), row.check_text(answers[1], "answers[1]")
    fields = next((fields for fields in _ANSWERS if all(field in row.values for field in fields)), None)
    if fields is None:
        return None
    if fields[0] == "conversation_a":
        return _last(row, fields[0]), _last(row, fields[1])
    return row.text(fields[0]), row.text(fields[1])


def _last(row: Row, field: str) -> str:
    return next((turn.content for turn in reversed(alternating(row, field)) if turn.role == "assistant"), "")


def _preferred(row: Row, value: Any, name: str) -> float:
    """AlpacaEval's number from 1 (the first is better) to 2, as the probability that the second is."""
    try:
        number = float(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else None
    except (ValueError, OverflowError):
        number = None
    if number is None or not 1 <= number <= 2:
        row.fail(f"'{name}' is {value!r}; a number from 1 (the first is better) to 2 is expected")
    return number - 1


def _against_baseline(row: Row) -> list[Match]:
    outputs, numbers = outputs_of(row)
    baseline = row.text("baseline") if "baseline" in row.values else BASELINE
    prompt, answer = _prompt(row), row.text("baseline_output")
    return [
        Match(
            (model, baseline), _preferred(row, numbers[model], f"preference.{model}"), prompt,
            (row.check_text(output, f"outputs.{model}"), answer),
        )
        for model, output in outputs.items() if model != baseline
    ]  # fmt: skip


def weighed(first: str, second: str) -> tuple[float, int]:
    """Of two verdicts of LEVELS, in the first of which an answer was shown as A and in the second as B: (what it won, out of what)."""
    (won, weight), (other, others) = LEVELS[first], LEVELS[second]
    return weight * won + others * (1 - other), weight + others


def _games(row: Row) -> list[Match]:
    """Both orders of a pair, a match for each time that the verdict counts. A game without a verdict is no score."""
    games = row.values["games"]
    if not isinstance(games, list) or len(games) != 2:
        row.fail("'games' must be two, one in each order of the answers")
    pair = (row.text("model"), row.text("baseline") if "baseline" in row.values else BASELINE)
    prompt, found = _prompt(row) or _named_prompt(row), list[Match]()
    for place, game in enumerate(games):
        score = game.get("score") if isinstance(game, Mapping) else None
        if not isinstance(score, str) or score not in _LEVELS:
            row.fail(f"'games[{place}].score' is {score!r}; it is one of: {', '.join(LEVELS)}. Judge that pair again, or leave its row out")
        won, times = _LEVELS[score]
        found += [Match(pair, won if place else 1 - won, prompt)] * times
    return found


def _named_prompt(row: Row) -> Turns:
    """What stands for a prompt that is only named."""
    name = next((row.values[field] for field in ("uid", "question_id") if field in row.values), None)
    return () if name is None else (Message("user", str(name)),)


def _matrix(rows: Sequence[Row]) -> list[Match]:
    """Every model against the baseline, which is the column that always says 1.5, if there is one. An empty cell was not judged."""
    models = [name for name in rows[0].values if name not in _MATRIX]
    scores = {
        name: [None if row.values.get(name) == "" else _preferred(row, row.values.get(name), name) for row in rows] for name in models
    }  # fmt: skip
    baseline = next((name for name, column in scores.items() if set(column) == {0.5}), BASELINE)
    found = []
    for number, row in enumerate(rows):
        prompt = _prompt(row)
        judged = ((name, scores[name][number]) for name in models if name != baseline)
        found += [Match((name, baseline), score, prompt) for name, score in judged if score is not None]
    return found


def _outcomes(row: Row) -> list[Match]:
    stated = row.values.get("values")
    if isinstance(stated, Mapping):
        worth = {str(model): value for model, value in stated.items()}
        if bad := next((model for model, value in worth.items() if not is_number(value)), None):
            row.fail(f"'values.{bad}' is {worth[bad]!r}; a finite number is expected")
    else:
        worth = {name: _TRUTH[value] for name, value in row.values.items() if isinstance(value, (str, bool)) and value in _TRUTH}
    if len(worth) < 2:
        row.missing("'model_a' and 'model_b', or a column for each of two models,")
    fields = {model: f"{model}_response" for model in worth}
    has_answers = all(field in row.values for field in fields.values())
    return versus(worth, _prompt(row), {model: row.text(field) for model, field in fields.items()} if has_answers else None)


def _judged(rows: Iterable[Row]) -> list[Match]:
    """MT-bench (Zheng 2023, arXiv:2306.05685): the mean score of each model over the turns of a question; the first is the prompt."""
    scores: dict[str, dict[str, list[float]]] = {}
    prompts: dict[str, Turns] = {}
    for row in rows:
        if missing := next((name for name in _JUDGEMENT if name not in row.values), None):
            row.missing(f"'{missing}'")
        asked = str(row.values["question_id"])
        score = row.values["score"]
        try:
            number = float(score)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            row.fail(f"'score' is {score!r}; a finite number is expected")
        if number < 0:
            continue  # the judge's answer could not be read
        scores.setdefault(asked, {}).setdefault(row.text("model"), []).append(number)
        if str(row.values["turn"]) == "1":
            prompts[asked] = (Message("user", _asked(row)),)
    means = {asked: {model: sum(found) / len(found) for model, found in by_model.items()} for asked, by_model in scores.items()}
    return [match for asked, worth in means.items() if asked in prompts for match in versus(worth, prompts[asked])]


def _asked(row: Row) -> str:
    """The question in the words that were given to the judge."""
    text = row.text("user_prompt")
    for start, end in (("[Question]\n", "\n\n[The Start of"), ("### User:\n", "\n\n### ")):
        if start in text:
            return text.split(start, 1)[1].split(end, 1)[0].strip()
    return row.fail(f"'user_prompt' is {type_name(text)} in which no question is marked; [Question] is expected")
