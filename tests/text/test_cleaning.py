"""The first pass in pieces: killed anywhere, in any number of processes, in any order of units it leaves the same bytes."""

import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.text.settled import settled
from trivium.core.commit import read_manifest
from trivium.core.errors import DataError
from trivium.text import cleaning as module
from trivium.text.cleaning import Cleaning, Unit, clean_units, counts_of, gathered, units_of
from trivium.text.decontaminate import Contamination, Evaluations
from trivium.text.dedup import MinHash
from trivium.text.filters import Length
from trivium.text.marks import Marks, first_of_each
from trivium.text.pipeline import Funnel
from trivium.text.read import read_documents
from trivium.text.store import Joined, Store

QUESTION = "which of the seven seas did the old captain cross alone in the winter"
CLEANING = Cleaning(filters=(Length(min_chars=8),), scrub=("email",), minhash=MinHash())


@pytest.fixture
def sources(tmp_path, monkeypatch) -> list[str]:
    """Three files with 70 documents, in pieces of about ten, and of two files a unit."""
    monkeypatch.setattr(module, "PIECE_CHARS", 1200)
    monkeypatch.setattr(module, "_LEAST_CHARS", 64)
    monkeypatch.setattr(module, "UNIT_BYTES", 6000)
    draw = random.Random(3)
    for name, first, last in (("a", 0, 10), ("b", 10, 30), ("c", 30, 70)):
        rows = []
        for number in range(first, last):
            words = " ".join(draw.choice(["sea", "ship", "captain", "wind", "harbour"]) for _ in range(draw.randrange(1, 40)))
            rows.append({"id": f"id{number}", "text": f"{words} me@example.org" if number % 7 == 0 else words})
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return [str(tmp_path / f"{name}.jsonl") for name in "abc"]


def files_below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_all_pieces_together_are_what_cleaning_a_list_gives(sources, tmp_path):
    units = units_of(sources)
    assert [len(unit.inputs) for unit in units] == [2, 1]
    pieces = clean_units(units, CLEANING, tmp_path / "pieces")
    assert len(pieces) > 4
    funnel, documents = Funnel(), [document for source in sources for document in read_documents(source)]
    expected = settled(documents, CLEANING.filters, funnel=funnel, scrub=["email"])
    joined = Joined([Store.open(piece) for piece in pieces])
    assert list(joined) == expected == [joined[number] for number in range(len(joined))]
    assert counts_of(pieces, None) == funnel
    marks = Marks.of([document.text for document in expected], MinHash())
    assert np.array_equal(np.concatenate([np.load(piece / "digests.npy") for piece in pieces]), marks.digest_D)
    some = np.array([0, 3, len(expected) - 1])
    assert np.array_equal(gathered(pieces, some, tmp_path / "signatures.bin"), marks.signature_DK[some])


def test_processes_and_the_order_of_units_change_no_byte(sources, tmp_path, monkeypatch):
    units = units_of(sources)
    clean_units(units, CLEANING, tmp_path / "one")
    monkeypatch.setattr("trivium.text.workers._BATCHES_HERE", 0)
    monkeypatch.setattr("trivium.text.judge.BATCH_CHARS", 300)
    clean_units(units[1:], CLEANING, tmp_path / "two", num_workers=2)
    clean_units(units[:1], CLEANING, tmp_path / "two")
    assert files_below(tmp_path / "one") == files_below(tmp_path / "two")


@pytest.mark.parametrize("num_pieces", [1, 3])
def test_it_goes_on_after_the_last_piece(sources, tmp_path, monkeypatch, num_pieces):
    clean_units(units_of(sources), CLEANING, tmp_path / "whole")
    commit, made = module.commit, []

    def failing(path, write, **facts):
        if len(made) == num_pieces:
            raise KeyboardInterrupt
        made.append(path)
        return commit(path, write, **facts)

    monkeypatch.setattr(module, "commit", failing)
    with pytest.raises(KeyboardInterrupt):
        clean_units(units_of(sources), CLEANING, tmp_path / "broken")
    before = {path: path.stat().st_mtime_ns for path in made}
    monkeypatch.setattr(module, "commit", commit)
    clean_units(units_of(sources), CLEANING, tmp_path / "broken")
    assert files_below(tmp_path / "whole") == files_below(tmp_path / "broken")
    assert before == {path: path.stat().st_mtime_ns for path in made}


def test_a_piece_that_is_damaged_is_named_and_made_again(sources, tmp_path):
    pieces = clean_units(units_of(sources), CLEANING, tmp_path / "pieces")
    whole, notes = files_below(tmp_path / "pieces"), []
    for file in ("rows.jsonl", "digests.npy", "signatures.npy", "ends.npy", "counts.json"):
        content = bytearray((pieces[1] / file).read_bytes())
        content[len(content) // 2] ^= 1
        (pieces[1] / file).write_bytes(content)
        clean_units(units_of(sources), CLEANING, tmp_path / "pieces", on_note=notes.append)
        assert files_below(tmp_path / "pieces") == whole
        assert notes[0].startswith(f"{pieces[1] / file}: content does not match")
        assert notes[1:] == ["1 of 2 units had been cleaned before"]
        notes.clear()


def test_how_many_units_had_been_cleaned_before_is_told(sources, tmp_path):
    units, notes = units_of(sources), []
    clean_units(units[1:], CLEANING, tmp_path / "pieces", on_note=notes.append)
    assert not notes
    progress = []
    clean_units(units, CLEANING, tmp_path / "pieces", on_note=notes.append, on_progress=lambda *told: progress.append(told))
    clean_units(units, CLEANING, tmp_path / "pieces", on_note=notes.append)
    assert notes == ["1 of 2 units had been cleaned before", "2 of 2 units had been cleaned before"]
    assert [told[:2] for told in progress if told[0]] == [(1, 30), (2, 70)]


def test_other_options_or_content_are_other_pieces(sources, tmp_path):
    unit = Unit((Path(sources[0]),))
    folders = {unit.folder(tmp_path, CLEANING), unit.folder(tmp_path, Cleaning()), Unit(unit.inputs, 5).folder(tmp_path, CLEANING)}
    with Path(sources[0]).open("a") as file:
        file.write('\n{"text": "more"}')
    assert len(folders | {unit.folder(tmp_path, CLEANING)}) == 4


def test_evaluation_texts_are_counted_over_pieces_and_marks_are_of_what_is_left(sources, tmp_path):
    long = "plain words that are about something else " * 30
    texts = [f"{long}{QUESTION} {long}", f"here {QUESTION} stands", "nothing of it at all"]
    Path(sources[1]).write_text("\n".join(json.dumps({"text": text, "id": f"id{n}"}) for n, text in enumerate(texts)))
    cleaning = Cleaning(minhash=MinHash(), evaluations={"quiz": [[QUESTION]]}, on_overlap="cut")
    pieces = clean_units(units_of(sources[1:2]), cleaning, tmp_path / "pieces")
    contamination = Contamination(Evaluations(cleaning.evaluations))
    funnel = counts_of(pieces, contamination)
    found = contamination.to_dict()["quiz"]
    assert (found["hit_items"], found["documents"], len(found["samples"])) == (1, 2, 2)
    left = list(Joined([Store.open(piece) for piece in pieces]))
    assert [document.id for document in left] == ["id0", "id2"]
    assert QUESTION not in left[0].text
    assert funnel.kept.bytes == sum(len(document.text.encode()) for document in left)
    marks = Marks.of([document.text for document in left], MinHash())
    assert np.array_equal(np.concatenate([np.load(piece / "signatures.npy") for piece in pieces]), marks.signature_DK)
    assert np.array_equal(np.concatenate([np.load(piece / "digests.npy") for piece in pieces]), marks.digest_D)


def test_a_damaged_file_is_named_counted_and_the_next_one_read_also_when_it_goes_on_there(sources, tmp_path):
    cut = Path(f"{sources[1]}.gz")
    cut.write_bytes(gzip.compress(Path(sources[1]).read_bytes())[:-4])
    names, notes = [sources[0], str(cut), sources[2]], []
    lenient = Cleaning(is_lenient=True)
    pieces = clean_units(units_of(names), lenient, tmp_path / "pieces", on_note=notes.append)
    funnel = counts_of(pieces, None)
    assert funnel.dropped["damaged file"].documents == 1
    assert funnel.kept.documents == 70 - 1  # whether the last line is whole is not known
    assert len(notes) == 1
    assert notes[0].startswith(f"{cut}: is truncated")
    manifest = (pieces[-1] / "manifest.json").read_bytes()
    shutil.rmtree(pieces[-1])
    clean_units(units_of(names), lenient, tmp_path / "pieces")
    assert (pieces[-1] / "manifest.json").read_bytes() == manifest


def test_records_that_cannot_be_read_stop_it_or_are_counted(sources, tmp_path):
    lines = Path(sources[1]).read_bytes().split(b"\n")
    lines[3:3] = [b'{"text": ', b'{"text": 5}', b"\xff\xfe"]
    lines.append(b"[]")
    Path(sources[1]).write_bytes(b"\n".join(lines))
    with pytest.raises(DataError, match=rf"{sources[1]} line 4"):
        clean_units(units_of(sources), CLEANING, tmp_path / "strict")
    lenient = Cleaning(CLEANING.filters, CLEANING.scrub, is_lenient=True)
    pieces = clean_units(units_of(sources), lenient, tmp_path / "pieces")
    funnel = counts_of(pieces, None)
    assert funnel.dropped["unreadable"].documents == 4
    assert funnel.read.documents == 74
    assert [sample["text"].split(": ")[0].split()[-1] for sample in funnel.samples["unreadable"]] == ["4", "5", "6"]
    for piece in pieces[2:]:  # from any place on it gives the same
        manifest = (piece / "manifest.json").read_bytes()
        for file in piece.iterdir():
            file.unlink()
        piece.rmdir()
        clean_units(units_of(sources), lenient, tmp_path / "pieces")
        assert (piece / "manifest.json").read_bytes() == manifest


def test_a_limit_makes_one_unit_that_ends_there(sources, tmp_path):
    [unit] = units_of(sources, max_documents=25)
    pieces = clean_units([unit], Cleaning(), tmp_path / "pieces")
    assert counts_of(pieces, None).read.documents == 25
    assert read_manifest(pieces[-1])["meta"]["is_last"] is True


PROGRAM = """
import sys
from trivium.text import cleaning
from tests.text.test_cleaning import CLEANING
cleaning.PIECE_CHARS, cleaning.UNIT_BYTES, cleaning._LEAST_CHARS = 1200, 6000, 64
cleaning.clean_units(cleaning.units_of(sys.argv[2:]), CLEANING, cleaning.Path(sys.argv[1]), num_workers=1)
"""


def num_manifests(folder: Path) -> int:
    """How many there are now; os.walk does not mind folders that go while it looks."""
    return sum("manifest.json" in files for _, _, files in os.walk(folder))


@pytest.mark.parametrize("seed", [1, 2])
def test_a_kill_at_any_instant_changes_no_byte(sources, tmp_path, seed):
    clean_units(units_of(sources), CLEANING, tmp_path / "whole")
    draw = random.Random(seed)
    for _ in range(6):
        process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path / "killed"), *sources])
        deadline = time.monotonic() + 30
        wanted = draw.randrange(1, 4) + num_manifests(tmp_path / "killed")
        while process.poll() is None and time.monotonic() < deadline and num_manifests(tmp_path / "killed") < wanted:
            pass
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
    clean_units(units_of(sources), CLEANING, tmp_path / "killed")
    assert files_below(tmp_path / "killed") == files_below(tmp_path / "whole")


SLOW_PROGRAM = """
import sys, time
from trivium.text import cleaning, judge, workers
from tests.text.test_cleaning import CLEANING
cleaning.PIECE_CHARS, cleaning.UNIT_BYTES, cleaning._LEAST_CHARS = 1200, 6000, 64
workers._BATCHES_HERE, judge.BATCH_CHARS = 0, 300
add = cleaning.StoreWriter.add
cleaning.StoreWriter.add = lambda *given: (time.sleep(0.02), add(*given))
cleaning.clean_units(cleaning.units_of(sys.argv[2:]), CLEANING, cleaning.Path(sys.argv[1]), num_workers=2)
"""


def is_being_written(folder: Path) -> bool:
    """Whether there is a piece that has documents and no manifest yet."""
    return any("rows.jsonl" in files and "manifest.json" not in files for _, _, files in os.walk(folder))


def test_a_kill_in_the_middle_of_a_piece_with_two_workers_changes_no_byte(sources, tmp_path):
    clean_units(units_of(sources), CLEANING, tmp_path / "whole")
    draw, num_inside = random.Random(5), 0
    command = [sys.executable, "-c", SLOW_PROGRAM, str(tmp_path / "killed"), *sources]
    for _ in range(2):
        process = subprocess.Popen(command)
        before, deadline = num_manifests(tmp_path / "killed"), time.monotonic() + 30
        while process.poll() is None and time.monotonic() < deadline and num_manifests(tmp_path / "killed") == before:
            time.sleep(0.001)
        time.sleep(draw.uniform(0, 0.3))
        assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        num_inside += is_being_written(tmp_path / "killed")
    assert num_inside > 0
    subprocess.run(command, check=True)
    assert files_below(tmp_path / "killed") == files_below(tmp_path / "whole")


def test_the_first_of_texts_that_are_equal_is_known_by_its_mark():
    texts = ["a", "b", " a", "c", "b", "b  "]
    digest_D = Marks.of(texts, None).digest_D
    for memory_bytes in (1 << 30, 100):
        assert first_of_each(digest_D, memory_bytes=memory_bytes).tolist() == [True, True, False, True, False, False]
