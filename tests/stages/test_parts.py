"""Parts of `prepare` on many machines, and what a corpus would take."""

import json
from dataclasses import replace

import pytest

from trivium.core.config import plain
from trivium.core.errors import ConfigError
from trivium.core.run import Run
from trivium.stages.parts import CleanPart
from trivium.stages.planning.capacity import Sample, measure, plan, plan_of
from trivium.stages.prepare import Prepare
from trivium.text import cleaning


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """Six files, each a unit of its own."""
    monkeypatch.setattr(cleaning, "UNIT_BYTES", 100)
    (tmp_path / "raw").mkdir()
    for number in range(6):
        rows = [{"text": f"document {number} {row}: " + f"word{row} " * (row + 30), "id": f"{number}-{row}"} for row in range(5)]
        (tmp_path / f"raw/{number}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


def options(folder, **more):
    return {"sources": [str(folder / "raw")], "near_dedup": 0.8, "heldout_share": 0.2, **more}


def prepared(folder, name, **more):
    stage = Prepare(**{**options(folder, **more), "sources": (str(folder / "raw"),)})
    with Run(folder / name, quiet=True) as run:
        run.begin("prepare", {"options": plain(stage)})
        stage.run(run)
    return [
        (folder / name / "prepare" / file).read_bytes() for file in ("corpus/train.jsonl.zst", "corpus/heldout.jsonl.zst", "funnel.json")
    ]


@pytest.mark.parametrize("num_parts", [1, 4, 9])
def test_parts_by_others_change_no_byte_and_are_not_done_again(corpus, num_parts, monkeypatch):
    alone, pieces = prepared(corpus, "alone"), str(corpus / "pieces")
    for number in reversed(range(num_parts)):
        CleanPart(options(corpus, pieces=pieces), num_workers=1).run_part(f"{number}/{num_parts}")
    monkeypatch.setattr(cleaning._UnitWork, "_write", lambda *_: pytest.fail("it was done before"))
    assert prepared(corpus, "together", pieces=pieces) == alone


def test_it_is_a_step_of_a_pipeline(corpus):
    step = CleanPart(options(corpus, pieces=str(corpus / "pieces")), num_workers=1)
    assert step("what came before", rank=1, world_size=3) == "what came before"
    assert len(list((corpus / "pieces").glob("*/00000/manifest.json"))) == 2


@pytest.mark.parametrize(
    ("part", "more", "said"),
    [
        ("3/3", {}, "'part' is '3/3'; it is 0/N"),
        ("1", {}, "'part' is '1'"),
        ("0/1", {"pieces": ""}, "pieces is missing"),
        ("0/1", {"max_documents": 5}, "max_documents counts over all files"),
        ("0/1", {"sources": ["@make/corpus"]}, "does not come before it"),
        ("0/1", {"near_dedub": 0.8}, "near_dedup"),
    ],
)
def test_what_does_not_go_with_parts_is_one_line(corpus, part, more, said):
    with pytest.raises(ConfigError, match=said):
        CleanPart({**options(corpus, pieces=str(corpus / "pieces")), **more}).run_part(part)
    assert not (corpus / "pieces").exists()


def test_a_plan_is_arithmetic_on_what_was_measured(corpus):
    stage = Prepare(sources=(str(corpus / "raw"),), near_dedup=0.8)
    found = measure(stage)
    assert (found.num_read, len(found.documents)) == (30, 30)
    assert found.bytes_kept == found.bytes_read == sum(len(document.text.encode()) for document in found.documents)
    rates = dict.fromkeys(("read", "clean", "write", "compress", "encode"), 1000000.0)
    measured = {"num_read": 30, "bytes_read": 2 * found.bytes_kept, "documents": found.documents, "marks": found.marks}
    made = Sample(**measured, **rates, bytes_a_token=4.0, compressed=0.25, near=1e5)
    lines = plan(stage, 1e12, made).splitlines()
    assert "50.0% of it kept" in lines[0]
    assert "4.0 TB of text" in lines[1]
    assert "8.0 TB to be read" in lines[1]
    assert f"{8e12 / 1e6 / 3600:,.1f} core-hours" in lines[2]
    assert "1.0 TB for the corpus, 2.0 TB for tokens" in lines[-3]
    assert lines[-1].startswith("caution: only 0.01 MB measured; below 1 MB rates are a guess")


def test_a_plan_has_every_pass_that_is_asked_for_and_says_what_it_leaves_out(corpus):
    (corpus / "raw/a.html").write_text("<p>a page</p>")
    (corpus / "quiz.jsonl").write_text('{"question": "document 3 word1 word1 word1"}')
    asked = {"line_dedup": 2, "substring_dedup": 200, "decontaminate": (str(corpus / "quiz.jsonl"),)}
    stage = Prepare(sources=(str(corpus / "raw/0.jsonl"), str(corpus / "raw/a.html")), **asked)
    found = replace(measure(replace(stage, sources=stage.sources[:1])), decontaminate=1e6, lines=2e6, copies=4e6, bytes_a_token=4.0)
    told = plan(stage, 1e12, found)
    hours = 4e12 / 1e6 / 3600
    for name, number in (("evaluation texts", hours), ("lines of many documents", hours / 2), ("passages that came before", hours / 4)):
        assert f"{name:<32} {number:>12,.1f}" in told
    assert told.endswith("left out: taking the text out of web pages, which a process of its own does")
    assert "lines of many documents" not in plan(Prepare(sources=stage.sources[:1]), 1e12, found)


@pytest.mark.parametrize("tokens", [0, -1, float("nan"), float("inf")])
def test_a_plan_is_for_a_number_of_tokens(tokens):
    with pytest.raises(ConfigError, match="it is a number of tokens"):
        plan_of(["sources=x"], tokens)
