"""Reading: every shape of record, every way a file can be broken."""

import gzip
import json
import os
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings, strategies as st

from trivium.core.errors import DataError
from trivium.core.types import Message
from trivium.text.read import (
    check_head,
    files_of,
    read_conversations,
    read_definitions,
    read_documents,
    read_field,
    read_preferences,
    read_prompts,
)
from trivium.text.strict_json import parse

U, A = (lambda text: Message("user", text)), (lambda text: Message("assistant", text))


def write(folder, name, *records):
    path = folder / name
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def compress(path, content):
    data = (
        gzip.compress(content)
        if path.suffix == ".gz"
        else zstandard.ZstdCompressor().compress(content)
        if path.suffix == ".zst"
        else content
    )
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.json", "b.json", "a.csv", "a.parquet"])
def test_documents_are_the_same_in_every_format(tmp_path, name):
    rows = [{"text": "one\ntwo"}, {"text": 'é, "quoted"'}]
    path = tmp_path / name
    if name == "a.parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif name == "a.csv":
        path.write_text('text\n"one\ntwo"\n"é, ""quoted"""\n')
    elif name == "a.json":
        path.write_text(json.dumps(rows, indent=2))
    else:
        compress(path, "\n".join(json.dumps(row) for row in rows).encode())
    assert [document.text for document in read_documents(path)] == [row["text"] for row in rows]


def test_a_text_file_is_one_document_and_a_folder_is_read_in_order_of_names(tmp_path):
    (tmp_path / "b.txt").write_text("second")
    (tmp_path / "a.txt").write_text("first\n\n")
    (tmp_path / "picture.png").write_bytes(b"\x89")
    (tmp_path / ".hidden.txt").write_text("no")
    documents = list(read_documents(tmp_path))
    assert [document.text for document in documents] == ["first\n\n", "second"]
    assert documents[0].source == documents[0].id == str(tmp_path / "a.txt")
    assert [document.text for document in read_documents(f"{tmp_path}/b*")] == ["second"]


def test_fields_that_are_not_ours_are_kept_as_meta(tmp_path):
    path = write(tmp_path, "a.jsonl", {"text": "x", "id": 7, "source": "web", "url": "u", "meta": {"year": 1}})
    [document] = read_documents(path)
    assert (document.id, document.source, document.meta) == ("7", "web", {"url": "u", "year": 1})


CONVERSATIONS = {
    "messages": ({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}, (U("q"), A("a"))),
    "sharegpt": (
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}, {"from": "human", "value": "?"}]},
        (U("q"), A("a")),
    ),
    "sharegpt system": (
        {"conversations": [{"from": "system", "value": "s"}, {"from": "user", "value": "q"}, {"from": "assistant", "value": "a"}]},
        (Message("system", "s"), U("q"), A("a")),
    ),
    "alpaca": ({"instruction": "q", "input": "", "output": "a"}, (U("q"), A("a"))),
    "alpaca input": ({"instruction": "q", "input": "i", "output": "a"}, (U("q\n\ni"), A("a"))),
    "dolly": ({"instruction": "q", "context": "c", "response": "a"}, (U("q\n\nc"), A("a"))),
    "prompt response": ({"prompt": "q", "response": "a"}, (U("q"), A("a"))),
    "prompt completion": ({"prompt": "q", "completion": "a"}, (U("q"), A("a"))),
    "prompt completion lists": (
        {"prompt": [{"role": "user", "content": "q"}], "completion": [{"role": "assistant", "content": "a"}]},
        (U("q"), A("a")),
    ),
}


@pytest.mark.parametrize("shape", CONVERSATIONS)
def test_every_shape_of_conversation_is_told_by_its_fields(tmp_path, shape):
    record, turns = CONVERSATIONS[shape]
    [conversation] = read_conversations(write(tmp_path, "a.jsonl", {**record, "category": "x", "weight": 2}))
    assert (conversation.messages, conversation.weight, conversation.meta) == (turns, 2.0, {"category": "x"})
    check_head(tmp_path / "a.jsonl", "conversations")


HH = "\n\nHuman: q\n\nAssistant: a\n\nHuman: r\n\nAssistant: "
PREFERENCES = {
    "pair": ({"prompt": "q", "chosen": "good", "rejected": "bad"}, (U("q"),), ("good", "bad"), (0, 1)),
    "equal answers": ({"prompt": "q", "chosen": "same", "rejected": "same"}, (U("q"),), ("same", "same"), (0, 0)),
    "message lists": (
        {
            "prompt": [{"role": "user", "content": "q"}],
            "chosen": [{"role": "assistant", "content": "g"}],
            "rejected": [{"role": "assistant", "content": "b"}],
        },
        (U("q"),),
        ("g", "b"),
        (0, 1),
    ),
    "whole conversations": (
        {
            "prompt": "q",
            "chosen": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "g"}],
            "rejected": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "b"}],
        },
        (U("q"),),
        ("g", "b"),
        (0, 1),
    ),
    "system turn before the prompt": (
        {
            "prompt": "q",
            "chosen": [{"role": role, "content": text} for role, text in (("system", "s"), ("user", "q"), ("assistant", "g"))],
            "rejected": [{"role": role, "content": text} for role, text in (("system", "s"), ("user", "q"), ("assistant", "b"))],
        },
        (Message("system", "s"), U("q")),
        ("g", "b"),
        (0, 1),
    ),
    "hh": ({"chosen": HH + "good", "rejected": HH + "bad"}, (U("q"), A("a"), U("r")), ("good", "bad"), (0, 1)),
    "ranking": ({"prompt": "q", "responses": ["a", "b", "c"], "ranking": [[2], [0, 1]]}, (U("q"),), ("a", "b", "c"), (1, 1, 0)),
    "plain ranking": ({"prompt": "q", "responses": ["a", "b", "c"], "ranking": [2, 0, 1]}, (U("q"),), ("a", "b", "c"), (1, 2, 0)),
    "scores": ({"prompt": "q", "responses": ["a", "b", "c"], "scores": [1, 3.5, 1]}, (U("q"),), ("a", "b", "c"), (1, 0, 1)),
}


@pytest.mark.parametrize("shape", PREFERENCES)
def test_every_shape_of_preference_is_told_by_its_fields(tmp_path, shape):
    record, prompt, responses, ranks = PREFERENCES[shape]
    [preference] = read_preferences(write(tmp_path, "a.jsonl", record))
    assert (preference.prompt, preference.responses, preference.ranks) == (prompt, responses, ranks)
    assert list(read_prompts(write(tmp_path, "b.jsonl", {"prompt": "q", "x": 1}))) == [(U("q"),)]


def test_prompts_come_from_conversations_without_their_answers_and_from_lines_of_text(tmp_path):
    write(tmp_path, "a.jsonl", CONVERSATIONS["messages"][0], CONVERSATIONS["alpaca input"][0])
    (tmp_path / "b.txt").write_text("one\n\n two \n")
    assert list(read_prompts(tmp_path)) == [(U("q"),), (U("q\n\ni"),), (U("one"),), (U("two"),)]
    check_head(tmp_path, "prompts")


@pytest.mark.parametrize(
    ("read", "record", "problem"),
    [
        (read_documents, {"txt": "x"}, r"line 1: 'text' is missing \(found: txt\)"),
        (read_documents, {"text": None}, "'text' is null; text is expected"),
        (read_documents, {"text": ["x"]}, "'text' is a list; text is expected"),
        (read_documents, {"text": "\ud800"}, "lone surrogate"),
        (read_conversations, {}, r"'messages' is missing \(found: nothing\)"),
        (read_conversations, {"messages": []}, "'messages' is an empty list"),
        (read_conversations, {"messages": "hi"}, "'messages' is text; a list of messages is expected"),
        (read_conversations, {"messages": ["hi"]}, r"'messages\[0\]' is text; an object with role and content"),
        (read_conversations, {"messages": [{"role": "user"}]}, r"'messages\[0\].content' is missing \(found: role\)"),
        (read_conversations, {"messages": [{"role": "user", "content": None}]}, r"'messages\[0\].content' is null"),
        (read_conversations, {"messages": [{"role": "bot", "content": "x"}]}, "'bot'; it is one of: system, user, assistant, tool"),
        (read_conversations, {"messages": [{"role": ["user"], "content": "x"}]}, r"is \['user'\]; it is one of"),
        (read_conversations, {"conversations": []}, "'conversations' is empty"),
        (read_conversations, {"conversations": [{"from": "gpt", "value": "a"}]}, "must begin with the user"),
        (read_conversations, {"conversations": [{"from": "human", "value": "a"}] * 2}, "must alternate"),
        (read_conversations, {"conversations": [{"from": "human", "value": "a"}]}, "has no answer"),
        (read_conversations, {"instruction": "q"}, "'output' or 'response' is missing"),
        (read_conversations, {"prompt": "q"}, "'response' or 'completion' is missing"),
        (read_conversations, {"prompt": "q", "response": 3}, "'response' is a number"),
        (read_conversations, {**CONVERSATIONS["alpaca"][0], "weight": -1}, "'weight' is -1"),
        (read_conversations, {**CONVERSATIONS["alpaca"][0], "weight": True}, "'weight' is True"),
        (
            read_preferences,
            {"prompt": "q", "response": "a", "rejected": "b"},
            r"line 1: 'chosen' is missing \(found: prompt, response, rejected\)",
        ),
        (read_preferences, {"chosen": "a", "rejected": "b"}, "'prompt' is missing"),
        (read_preferences, {"chosen": HH + "x", "rejected": "\n\nHuman: other\n\nAssistant: x"}, "one transcript that ends in two answers"),
        (read_preferences, {"prompt": "q", "responses": ["a"], "scores": [1]}, "at least two"),
        (read_preferences, {"prompt": "q", "responses": ["a", "b"]}, "either 'ranking' or 'scores'"),
        (read_preferences, {"prompt": "q", "responses": ["a", "b"], "ranking": [[0]]}, "lists each index from 0 to 1 once"),
        (read_preferences, {"prompt": "q", "responses": ["a", "b"], "ranking": [0, True]}, "lists each index"),
        (read_preferences, {"prompt": "q", "responses": ["a", "b"], "scores": [1]}, "2 finite numbers"),
        (read_preferences, {"prompt": "q", "responses": ["a", "b"], "scores": ["1", 2]}, "2 finite numbers"),
        (read_prompts, {"text": "x"}, "'prompt' is missing"),
        (read_prompts, {"messages": [{"role": "assistant", "content": "x"}]}, "no turn before the answer"),
    ],
)
def test_a_wrong_record_is_one_line_with_file_line_and_field(tmp_path, read, record, problem):
    with pytest.raises(DataError, match=problem) as caught:
        list(read(write(tmp_path, "a.jsonl", record)))
    assert str(caught.value).startswith(f"{tmp_path}/a.jsonl line 1: ")
    assert "\n" not in str(caught.value)


GOOD = b'{"text": "x"}\n'


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.jsonl", b"", "a.jsonl: is empty"),
        ("a.jsonl", b"\n \n", "a.jsonl: is empty"),
        ("a.txt", b"", "a.txt: is empty"),
        ("a.json", b"[]", "a.json: is empty"),
        ("a.csv", b"text\n", "a.csv: is empty"),
        ("a.jsonl", GOOD + b'{"text": "\xff"}\n', r"line 2: is not UTF-8 \(byte 0xff\)"),
        ("a.txt", b"a\nb\n\xe9", "line 3: is not UTF-8"),
        ("a.json", b'[{"text": "\n\xff"}]', "line 2: is not UTF-8"),
        ("a.jsonl", GOOD * 2 + b'{"text": "x"', "line 3: is not JSON"),
        ("a.jsonl", GOOD + b"[1]\n", "line 2: is a list; an object with fields is expected"),
        ("a.jsonl", b'{"text": "x", "n": NaN}', "line 1: NaN is not a JSON number"),
        ("a.jsonl", b'{"text": "x", "n": -Infinity}', "line 1: -Infinity is not a JSON number"),
        ("a.jsonl", b'{"text": "x", "text": "y"}', "line 1: 'text' is given twice"),
        ("a.jsonl", b'{"text": ' + b"[" * 100_000, "line 1: is nested too deeply"),
        ("a.json", b"[" * 100_000, "line 1: is nested too deeply"),
        ("a.jsonl", b'{"n": ' + b"1" * 5000 + b"}", "line 1: a number has more than 4,300 digits"),
        ("a.json", b'[{"text": "x"},\n{"text": }]', "line 2: is not JSON"),
        ("a.json", b'[{"text": "x"}\n{"text": "x"}]', "line 2: is not JSON"),
        ("a.json", b'[{"text": "x"},', "is the file cut off"),
        ("a.json", b'[{"text": "x"}', "is the file cut off"),
        ("a.json", b'[{"text": "x"}] 1', "text after the end of the list"),
        ("a.json", b'[{"text": "x", "n": NaN}]', "line 1: NaN is not a JSON number"),
        ("a.csv", b'text,n\n"x\n', "line 2: is not CSV"),
        ("a.csv", b"text,n\nx\n", "line 2: has 1 cells, the header has 2"),
        ("a.csv", b"text,text\nx,y\n", "a column is named twice"),
        ("a.jsonl.gz", b"not gzip at all", "its compression is damaged"),
        ("a.jsonl.gz", gzip.compress(GOOD * 1000, mtime=0)[:-20], "is truncated"),
        ("a.jsonl.gz", gzip.compress(GOOD, mtime=0)[:-8] + bytes(8), "its compression is damaged"),
        ("a.jsonl.zst", b"not zstd at all", "its compression is damaged"),
        ("a.jsonl.zst", zstandard.ZstdCompressor().compress(GOOD * 1000)[:-5], "is truncated"),
        ("a.parquet", b"PAR1 no", "is not parquet"),
        ("a.xyz", b"x", "its format is not known by its name"),
    ],
)
def test_a_broken_file_is_one_line_that_names_it(tmp_path, name, content, problem):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=problem) as caught:
        list(read_documents(tmp_path / name))
    assert str(caught.value).startswith(str(tmp_path / name))


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.parquet", "a.txt", "a.jsonl.gz", "a.jsonl.zst"])
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    for read in (
        lambda path: list(read_documents(path)),
        lambda path: list(read_prompts(path)),
        lambda path: check_head(path, "documents"),
    ):
        with pytest.raises(DataError, match=rf"{name}: .*it is a pipe, a socket or a device; give a file"):
            read(tmp_path / name)


def test_a_device_is_refused_instead_of_read(tmp_path):
    (tmp_path / "a.jsonl").symlink_to("/dev/zero")
    with pytest.raises(DataError, match=r"a.jsonl: cannot be read \(it is a pipe, a socket or a device"):
        list(read_documents(tmp_path / "a.jsonl"))


@pytest.mark.parametrize(("name", "problem"), [("a.jsonl", "line 2: is longer than 1 MiB"), ("a.txt", "at most 1 MiB")])
def test_a_line_above_the_limit_is_refused(tmp_path, monkeypatch, name, problem):
    monkeypatch.setattr("trivium.text.lines.MAX_LINE_BYTES", 1 << 20)
    (tmp_path / name).write_bytes(GOOD + b"x" * (1 << 20) + b"x")
    with pytest.raises(DataError, match=problem):
        list(read_documents(tmp_path / name))


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("missing.jsonl", "there is no such file, folder or asset"),
        ("wiki-lead", "did you mean 'wiki-leads'"),
        ("*.jsonl", "no file fits this pattern"),
    ],
)
def test_a_source_that_is_not_there_says_so(tmp_path, monkeypatch, source, problem):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=problem):
        check_head(source, "documents")


def test_a_folder_without_a_readable_file_says_so(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(DataError, match="holds no file that can be read"):
        files_of(tmp_path)


def test_on_skip_hears_of_bad_records_and_reading_goes_on(tmp_path):
    skipped = []
    path = write(tmp_path, "a.jsonl", {"text": "x"}, {"txt": "y"}, {"text": "z"})
    assert [document.text for document in read_documents(path, skipped.append)] == ["x", "z"]
    assert ["line 2" in str(error) for error in skipped] == [True]


def test_the_head_is_checked_without_reading_the_rest(tmp_path):
    path = write(tmp_path, "a.jsonl", *[{"text": "x"}] * 5, {"bad": 1})
    check_head(path, "documents")
    with pytest.raises(DataError, match="'messages' is missing"):
        check_head(path, "conversations")


def test_zstd_frames_one_after_another_are_one_file(tmp_path):
    frame = zstandard.ZstdCompressor().compress(GOOD * 500)
    (tmp_path / "a.jsonl.zst").write_bytes(frame * 3)
    assert len(list(read_documents(tmp_path / "a.jsonl.zst"))) == 1500


def test_large_json_lists_are_read_element_by_element(tmp_path):
    rows = [{"text": "x" * size} for size in (0, 3 << 20, 10, 1 << 20)]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    assert [len(document.text) for document in read_documents(tmp_path / "a.json")] == [0, 3 << 20, 10, 1 << 20]


def test_a_byte_order_mark_is_not_text(tmp_path):
    for name, content in (("a.jsonl", GOOD), ("a.json", b"[" + GOOD + b"]"), ("a.txt", b"x"), ("a.csv", b"text\nx\n")):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + content)
        assert [document.text for document in read_documents(tmp_path / name)] == ["x"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["text", "messages", "prompt", "role", "content"]) | st.text(), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON)
@settings(max_examples=100, deadline=None)
def test_valid_json_is_read_as_the_standard_library_reads_it(value):
    assert parse(json.dumps(value), "here") == value


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_bytes_give_records_or_a_data_error(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("any")
    for name in ("a.jsonl", "a.json", "a.csv"):
        (folder / name).write_bytes(content)
        skipped = []
        with suppress(DataError):
            list(read_documents(folder / name, skipped.append))
        assert all(str(error).startswith(str(folder)) for error in skipped)


@given(
    st.dictionaries(
        st.sampled_from(["messages", "conversations", "prompt", "chosen", "rejected", "responses", "ranking", "scores"]), JSON, max_size=4
    )
)
@settings(max_examples=150, deadline=None)
def test_any_record_gives_a_preference_a_conversation_or_a_data_error(tmp_path_factory, record):
    path = write(tmp_path_factory.mktemp("any"), "a.jsonl", record)
    for read in (read_conversations, read_preferences, read_prompts):
        skipped = []
        assert len(list(read(path, skipped.append))) + len(skipped) == 1
        assert all("line 1: " in str(error) for error in skipped)


def test_a_dictionary_is_read_from_a_file(tmp_path):
    entry = {"word": "axiom", "part_of_speech": "noun", "definitions": ["a self-evident truth", "a rule"], "origin": "Greek"}
    path = write(tmp_path, "words.jsonl", entry)
    check_head(path, "definitions")
    assert list(read_definitions(path)) == [{name: entry[name] for name in ("word", "part_of_speech", "definitions")}]


def test_one_field_of_every_record_is_text_or_an_error_with_its_line(tmp_path):
    path = write(tmp_path, "prompts.jsonl", {"prompt": "What is an axiom?", "asked": "axiom"}, {"prompt": "And?", "asked": 3})
    with pytest.raises(DataError, match="line 2: 'asked' is a number"):
        read_field(path, "asked")
    with pytest.raises(DataError, match="line 1: 'word' is missing"):
        check_head(path, "prompts", field="word")
