"""Trees of OpenAssistant: what counts, what is best, and that both forms of export say the same."""

import json
import re

import pytest

from trivium.core.errors import DataError
from trivium.core.types import Message
from trivium.text.read import check_head, read_conversations, read_documents, read_preferences, read_prompts

U, A = (lambda text: Message("user", text)), (lambda text: Message("assistant", text))


def node(text, *replies, rank=None, **fields):
    """A message named after its text; capital letters are the assistant's."""
    role = "assistant" if text[0].isupper() else "prompter"
    return {"message_id": text, "text": text, "role": role, "lang": "en", "review_result": True, "deleted": False, "rank": rank,
            "replies": list(replies), **fields}  # fmt: skip


def tree(root):
    return {"message_tree_id": root["message_id"], "tree_state": "ready_for_export", "prompt": root}


def flat(root, parent=None, tree_id=None):
    """The same messages, a row each, parents first."""
    own = {name: value for name, value in root.items() if name != "replies"}
    own |= {"parent_id": parent, "message_tree_id": tree_id or root["message_id"], "tree_state": "ready_for_export"}
    return [own, *(row for reply in root["replies"] for row in flat(reply, root["message_id"], own["message_tree_id"]))]


THREE = node("q", node("A", rank=0), node("B", rank=2), node("C", rank=1))
DEEP = node(
    "q",
    node("A", node("r", node("D", rank=1), node("E", rank=0)), node("s", node("F")), rank=0),
    node("B", node("t", node("G", rank=0)), rank=1),
)


def write(folder, *records):
    path = folder / "trees.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def paths(conversations):
    return ["".join(turn.content for turn in each.messages) for each in conversations]


@pytest.mark.parametrize("form", ["tree", "flat"])
def test_three_replies_are_three_paths_and_one_ranking(tmp_path, form):
    path = write(tmp_path, *([tree(THREE)] if form == "tree" else flat(THREE)))
    assert paths(read_conversations(path)) == ["qA"]
    assert paths(read_conversations(path, replies="all")) == ["qA", "qB", "qC"]
    [preference] = read_preferences(path)
    assert (preference.prompt, preference.responses, preference.ranks) == ((U("q"),), ("A", "B", "C"), (0, 2, 1))
    assert list(read_prompts(path)) == [(U("q"),)]
    assert preference.meta == {"message_tree_id": "q", "tree_state": "ready_for_export", "message_id": "q", "lang": "en"}
    for kind in ("conversations", "preferences", "prompts"):
        check_head(path, kind)


@pytest.mark.parametrize("form", ["tree", "flat"])
def test_best_takes_whole_paths_of_best_answers_and_all_a_path_to_every_answer(tmp_path, form):
    path = write(tmp_path, *([tree(DEEP)] * 2 if form == "tree" else flat(DEEP) + flat(node("z", node("Z")))))
    second = ["qArE", "qAsF"] if form == "tree" else ["zZ"]
    assert paths(read_conversations(path)) == ["qArE", "qAsF", *second]
    assert paths(read_conversations(path, replies="all"))[:7] == ["qA", "qArD", "qArE", "qAsF", "qB", "qBtG", second[0][:2]]
    first, deeper = list(read_preferences(path))[:2]
    assert (deeper.prompt, deeper.responses, deeper.ranks) == ((U("q"), A("A"), U("r")), ("D", "E"), (1, 0))
    assert first.responses == ("A", "B")


@pytest.mark.parametrize(
    ("root", "best", "every", "ranked"),
    [
        (node("q", node("A", rank=0, deleted=True), node("B", rank=1), node("C", rank=0)), ["qC"], ["qB", "qC"], [("B", "C")]),
        (node("q", node("A", rank=0, review_result=False), node("B", rank=1)), [], ["qB"], []),
        (node("q", node("A", node("r", node("B")), review_result=None)), [], [], []),
        (node("q", node("A"), node("B")), [], ["qA", "qB"], []),
        (node("q", node("A", rank=0), node("B", rank=1), node("C")), ["qA"], ["qA", "qB", "qC"], [("A", "B")]),
        (node("q", node("A"), review_result=False), [], [], []),
        (node("q", node("A", node("r", node("B"), deleted=True))), ["qA"], ["qA"], []),
    ],
    ids=["deleted", "best refused", "not reviewed", "no ranks", "one without rank", "root refused", "question deleted"],
)
def test_messages_that_do_not_count_go_with_what_follows_them(tmp_path, root, best, every, ranked):
    path = write(tmp_path, tree(root), tree(node("x", node("X", rank=0), node("Y", rank=1))))
    assert paths(read_conversations(path)) == [*best, "xX"]
    assert paths(read_conversations(path, replies="all")) == [*every, "xX", "xY"]
    assert [each.responses for each in read_preferences(path)] == [*ranked, ("X", "Y")]


def test_a_source_whose_trees_give_nothing_says_so(tmp_path):
    path = write(tmp_path, tree(node("q", node("A"))))
    assert paths(read_conversations(path)) == ["qA"]
    with pytest.raises(DataError, match="its 1 trees give nothing"):
        list(read_preferences(path))


@pytest.mark.parametrize(
    ("prompt", "problem"),
    [
        (node("q", "A"), r"line 1: 'prompt.replies\[0\]' is text; an object with role and text"),
        ({"role": "prompter", "text": "q", "replies": "A"}, "'prompt.replies' is text; a list of messages"),
        ({"role": "prompter"}, r"'prompt.text' is missing \(found: role\)"),
        ({"role": "prompter", "text": 3}, "'prompt.text' is a number"),
        ({"role": "user", "text": "q"}, "'prompt.role' is 'user'; 'prompter' is expected"),
        (node("q", node("r")), r"'prompt.replies\[0\].role' is 'prompter'; 'assistant' is expected"),
        (node("q", node("A", node("B"))), r"'prompt.replies\[0\].replies\[0\].role' is 'assistant'; 'prompter'"),
        (node("q", node("A", rank="0")), "'prompt.replies.0..rank' is '0'; a whole number"),
        (node("q", node("A", rank=0.5)), "rank' is 0.5; a whole number"),
    ],
)
def test_a_wrong_tree_is_one_line_that_names_the_message(tmp_path, prompt, problem):
    with pytest.raises(DataError, match=problem):
        list(read_conversations(write(tmp_path, {"prompt": prompt})))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"parent_id": "nobody"}, "line 3: 'parent_id' is 'nobody', which is no message of the rows beside it; sort the file by tree"),
        ({"parent_id": 7}, "line 3: 'parent_id' is 7"),
        ({"message_id": 7}, "line 3: 'message_id' is a number"),
        ({"message_id": "A"}, r"line 1: the 4 messages of its tree need different ids .*\(found: 3 ids, 1 roots,"),
        ({"parent_id": None}, "found: 4 ids, 2 roots"),
        ({"parent_id": "B"}, "found: 4 ids, 1 roots, 3 below the first"),
        ({"text": None}, "line 3: 'text' is null"),
        ({"message_tree_id": "other"}, "line 3: 'parent_id' is 'q', which is no message of the rows beside it"),
    ],
)
def test_a_wrong_message_of_the_flat_form_is_named_and_the_next_tree_is_read(tmp_path, change, problem):
    rows = flat(THREE)
    rows[2] |= change
    path = write(tmp_path, *rows, *flat(node("z", node("Z"))))
    with pytest.raises(DataError, match=problem):
        list(read_conversations(path))
    skipped = []
    assert paths(read_conversations(path, skipped.append))[-1] == "zZ"
    assert re.search(problem, " ".join(map(str, skipped)))


def test_without_a_tree_id_a_message_without_parent_begins_a_tree(tmp_path):
    rows = flat(THREE) + flat(DEEP)
    for row in rows:
        del row["message_tree_id"]
    del rows[0]["parent_id"]
    path = write(tmp_path, *rows)
    assert paths(read_conversations(path)) == ["qA", "qArE", "qAsF"]
    assert [document.text for document in read_documents(path)] == [row["text"] for row in rows]  # as documents they are texts
