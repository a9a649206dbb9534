"""One owner, rows that can be taken back, and stages that are done once."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trivium.core.commit import commit_file
from trivium.core.errors import ArtefactError, LockedError, ResourceError
from trivium.core.run import CHECKPOINTS, DONE, LOG, METRICS, SPEED, STARTED, Run, read_digests

ROOT = Path(__file__).parents[2]
HOLD = """
import sys, time
from pathlib import Path
from trivium.core.run import Run
with Run(Path(sys.argv[1]), quiet=True):
    print("held", flush=True)
    time.sleep(60)
"""
TRY = """
import os, sys
from pathlib import Path
from trivium.core.errors import TriviumError
from trivium.core.run import Run
try:
    with Run(Path(sys.argv[1]), quiet=True):
        print("owner", os.getpid(), flush=True)
        sys.stdin.read()
except TriviumError as error:
    print(error, flush=True)
    sys.exit(error.exit_code)
"""


def python(code: str, path: Path) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", code, str(path)]
    return subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def rows(path: Path, name: str = METRICS) -> list[dict]:
    return [json.loads(line) for line in (path / name).read_text().splitlines()]


def open_run(path: Path) -> Run:
    return Run(path, quiet=True)


def one_stage(path: Path, options: dict, content: str = "x") -> str:
    """Run stage `fit` for these options and say whether it had to work."""
    with open_run(path) as run:
        if not run.begin("fit", options):
            return "skipped"
        run.rewind_metrics(run.metrics_start)
        run.record(1, {"loss": 2.0})
        commit_file(run.folder / "model" / "weights.bin", content)
        run.finish({"loss": 2.0})
        return "worked"


def test_a_second_process_is_told_who_owns_the_folder(tmp_path):
    holder = python(HOLD, tmp_path)
    try:
        assert holder.stdout.readline() == "held\n"
        started = time.monotonic()
        with pytest.raises(LockedError, match=f"process {holder.pid} is running"), open_run(tmp_path):
            pass
        assert time.monotonic() - started < 2
    finally:
        holder.kill()
        holder.communicate()


def test_a_killed_owner_does_not_block(tmp_path):
    holder = python(HOLD, tmp_path)
    assert holder.stdout.readline() == "held\n"
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    with open_run(tmp_path):
        assert (tmp_path / ".lock").read_text() == str(os.getpid())


def test_of_four_processes_exactly_one_runs(tmp_path):
    crowd = [python(TRY, tmp_path) for _ in range(4)]
    said = {process.pid: process.stdout.readline() for process in crowd}
    [owner] = [pid for pid, line in said.items() if line.startswith("owner")]
    for process in crowd:
        process.communicate()
    assert sorted(process.returncode for process in crowd) == [0, 7, 7, 7]
    assert all("is running in this folder" in line for pid, line in said.items() if pid != owner)


def test_a_lock_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "victim").write_text("precious")
    (tmp_path / ".lock").symlink_to("victim")
    with pytest.raises(ResourceError), open_run(tmp_path):
        pass
    assert (tmp_path / "victim").read_text() == "precious"


def test_rows_after_a_checkpoint_are_taken_back_and_written_again_with_the_same_bytes(tmp_path):
    with open_run(tmp_path / "straight") as run:
        for step in range(10):
            run.record(step, {"loss": 1 / (step + 1)})
    with open_run(tmp_path / "killed") as run:
        for step in range(7):
            if step == 4:
                offset = run.metrics_offset()
            run.record(step, {"loss": 1 / (step + 1)})
    with (tmp_path / "killed" / METRICS).open("ab") as file:
        file.write(b'{"stage": "", "st')  # a row torn by the kill
    with open_run(tmp_path / "killed") as run:
        run.rewind_metrics(offset)
        for step in range(4, 10):
            run.record(step, {"loss": 1 / (step + 1)})
    assert (tmp_path / "killed" / METRICS).read_bytes() == (tmp_path / "straight" / METRICS).read_bytes()


def test_rows_that_a_checkpoint_remembers_must_be_there(tmp_path):
    with open_run(tmp_path) as run, pytest.raises(ArtefactError, match="shorter than its checkpoint says"):
        run.rewind_metrics(10)


def test_wall_clock_and_words_are_kept_apart_from_metrics(tmp_path):
    with open_run(tmp_path) as run:
        run.begin("fit", {})
        run.record(1, {"loss": 2.5})
        run.record_speed(1, {"tokens_per_s": 10})
        run.log("[bold] stays as it is")
    assert rows(tmp_path) == [{"stage": "fit", "step": 1, "loss": 2.5}]
    assert rows(tmp_path, SPEED) == [{"stage": "fit", "step": 1, "tokens_per_s": 10}]
    assert (tmp_path / LOG).read_text().endswith("fit: [bold] stays as it is\n")


def test_a_complete_stage_is_skipped(tmp_path):
    assert [one_stage(tmp_path, {"lr": 1}) for _ in range(3)] == ["worked", "skipped", "skipped"]
    with open_run(tmp_path) as run:
        assert run.done("fit")["facts"] == {"loss": 2.0}
        assert run.done("other") == {}
    assert len(rows(tmp_path)) == 1


def test_a_changed_option_starts_the_stage_again(tmp_path):
    one_stage(tmp_path, {"lr": 1})
    (tmp_path / "fit" / "checkpoints").mkdir()
    assert one_stage(tmp_path, {"lr": 2}) == "worked"
    assert not (tmp_path / "fit" / "checkpoints").exists()
    assert one_stage(tmp_path, {"lr": 2}) == "skipped"
    assert "options or inputs changed" in (tmp_path / LOG).read_text()


@pytest.mark.parametrize("damage", ["changed", "missing", "folder"])
def test_a_changed_output_runs_the_stage_again_and_says_which(tmp_path, damage):
    one_stage(tmp_path, {"lr": 1}, content="good")
    weights = tmp_path / "fit" / "model" / "weights.bin"
    weights.unlink()
    if damage == "changed":
        weights.write_text("evil")
    if damage == "folder":
        weights.mkdir()
    assert one_stage(tmp_path, {"lr": 1}, content="good") == "worked"
    assert weights.read_text() == "good"
    assert "weights.bin: " in (tmp_path / LOG).read_text()


def test_a_stage_that_was_killed_goes_on_where_it_began(tmp_path):
    with open_run(tmp_path) as run:
        run.record(0, {"before": 1})
        assert run.begin("fit", {"lr": 1})
        start = run.metrics_start
        run.record(1, {"loss": 1})
        (run.folder / "checkpoints").mkdir()
    with open_run(tmp_path) as run:
        assert run.begin("fit", {"lr": 1})
        assert run.metrics_start == start > 0
        assert (run.folder / "checkpoints").exists()


def test_a_kill_while_a_stage_is_removed_leaves_no_old_checkpoint(tmp_path, monkeypatch):
    one_stage(tmp_path, {"lr": 1})
    (tmp_path / "fit" / "checkpoints").mkdir()

    def kill(*_: object, **__: object) -> None:
        raise SystemExit

    monkeypatch.setattr("shutil.rmtree", lambda path, **_: kill() if Path(path).exists() else None)
    with pytest.raises(SystemExit):
        one_stage(tmp_path, {"lr": 2})
    monkeypatch.undo()
    assert one_stage(tmp_path, {"lr": 2}) == "worked"
    assert {entry.name for entry in (tmp_path / "fit").iterdir()} == {"model", STARTED, DONE}


@pytest.mark.parametrize("content", ['{"fingerprint": "ab', "[]", "{}", '{"fingerprint": "0", "seal": "0"}', "\xff"])
@pytest.mark.parametrize("name", [DONE, STARTED])
def test_a_damaged_mark_is_named_and_the_stage_runs_again(tmp_path, name, content):
    one_stage(tmp_path, {"lr": 1})
    (tmp_path / "fit" / name).write_text(content, encoding="latin-1")
    assert one_stage(tmp_path, {"lr": 1}) == "worked"
    assert f"{name}: damaged; running stage fit again" in (tmp_path / LOG).read_text()
    assert one_stage(tmp_path, {"lr": 1}) == "skipped"


def test_a_stage_whose_mark_was_removed_takes_back_no_rows_of_later_stages(tmp_path):
    one_stage(tmp_path, {"lr": 1})
    with open_run(tmp_path) as run:
        run.begin("later", {})
        run.record(1, {"loss": 1.0})
        run.finish({})
    (tmp_path / "fit" / DONE).unlink()
    assert one_stage(tmp_path, {"lr": 1}) == "worked"
    assert [row["stage"] for row in rows(tmp_path)] == ["fit", "later", "fit"]


def test_changed_options_are_told_as_such_also_when_later_stages_have_run(tmp_path):
    one_stage(tmp_path, {"lr": 1})
    with open_run(tmp_path) as run:
        run.begin("later", {})
        run.record(1, {"loss": 1.0})
    one_stage(tmp_path, {"lr": 2})
    assert "fit: options or inputs changed" in (tmp_path / LOG).read_text()


def test_checkpoints_stay_until_the_stage_is_marked_complete(tmp_path):
    with open_run(tmp_path) as run:
        run.begin("fit", {})
        (run.folder / CHECKPOINTS).mkdir()
        run.finish({})
        assert not (run.folder / CHECKPOINTS).exists()
        (run.folder / CHECKPOINTS).mkdir()  # a kill came between the mark and their removal
        assert not run.begin("fit", {})
        assert not (run.folder / CHECKPOINTS).exists()


def test_a_full_disk_is_one_line_even_when_the_files_are_closed(tmp_path):
    for name in (METRICS, SPEED):
        (tmp_path / name).symlink_to("/dev/full")
    with pytest.raises(ResourceError, match="the disk is full"), open_run(tmp_path) as run:
        run.record(1, {"loss": 1})
    (tmp_path / METRICS).unlink()
    with open_run(tmp_path) as run:  # the lock was given back
        run.record(1, {"loss": 1})


def test_a_file_in_the_place_of_the_folder_is_one_line(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(ResourceError, match="run: cannot be written"), open_run(tmp_path / "run"):
        pass


def test_digests_are_those_of_the_newest_attempt_and_the_later_row_counts(tmp_path):
    with open_run(tmp_path) as run:
        run.begin("pretrain", {"seed": 1})
        run.record(1, {"loss": 2.0}, digest="old")
        run.begin("pretrain", {"seed": 2})  # another attempt
        run.record(1, {"loss": 2.0}, digest="a")
        run.record(2, {"loss": 1.5}, digest="b")
        run.record(2, {"loss": 1.5}, digest="c")  # gone back to a checkpoint
        run.record(3, {"loss": 1.0})
        run.begin("finetune", {})
        run.record(1, {"loss": 1.0}, digest="of another stage")
    with (tmp_path / METRICS).open("ab") as file:
        file.write(b'{"stage": "pretrain", "st')  # a row torn by a kill
    assert read_digests(tmp_path, "pretrain") == {1: "a", 2: "c", 3: ""}
    assert read_digests(tmp_path / "nothing", "pretrain") == {}


@pytest.mark.parametrize("line", ["{", "[1]", '{"step": 1}', '{"stage": "pretrain", "step": null}'])
def test_a_damaged_row_is_named_where_digests_are_read(tmp_path, line):
    (tmp_path / METRICS).write_text(f'{{"stage": "pretrain", "step": 1}}\n{line}\n')
    with pytest.raises(ArtefactError, match=r"metrics\.jsonl line 2: damaged"):
        read_digests(tmp_path, "pretrain")
