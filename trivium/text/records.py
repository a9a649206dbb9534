"""What a row means: the record shapes that data sets use, told apart by their fields. A field we do not know is kept in `meta`."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from trivium.core.types import Conversation, Document, Message, Preference, Role
from trivium.text.hh import is_transcript, parse_pair
from trivium.text.rows import Row, type_name

_ROLES = get_args(Role)
_SHAREGPT_ROLES: dict[str, Role] = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "system": "system",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
}


def document(row: Row) -> Document:
    """`text`, and `id`, `source` if they are there; else the place of the row is the id and its file the source."""
    values = row.values
    name = values.get("id")
    source = values.get("source")
    return Document(
        row.text("text"),
        row.where if name is None else str(name),
        str(row.path) if source is None else str(source),
        _meta(values, "text", "id", "source"),
    )


def conversation(row: Row) -> Conversation:
    """messages | conversations (ShareGPT) | instruction + output (Alpaca) or response (Dolly) | prompt + response or completion."""
    weight = row.values.get("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not math.isfinite(weight) or weight < 0:
        row.fail(f"'weight' is {weight!r}; a number of at least 0 is expected")
    messages, used = _turns(row)
    if all(message.role != "assistant" for message in messages):
        row.fail("has no turn of the assistant, so there is nothing to learn from it")
    return Conversation(messages, float(weight), _meta(row.values, "weight", *used))


def prompt(row: Row) -> tuple[Message, ...]:
    """The turns before an answer, from `prompt`, `instruction` or any conversation (its last answers are left out)."""
    if "prompt" in row.values:
        turns = _prompt(row)
    elif "instruction" in row.values:
        turns = (Message("user", _instruction(row)[0]),)
    elif "messages" in row.values or "conversations" in row.values:
        turns = _turns(row)[0]
    else:
        row.missing("'prompt'")
    turns = list(turns)
    while turns and turns[-1].role == "assistant":
        turns.pop()
    return tuple(turns) or row.fail("has no turn before the answer")


def preference(row: Row) -> Preference:
    """prompt + chosen + rejected | transcripts chosen, rejected (hh-rlhf) | prompt + responses + ranking or scores.

    Equal answers are ties, whatever the order says.
    """
    if "responses" in row.values:
        return _ranked(row)
    chosen, rejected = row.values.get("chosen"), row.values.get("rejected")
    if "prompt" not in row.values and isinstance(chosen, str) and isinstance(rejected, str) and is_transcript(chosen):
        turns, responses = parse_pair(row)
    else:
        turns, responses = _pair(row)
    return Preference(turns, responses, _tied(responses, (0, 1)), _meta(row.values, "prompt", "chosen", "rejected"))


def definition(row: Row) -> dict[str, Any]:
    """{word, part_of_speech, definitions}: an entry of a dictionary; definitions is a list with at least one text."""
    if "definitions" not in row.values:
        row.missing("'definitions'")
    texts = row.values["definitions"]
    if not isinstance(texts, list) or not texts:
        row.fail(f"'definitions' is {'an empty list' if texts == [] else type_name(texts)}; a list of texts is expected")
    checked = [row.check_text(text, f"definitions[{index}]") for index, text in enumerate(texts)]
    return {"word": row.text("word"), "part_of_speech": row.text("part_of_speech"), "definitions": checked}


def _turns(row: Row) -> tuple[tuple[Message, ...], tuple[str, ...]]:
    """The turns of a conversation and the fields they came from."""
    values = row.values
    if "messages" in values:
        return _messages(row, values["messages"], "messages"), ("messages",)
    if "conversations" in values:
        return _sharegpt(row), ("conversations",)
    if "instruction" in values:
        question, used = _instruction(row)
        answer = next((field for field in ("output", "response", "completion") if field in values), None)
        if answer is None:
            row.missing("'output' or 'response'")
        return (Message("user", question), Message("assistant", row.text(answer))), (*used, answer)
    if "prompt" in values:
        answer = next((field for field in ("response", "completion") if field in values), None)
        if answer is None:
            row.missing("'response' or 'completion'")
        return (*_prompt(row), *_answer(row, answer)), ("prompt", answer)
    return row.missing("'messages'")


def _messages(row: Row, value: Any, field: str) -> tuple[Message, ...]:
    """A list of {role, content}."""
    if not isinstance(value, list):
        row.fail(f"'{field}' is {type_name(value)}; a list of messages is expected")
    if not value:
        row.fail(f"'{field}' is an empty list")
    roles = {role: role for role in _ROLES}
    return tuple(_message(row, item, f"{field}[{index}]", "role", "content", roles) for index, item in enumerate(value))


def _message(row: Row, item: Any, name: str, role_field: str, text_field: str, roles: Mapping[str, Role]) -> Message:
    if not isinstance(item, Mapping):
        row.fail(f"'{name}' is {type_name(item)}; an object with {role_field} and {text_field} is expected")
    for field in (role_field, text_field):
        if field not in item:
            row.fail(f"'{name}.{field}' is missing (found: {', '.join(item) or 'nothing'})")
    role = item[role_field]
    if not isinstance(role, str) or role not in roles:
        row.fail(f"'{name}.{role_field}' is {role!r}; it is one of: {', '.join(roles)}")
    return Message(roles[role], row.check_text(item[text_field], f"{name}.{text_field}"))


def _sharegpt(row: Row) -> tuple[Message, ...]:
    """from/value pairs: the user begins (after a system turn), the two alternate, a last question without answer is left out."""
    value = row.values["conversations"]
    if not isinstance(value, list) or not value:
        row.fail(f"'conversations' is {type_name(value) if value else 'empty'}; a list of turns is expected")
    turns = [_message(row, item, f"conversations[{index}]", "from", "value", _SHAREGPT_ROLES) for index, item in enumerate(value)]
    spoken = [turn.role for turn in turns if turn.role in ("user", "assistant")]
    if spoken[:1] != ["user"]:
        row.fail("'conversations' must begin with the user")
    has_tools = any(turn.role == "tool" for turn in turns)  # between tool results the assistant speaks twice
    if not has_tools and any(first == second for first, second in zip(spoken, spoken[1:], strict=False)):
        row.fail("in 'conversations' the user and the assistant must alternate")
    while turns[-1].role != "assistant":
        turns.pop()
        if not turns:
            row.fail("'conversations' has no answer")
    return tuple(turns)


def _instruction(row: Row) -> tuple[str, tuple[str, ...]]:
    """The question of Alpaca and Dolly: the instruction, and below it the input or context if there is one."""
    extra = next((field for field in ("input", "context") if row.values.get(field)), None)
    question = row.text("instruction") + (f"\n\n{row.text(extra)}" if extra else "")
    return question, ("instruction", "input", "context")


def _prompt(row: Row) -> tuple[Message, ...]:
    value = row.values.get("prompt")
    return _messages(row, value, "prompt") if isinstance(value, list) else (Message("user", row.text("prompt")),)


def _answer(row: Row, field: str) -> tuple[Message, ...]:
    value = row.values.get(field)
    return _messages(row, value, field) if isinstance(value, list) else (Message("assistant", row.text(field)),)


def _pair(row: Row) -> tuple[tuple[Message, ...], tuple[str, str]]:
    """Prompt and two answers. An answer may be a text, a list that ends with the answer, or (UltraFeedback) the whole conversation."""
    chosen, rejected = _answer(row, "chosen"), _answer(row, "rejected")
    if {chosen[-1].role, rejected[-1].role} != {"assistant"}:
        row.fail("'chosen' and 'rejected' must end with the assistant")
    if chosen[:-1] != rejected[:-1]:
        row.fail("'chosen' and 'rejected' must differ only in their last turn")
    stated = _prompt(row) if "prompt" in row.values or len(chosen) == 1 else ()
    return _joined(stated, chosen[:-1]), (chosen[-1].content, rejected[-1].content)


def _joined(stated: tuple[Message, ...], before: tuple[Message, ...]) -> tuple[Message, ...]:
    """The prompt: stated on its own, or repeated at either end of what comes before the answers, or going before it."""
    is_repeated = stated in (before[: len(stated)], before[len(before) - len(stated) :])
    return before if is_repeated else stated + before


def _ranked(row: Row) -> Preference:
    """K answers with a ranking (groups of indices, best first; a group is a tie) or with scores (higher is better)."""
    values = row.values
    if not isinstance(values["responses"], list) or len(values["responses"]) < 2:
        row.fail("'responses' must be a list of at least two texts")
    responses = tuple(row.check_text(item, f"responses[{index}]") for index, item in enumerate(values["responses"]))
    if ("ranking" in values) == ("scores" in values):
        row.fail(f"'responses' needs either 'ranking' or 'scores' (found: {', '.join(values)})")
    ranks = _ranks_of_groups(row, len(responses)) if "ranking" in values else _ranks_of_scores(row, len(responses))
    return Preference(_prompt(row), responses, _tied(responses, ranks), _meta(values, "prompt", "responses", "ranking"))


def _ranks_of_groups(row: Row, count: int) -> tuple[int, ...]:
    ranking = row.values["ranking"]
    groups = [group if isinstance(group, list) else [group] for group in ranking] if isinstance(ranking, list) else []
    indices = [index for group in groups for index in group]
    if any(type(index) is not int for index in indices) or sorted(indices) != list(range(count)):
        row.fail(f"'ranking' is {ranking!r}; it lists each index from 0 to {count - 1} once, best first, like [[2], [0, 1]]")
    place = {index: rank for rank, group in enumerate(groups) for index in group}
    return tuple(place[index] for index in range(count))


def _ranks_of_scores(row: Row, count: int) -> tuple[int, ...]:
    scores = row.values["scores"]
    is_numbers = isinstance(scores, list) and all(type(score) in (int, float) and math.isfinite(score) for score in scores)
    if not is_numbers or len(scores) != count:
        row.fail(f"'scores' must be {count} finite numbers, one for each response")
    order = sorted(set(scores), reverse=True)
    return tuple(order.index(score) for score in scores)


def _tied(responses: Sequence[str], ranks: Sequence[int]) -> tuple[int, ...]:
    """Ranks from 0 without gaps, where equal texts share the better one."""
    best: dict[str, int] = {}
    for response, rank in zip(responses, ranks, strict=True):
        best[response] = min(rank, best.get(response, rank))
    order = sorted(set(best.values()))
    return tuple(order.index(best[response]) for response in responses)


def _meta(values: Mapping[str, Any], *used: str) -> dict[str, Any]:
    """Every field that was not used; an object named `meta` is merged in."""
    rest = {name: value for name, value in values.items() if name not in used}
    inner = rest.pop("meta", None)
    if isinstance(inner, Mapping):
        return {**inner, **rest}
    return rest if inner is None else {**rest, "meta": inner}
