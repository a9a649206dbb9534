"""prepare: near duplicates and evaluation texts go when they are asked to, are counted, and nothing changes otherwise."""

import json

import pytest

from trivium.core.config import plain
from trivium.core.errors import ConfigError, DataError
from trivium.core.run import Run
from trivium.report.funnel import funnel
from trivium.report.reading import read_record
from trivium.stages.pipeline import _sources
from trivium.stages.prepare import Prepare, benchmark_names
from trivium.text.decontaminate import FLAG
from trivium.text.read import read_documents
from trivium.text.write import json_line

BASE = " ".join(f"word{number}" for number in range(300))
QUESTION = "which of the seven seas did the old captain cross alone in the winter"
TEXTS = [BASE, f"{BASE} end", "a text that stands for itself", f"before it {QUESTION} and after", BASE.replace("word9 ", "other ")]


@pytest.fixture
def sources(tmp_path):
    lines = [json.dumps({"text": text, "id": f"id{number}"}) for number, text in enumerate(TEXTS)]
    (tmp_path / "corpus.jsonl").write_text("\n".join(lines))
    (tmp_path / "quiz.jsonl").write_text(json.dumps({"question": QUESTION, "choices": ["yes", "no"]}))
    return tmp_path


def prepared(folder, **options):
    stage = Prepare(sources=(str(folder / "corpus.jsonl"),), heldout_share=0.4, **options)
    stage.check()
    with Run(folder / "run", quiet=True) as run:
        run.begin("prepare", {"options": plain(stage)})
        stage.run(run)
    files = [folder / "run/prepare/corpus" / f"{part}.jsonl.zst" for part in ("train", "heldout")]
    documents = sorted((document for file in files for document in read_documents(file)), key=lambda document: document.id)
    return documents, json.loads((folder / "run/prepare/funnel.json").read_text())


def test_near_duplicates_and_evaluation_texts_stay_unless_asked(sources):
    documents, counts = prepared(sources)
    assert [document.text for document in documents] == TEXTS
    assert counts["dropped"] == []
    assert "cut" not in counts


def test_near_duplicates_go_and_their_clusters_are_told(sources):
    documents, counts = prepared(sources, near_dedup=0.8)
    assert [document.id for document in documents] == ["id0", "id2", "id3"]
    assert [(entry["reason"], entry["documents"], len(entry["samples"])) for entry in counts["dropped"]] == [("near duplicate", 2, 2)]
    told = (sources / "run/prepare/near_duplicates.jsonl").read_text()
    assert json.loads(told) == {"id": "id0", "size": 3, "duplicates": ["id1", "id4"]}


@pytest.mark.parametrize(("mode", "kept"), [("drop", 4), ("cut", 4), ("flag", 5)])
def test_evaluation_texts_go_or_are_flagged_and_reported(sources, mode, kept):
    quiz = str(sources / "quiz.jsonl")
    documents, counts = prepared(sources, decontaminate=(quiz,), on_overlap=mode)
    assert len(documents) == kept
    assert [document.meta.get(FLAG) for document in documents if FLAG in document.meta] == [["quiz"]] * (mode == "flag")
    [found] = json.loads((sources / "run/prepare/decontamination.json").read_text()).values()
    assert {name: found[name] for name in ("items", "too_short", "hit_items", "documents")} == {
        "items": 1, "too_short": 0, "hit_items": 1, "documents": 1,
    }  # fmt: skip
    assert found["samples"] == [{"id": "id3", "text": QUESTION}]
    assert counts["read"]["bytes"] == counts["kept"]["bytes"] + sum(entry["bytes"] for entry in counts["dropped"])


def test_a_cut_is_in_the_funnel_and_in_its_report(sources):
    long = ("plain words about something else " * 30) + QUESTION + (" and plain words that come after it" * 30)
    (sources / "corpus.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in [*TEXTS, long]))
    _, counts = prepared(sources, decontaminate=(str(sources / "quiz.jsonl"),), on_overlap="cut")
    [cut] = counts["cut"]
    gone = sum(entry["bytes"] for entry in [*counts["dropped"], cut])
    assert counts["read"]["bytes"] == counts["kept"]["bytes"] + gone
    page = str(funnel(read_record(sources / "run")))
    assert "lost a part: part of" in page
    assert "samples cut for: part of" in page


def test_benchmarks_are_called_by_their_files_names_where_these_differ():
    assert benchmark_names(("boolq", "a/quiz.jsonl.gz", "@make/quiz2")) == {
        "boolq": "boolq",
        "quiz": "a/quiz.jsonl.gz",
        "quiz2": "@make/quiz2",
    }
    assert list(benchmark_names(("a/quiz.jsonl", "b/quiz.jsonl"))) == ["a/quiz.jsonl", "b/quiz.jsonl"]


@pytest.mark.parametrize(("option", "value"), [("line_dedup", 1), ("substring_dedup", 31)])
def test_sizes_that_ordinary_text_would_fall_under_are_refused_by_the_options_name(option, value):
    with pytest.raises(ConfigError, match=f"Prepare: {option} is {value}; .* 0: off"):
        Prepare(sources=("x.txt",), **{option: value})


def test_scrubbing_keeps_the_funnel_exact_when_documents_go_later(sources):
    texts = [f"{text} write to someone@example.org" for text in TEXTS]
    (sources / "corpus.jsonl").write_text("\n".join(json.dumps({"text": text, "id": f"id{n}"}) for n, text in enumerate(texts)))
    documents, counts = prepared(sources, near_dedup=0.8, scrub=("email",))
    gone = sum(entry["bytes"] for entry in counts["dropped"]) + counts["scrubbed"]["bytes"]
    assert counts["scrubbed"] == {"documents": 5, "bytes": 5 * (len("someone@example.org") - len("<EMAIL>"))}
    assert counts["kept"]["bytes"] == sum(len(document.text.encode()) for document in documents)
    assert counts["read"]["bytes"] == counts["kept"]["bytes"] + gone


def test_evaluation_sources_are_checked_and_count_as_inputs(sources):
    stage = Prepare(sources=(str(sources / "corpus.jsonl"),), decontaminate=("nowhere.jsonl",))
    assert "nowhere.jsonl" in _sources(plain(stage))
    with pytest.raises(DataError, match="there is no such file"):
        stage.check()


def test_what_it_writes_is_what_its_reader_takes(sources):
    rows = ['{"text": "first of all", "note": "\\ud800", "score": 1e999}', '{"text": "second", "id": "b"}', '{"text": "third"}']
    (sources / "corpus.jsonl").write_text("\n".join(rows).replace(', "score": 1e999', ""))
    documents, _ = prepared(sources)
    assert {document.meta.get("note") for document in documents} == {"\ud800", None}
    assert json_line({"a": [float("nan"), {"b": float("inf")}], "c": 1.5}) == b'{"a": [null, {"b": null}], "c": 1.5}\n'
    (sources / "corpus.jsonl").write_text('{"text": "a", "id": "\\ud800"}\n{"text": "b"}')
    with pytest.raises(DataError, match="line 1: 'id' holds a lone surrogate"):
        prepared(sources)


@pytest.mark.parametrize(("options", "said"), [({"sources": ""}, "empty name"), ({"sources": ("raw", "")}, "empty name")])
def test_an_empty_name_is_no_source(options, said):
    with pytest.raises(ConfigError, match=said):
        Prepare(**options)


def test_pieces_may_not_lie_in_what_is_read(sources):
    with pytest.raises(ConfigError, match="inside of the source"):
        Prepare(sources=(str(sources),), pieces=str(sources / "pieces")).check()


def test_a_changed_bit_of_a_corpus_is_found(sources):
    prepared(sources)
    file = sources / "run/prepare/corpus/train.jsonl.zst"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"train\.jsonl\.zst"):
        list(read_documents(file))
