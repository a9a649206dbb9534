"""Trees of messages as OpenAssistant exports them (Köpf et al. 2023, arXiv:2304.07327): one row a tree, or one row a message.

A message counts if it was not deleted and `review_result`, if the field is there, is true; what follows one that does not goes with it.
Of siblings `rank` 0 is best; an answer without siblings is best too, and of several without ranks none is. In memory is one tree at a time.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from trivium.core.types import Message, Preference, Role
from trivium.text.records.ranks import is_number, ranked
from trivium.text.rows import Row, type_name

_ROLES: dict[str, Role] = {"prompter": "user", "assistant": "assistant"}


class _Node(NamedTuple):
    """A message that counts: the turns from the root to it, and its replies that count. is_best: so are all answers on its path."""

    turns: tuple[Message, ...]
    name: str
    rank: int | None
    is_best: bool
    values: Mapping[str, Any]
    replies: list["_Node"]


def is_tree(row: Row) -> bool:
    """Whether the row is a tree: its `prompt` is the root with its `replies`."""
    root = row.values.get("prompt")
    return isinstance(root, dict) and "role" in root


def runs(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Rows in runs: those of single messages of one tree that stand one after another together, every other row alone.

    The messages of a tree have one `message_tree_id`; without it a message that has no parent begins a tree.
    """
    run: list[Row] = []
    for row in rows:
        if run and not (_is_message(row) and _is_message(run[0]) and _is_same_tree(run[0], row)):
            yield run
            run = []
        run.append(row)
    if run:
        yield run


def joined(run: Sequence[Row]) -> Row:
    """One row of a run: messages become a tree in the place of the first. Raises DataError for a message whose parent is not among them."""
    first = run[0]
    if not _is_message(first):
        return first
    nodes = {row.text("message_id"): {**row.values, "replies": []} for row in run}
    roots = []
    for row in run:
        parent, node = row.values.get("parent_id"), nodes[row.text("message_id")]
        if not row.values.get("deleted"):
            row.text("text")  # here the line is known
        if parent is None:
            roots.append(node)
        elif not isinstance(parent, str) or parent not in nodes:
            row.fail(f"'parent_id' is {parent!r}, which is no message of the rows beside it; sort the file by tree")
        else:
            nodes[parent]["replies"].append(node)
    reached = roots[:1]
    for node in reached:
        reached.extend(node["replies"])
    if len(roots) != 1 or len(nodes) != len(run) or len(reached) != len(run):  # fewer are reached if some go round in a circle
        found = f"{len(nodes)} ids, {len(roots)} roots, {len(reached)} below the first"
        first.fail(f"the {len(run)} messages of its tree need different ids and one root above all (found: {found})")
    tree = {field: first.values[field] for field in ("message_tree_id", "tree_state") if field in first.values}
    return Row(first.path, first.number, first.unit, {**tree, "prompt": roots[0]})


def conversations(row: Row, replies: str) -> list[tuple[tuple[Message, ...], dict[str, Any]]]:
    """Turns and meta of each path from the root to an answer.

    best: only answers that are the best of their siblings, each path to its end, since all answers of a conversation are learned.
    all: a path to every answer, so that each is the last of one (about 88,000 in the first release); an early answer comes again in each
    path that goes on from it.
    """
    found = []
    for node in _walk(_root(row)):
        if node.turns[-1].role != "assistant" or (replies == "best" and not node.is_best):
            continue
        is_inner = any(answer.is_best for question in node.replies for answer in question.replies)
        if replies == "all" or not is_inner:
            found.append((node.turns, _meta(row, node)))
    return found


def preferences(row: Row) -> list[Preference]:
    """One preference for each message with two ranked answers or more; the conversation up to it is the prompt."""
    found = []
    for node in _walk(_root(row)):
        answers = [reply for reply in node.replies if reply.rank is not None and reply.turns[-1].role == "assistant"]
        if len(answers) > 1:
            ranks = [reply.rank for reply in answers if reply.rank is not None]
            found.append(ranked(node.turns, [reply.turns[-1].content for reply in answers], ranks, _meta(row, node)))
    return found


def prompts(row: Row) -> list[tuple[Message, ...]]:
    """The root, if it counts."""
    root = _root(row)
    return [root.turns] if root else []


def _walk(root: _Node | None) -> Iterator[_Node]:
    """Every node before its replies; without recursion, so that a deep tree is no problem."""
    waiting = [root] if root else []
    while waiting:
        node = waiting.pop()
        yield node
        waiting += reversed(node.replies)


def _root(row: Row) -> _Node | None:
    """The tree of the messages that count."""
    values = row.values["prompt"]
    if not _counts(row, values, "prompt"):
        return None
    root = _node(row, values, "prompt", ())
    waiting = [root]
    while waiting:
        node = waiting.pop()
        stated = node.values.get("replies") or []
        if not isinstance(stated, list):
            row.fail(f"'{node.name}.replies' is {type_name(stated)}; a list of messages is expected")
        named = [(f"{node.name}.replies[{index}]", reply) for index, reply in enumerate(stated)]
        counted = [(name, reply) for name, reply in named if _counts(row, reply, name)]
        replies = [_node(row, reply, name, node.turns) for name, reply in counted]
        node.replies.extend(reply._replace(is_best=node.is_best and _is_best(reply, len(replies))) for reply in replies)
        waiting += node.replies
    return root


def _counts(row: Row, values: Any, name: str) -> bool:
    if not isinstance(values, dict):
        row.fail(f"'{name}' is {type_name(values)}; an object with role and text is expected")
    return not values.get("deleted") and values.get("review_result", True) is True


def _node(row: Row, values: Mapping[str, Any], name: str, before: tuple[Message, ...]) -> _Node:
    for field in ("role", "text"):
        if field not in values:
            row.fail(f"'{name}.{field}' is missing (found: {', '.join(values) or 'nothing'})")
    role, rank = values["role"], values.get("rank")
    expected = "assistant" if before and before[-1].role == "user" else "prompter"
    if role != expected:
        row.fail(f"'{name}.role' is {role!r}; '{expected}' is expected, because the two alternate from the root")
    if rank is not None and (not is_number(rank) or rank != int(rank) or rank < 0):
        row.fail(f"'{name}.rank' is {rank!r}; a whole number is expected, 0 is best")
    turns = (*before, Message(_ROLES[role], row.check_text(values["text"], f"{name}.text")))
    return _Node(turns, name, None if rank is None else int(rank), True, values, [])


def _is_best(node: _Node, num_siblings: int) -> bool:
    return node.turns[-1].role == "user" or node.rank == 0 or (node.rank is None and num_siblings == 1)


def _meta(row: Row, node: _Node) -> dict[str, Any]:
    """What the row says of the tree, and which message this is."""
    return {**row.rest("prompt", "weight"), **{field: node.values[field] for field in ("message_id", "lang") if field in node.values}}


def _is_message(row: Row) -> bool:
    return "message_id" in row.values and "role" in row.values and "text" in row.values


def _is_same_tree(first: Row, row: Row) -> bool:
    if "message_tree_id" in first.values:
        return row.values.get("message_tree_id") == first.values["message_tree_id"]
    return row.values.get("parent_id") is not None
