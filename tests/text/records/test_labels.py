import json

import pytest

from trivium.core.errors import DataError
from trivium.core.types import Message
from trivium.text.read import check_head, is_labelled, read_labels


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_an_answer_with_a_label_is_judged_alone(tmp_path):
    messages = [{"role": role, "content": text} for role, text in (("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d"))]
    path = write(tmp_path / "x.jsonl", {"prompt": "q", "completion": "r", "label": True}, {"messages": messages, "label": False})
    assert is_labelled(path)
    assert list(read_labels(path)) == [
        ((Message("user", "q"),), "r", True),
        ((Message("user", "a"), Message("assistant", "b"), Message("user", "c")), "d", False),
    ]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "q", "completion": "r"},
        {"prompt": "q", "chosen": "a", "rejected": "b", "label": True},
        {"prompt": "q", "output_1": "a", "output_2": "b", "label": 1},
    ],
)
def test_other_rows_are_not(tmp_path, row):
    assert not is_labelled(write(tmp_path / "x.jsonl", row))


@pytest.mark.parametrize("label", [1, "true", None])
def test_a_label_is_true_or_false(tmp_path, label):
    path = write(
        tmp_path / "x.jsonl", {"prompt": "q", "completion": "r", "label": True}, {"prompt": "q", "completion": "r", "label": label}
    )
    with pytest.raises(DataError, match=f"line 2: 'label' is '?{label}'?; true or false is expected"):
        list(read_labels(path))
    alone = write(tmp_path / "alone.jsonl", {"prompt": "q", "completion": "r", "label": label})
    assert is_labelled(alone)
    with pytest.raises(DataError, match="line 1: 'label' is"):
        check_head(alone, "labels")


def test_a_row_without_a_label_is_told(tmp_path):
    with pytest.raises(DataError, match=r"line 1: 'label' is missing \(found: prompt, completion\)"):
        list(read_labels(write(tmp_path / "x.jsonl", {"prompt": "q", "completion": "r"})))
