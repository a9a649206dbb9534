"""Runs side by side: the same bits as one after another, one that fails costs no other, and no process stays behind."""

import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest

from tests.tiny import _documents, _write_rows
from trivium.core.errors import DataError, RankError
from trivium.core.interrupt import Interrupted
from trivium.core.world import World
from trivium.stages.machine import Machine
from trivium.stages.pipeline import execute
from trivium.stages.recipe import Recipe, recipe_of
from trivium.studies import run_process, side_by_side
from trivium.studies.run_process import RunProcess
from trivium.studies.side_by_side import made

MACHINE = {"device": "cpu", "precision": "float32", "compile": "off", "ceiling": 5e10, "kernels": "torch"}
ROWS = {"seq_len": 33, "batch_tokens": 132, "micro_batch_rows": 4, "depth": 1, "width": 32, "head_dim": 16, "context": 128}
BEGIN = "((run[1] / 'begun').write_text(''), time.sleep(60))"
SLEEPS = f"import time; from trivium.studies import run_process; run_process.execute = lambda *run, **how: {BEGIN}; run_process.serve()"


def recipe(seed: int = 1, source: str = "corpus.jsonl", steps: int = 6, **machine) -> Recipe:
    stages = {
        "prepare": {"sources": [source], "heldout_share": 0.1, "filters": []},
        "tokenize": {"corpus": "@prepare/corpus", "vocab_size": 300},
        "pretrain": {"tokens": "@tokenize", **ROWS, "steps": steps, "evaluate_every": 100, "evaluate_rows": 16},
    }  # fmt: skip
    return recipe_of({"name": "small", "seed": seed, "machine": {**MACHINE, **machine}, "stages": stages})


def content(folder: Path) -> dict[str, bytes]:
    """What a run folder holds but for wall-clock figures."""
    files = [folder / "run.toml", folder / "metrics.jsonl", *folder.glob("*/model/*.safetensors"), *folder.glob("tokenize/**/*.bin")]
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def test_runs_side_by_side_are_those_made_one_after_another_and_one_that_fails_costs_no_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(side_by_side, "num_cores", lambda: 2)
    _write_rows(Path("corpus.jsonl"), [{"text": text, "id": str(number)} for number, text in enumerate(_documents(120))])
    runs = {Path("one"): recipe(1), Path("gone"): recipe(source="gone.jsonl"), Path("two"): recipe(2)}
    with closing(made(runs, quiet=True)) as ended:
        failures = dict(ended)
    assert failures.keys() == runs.keys()
    assert (failures[Path("one")], failures[Path("two")]) == (None, None)
    assert "gone.jsonl" in str(failures[Path("gone")])
    assert failures[Path("gone")].exit_code == DataError.exit_code
    for folder, seed in (("one", 1), ("two", 2)):
        execute(recipe(seed, threads=1), Path("here") / folder, quiet=True)
        found = content(Path(folder))
        assert len(found) > 3
        assert found == content(Path("here") / folder)


def test_a_run_takes_its_share_of_the_cores_unless_somebody_has_chosen(tmp_path):
    asked = replace(recipe(), machine=Machine(threads=3))
    assert run_process._with_threads(asked, tmp_path, 2) == asked
    asked = replace(recipe(), machine=Machine(precision="float32"))
    assert run_process._with_threads(asked, tmp_path, 2).machine == Machine(precision="float32", threads=2)
    begun = '[machine]\nthreads = 4\nprecision = "{}"\nceiling = 1e9\n'
    (tmp_path / "run.toml").write_text(begun.format("float32"))
    assert run_process._with_threads(asked, tmp_path, 2) == asked  # it goes on with the threads that it began with
    (tmp_path / "run.toml").write_text(begun.format("bfloat16"))
    assert run_process._with_threads(asked, tmp_path, 2).machine.threads == 2


@pytest.mark.parametrize(
    ("cores", "runs", "machine", "size", "workers"),
    [
        (1, 3, {}, 1, 1), (2, 1, {}, 1, 1), (2, 3, {}, 1, 2), (8, 3, {}, 1, 3), (8, 20, {"threads": 3}, 1, 2), (2, 3, {"threads": 8}, 1, 1),
        (2, 3, {}, 2, 1), (2, 3, {"device": "cuda"}, 1, 1), (2, 3, {"device": "mps"}, 1, 1), (2, 0, {}, 1, 1),
    ],
)  # fmt: skip
def test_there_are_as_many_processes_as_cores_and_none_on_a_gpu_or_under_a_launcher(monkeypatch, cores, runs, machine, size, workers):
    monkeypatch.setattr(side_by_side, "num_cores", lambda: cores)
    monkeypatch.setattr(side_by_side, "world", lambda: World(0, size, 0))
    assert side_by_side._num_workers({Path(str(number)): recipe(**machine) for number in range(runs)}) == workers


class Fake:
    """Makes a run in no time but in order; the folder says how it ends."""

    began: list[str] = []
    threads: list[int] = []
    told: list[str] = []
    running: set["Fake"] = set()

    def __init__(self, *, threads):
        self.threads.append(threads)

    def start(self):
        self.running.add(self)

    def make(self, recipe, folder):
        self.began.append(folder.name)
        if folder.name == "killed":
            raise Interrupted(15, "it is kept")
        return DataError("no text") if folder.name == "broken" else None

    def interrupt(self):
        self.told.append("interrupt")

    def close(self):
        self.running.discard(self)


@pytest.fixture
def fake(monkeypatch):
    for each in (Fake.began, Fake.threads, Fake.told, Fake.running):
        each.clear()
    monkeypatch.setattr(side_by_side, "RunProcess", Fake)
    monkeypatch.setattr(side_by_side, "num_cores", lambda: 4)
    return Fake


def pool(*runs: tuple[str, float, float], workers: int = 2) -> side_by_side._Pool:
    return side_by_side._Pool([side_by_side._Run(Path(name), recipe(), *sizes) for name, *sizes in runs], workers, quiet=True)


def test_the_longest_begin_first_each_with_its_share_and_all_processes_end(fake):
    ended = list(pool(("short", 1, 0), ("broken", 9, 0), ("long", 100, 0), ("unknown", float("inf"), 0)).ended())
    assert fake.threads == [2, 2]
    assert set(fake.began[:2]) == {"unknown", "long"}
    assert {folder.name: str(failure) for folder, failure in ended if failure} == {"broken": "no text"}
    assert sorted(folder.name for folder, _ in ended) == ["broken", "long", "short", "unknown"]
    assert not fake.running


def test_two_large_runs_are_not_made_at_a_time_where_memory_is_short(fake):
    waiting = pool(("one", 4, 60), ("two", 3, 50), ("small", 1, 10), ("huge", 0, 1000))
    waiting.room, one = 100, waiting.waiting[0]
    assert waiting.next_run() is one
    waiting.working = {None: (one, None)}
    waiting.waiting.remove(one)
    assert waiting.next_run().folder.name == "small"
    waiting.waiting = waiting.waiting[2:]
    assert waiting.next_run() is None
    waiting.working = {}
    assert waiting.next_run().folder.name == "huge"  # alone it may try


def test_a_run_that_was_interrupted_ends_all_processes_and_so_does_who_asked_for_them(fake):
    with pytest.raises(Interrupted, match="stopped by SIGTERM"):
        list(pool(("killed", 9, 0), ("other", 1, 0)).ended())
    assert not fake.running
    with closing(pool(("one", 9, 0), ("other", 1, 0), ("more", 1, 0)).ended()) as ended:
        next(ended)  # and who asked is interrupted here
    assert not fake.running
    assert "interrupt" in fake.told


def test_what_a_run_takes_is_planned_and_what_cannot_be_is_tried_first(tmp_path):
    short, long = (side_by_side._expected(tmp_path, recipe(steps=steps)) for steps in (6, 600))
    assert short.seconds < long.seconds
    assert short.memory_bytes == long.memory_bytes > 0
    unknown = recipe_of({"name": "x", "stages": {"finetune": {"model": str(tmp_path / "gone"), "data": "gone.jsonl", "steps": 1}}})
    assert side_by_side._expected(tmp_path, unknown).seconds == float("inf")


@pytest.fixture
def sleeping(monkeypatch):
    """A process whose runs say that they have begun, by a file in their folder, and then sleep."""
    program = run_process._PROGRAM.replace("from trivium.studies.run_process import serve; serve()", SLEEPS)
    monkeypatch.setattr(run_process, "_PROGRAM", program)
    process = RunProcess(threads=1)
    process.start()
    yield process
    process.close()


def begun(process: RunProcess, folder: Path) -> tuple[Thread, list]:
    """A run that sleeps, and what comes of it."""
    came = []

    def make() -> None:
        try:
            came.append(process.make(recipe(), folder))
        except Interrupted as error:
            came.append(error)

    thread = Thread(target=make)
    thread.start()
    while thread.is_alive() and not (folder / "begun").exists():
        time.sleep(0.02)
    return thread, came


def test_a_run_that_is_asked_to_stop_says_so_and_its_process_ends_with_who_asked(sleeping, tmp_path):
    thread, came = begun(sleeping, tmp_path)
    sleeping.interrupt()
    thread.join()
    assert str(came[0]) == "stopped by SIGTERM; what was complete is kept; the same command goes on from there"
    (tmp_path / "begun").unlink()
    thread, came = begun(sleeping, tmp_path)
    sleeping._process._process.stdin.close()  # as the system does when we die
    thread.join()
    assert isinstance(came[0], RankError)
    assert "its process ended with code 0" in str(came[0])
    ended = sleeping._process
    sleeping.start()
    assert sleeping._process is not ended
