"""What is committed is whole, hashed, and either the old or the new."""

import errno
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from trivium.core.commit import MANIFEST, commit, commit_file, discard, disk_errors, hash_file, locked, read_manifest, verify
from trivium.core.errors import ArtefactError, ResourceError

SIZE = 5000


def writer(version: int):
    def write(folder: Path) -> None:
        (folder / "sub").mkdir()
        (folder / "weights.bin").write_bytes(random.Random(version).randbytes(SIZE))
        (folder / "sub" / "state.json").write_text(f'{{"version": {version}}}')

    return write


def version_of(path: Path) -> int:
    verify(path, kind="model")
    version = int((path / "sub" / "state.json").read_text().split()[1][:-1])
    assert (path / "weights.bin").read_bytes() == random.Random(version).randbytes(SIZE)
    return version


@pytest.fixture
def made(tmp_path):
    commit(tmp_path / "model", writer(1), kind="model", meta={"step": 7, "loss": 1.5})
    return tmp_path / "model"


def test_a_committed_folder_verifies_and_tells_its_meta(made):
    manifest = verify(made, kind="model")
    assert manifest["meta"] == {"step": 7, "loss": 1.5}
    assert sorted(manifest["files"]) == ["sub/state.json", "weights.bin"]
    assert manifest["files"]["weights.bin"]["sha256"] == hash_file(made / "weights.bin")[1]
    assert manifest == read_manifest(made)
    assert {entry.name for entry in made.parent.iterdir()} == {"model"}


def test_commit_returns_what_verify_returns(tmp_path):
    meta = {"shape": (1, 2), 3: "three", "nan": 0.1}
    assert commit(tmp_path / "x", writer(1), kind="model", meta=meta) == verify(tmp_path / "x")


@pytest.mark.parametrize("name", ["weights.bin", "sub/state.json", MANIFEST])
def test_every_flipped_bit_is_found_and_its_file_named(made, name):
    file, chance = made / name, random.Random(name)
    good = file.read_bytes()
    for _ in range(200):
        position, bit = chance.randrange(len(good)), 1 << chance.randrange(8)
        file.write_bytes(good[:position] + bytes([good[position] ^ bit]) + good[position + 1 :])
        with pytest.raises(ArtefactError, match=file.name):
            verify(made, kind="model")
    file.write_bytes(good)
    assert version_of(made) == 1


@pytest.mark.parametrize("name", ["weights.bin", "sub/state.json", MANIFEST])
@pytest.mark.parametrize("damage", ["truncated", "longer", "empty", "zeros", "missing", "folder"])
def test_every_damage_is_found_and_its_file_named(made, name, damage):
    file = made / name
    good = file.read_bytes()
    bad = {"truncated": good[:-1], "longer": good + b"x", "empty": b"", "zeros": bytes(len(good))}
    if damage in bad:
        file.write_bytes(bad[damage])
    else:
        file.unlink()
        if damage == "folder":
            file.mkdir()
    with pytest.raises(ArtefactError, match=file.name):
        verify(made)


def test_two_swapped_files_are_found(made):
    one, other = made / "weights.bin", made / "sub" / "state.json"
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    with pytest.raises(ArtefactError, match="state.json|weights.bin"):
        verify(made)


def test_a_file_that_is_not_listed_is_named(made):
    (made / "sub" / "extra.bin").write_bytes(b"x")
    with pytest.raises(ArtefactError, match=r"sub/extra.bin: is not listed"):
        verify(made)


def test_another_kind_is_refused(made):
    with pytest.raises(ArtefactError, match="holds a model, not a tokenizer"):
        read_manifest(made, kind="tokenizer")


def test_a_folder_without_manifest_was_never_completed(tmp_path):
    with pytest.raises(ArtefactError, match="never completed"):
        verify(tmp_path)


def test_a_commit_replaces_the_whole_folder(made):
    def one_file(folder: Path) -> None:
        (folder / "only.txt").write_text("new")

    commit(made, one_file, kind="model")
    assert {entry.name for entry in made.iterdir()} == {"only.txt", MANIFEST}
    assert {entry.name for entry in made.parent.iterdir()} == {"model"}


def test_a_writer_that_fails_leaves_the_old_folder_and_nothing_else(made):
    def fail(folder: Path) -> None:
        writer(2)(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        commit(made, fail, kind="model")
    assert version_of(made) == 1
    assert {entry.name for entry in made.parent.iterdir()} == {"model"}


CHILD = """
import sys, time
from pathlib import Path
from tests.core.test_commit import writer
from trivium.core.commit import commit
print("ready", flush=True)
for version in range(2, 10_000):
    commit(Path(sys.argv[1]), writer(version), kind="model")
    print(version, flush=True)
"""


@pytest.mark.parametrize("seed", range(8))
def test_a_kill_at_any_instant_leaves_an_acknowledged_version_or_the_next(made, seed):
    root = Path(__file__).parents[2]
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(made)], cwd=root, stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "ready\n"
    time.sleep(random.Random(seed).uniform(0.0, 0.15))
    child.kill()
    lines = child.communicate()[0].split()
    acknowledged = int(lines[-1]) if lines else 1
    assert version_of(made) in (acknowledged, acknowledged + 1)
    commit(made, writer(20_000), kind="model")
    assert version_of(made) == 20_000
    assert {entry.name for entry in made.parent.iterdir()} == {"model"}


RENAMES = ["old moved away, new not yet there", "new arrived, old not yet removed"]


@pytest.mark.parametrize("instant", RENAMES)
def test_a_kill_between_the_renames_is_mended_by_the_reader(made, tmp_path, instant):
    commit(tmp_path / "other", writer(2), kind="model")
    made.rename(made.with_name(".model.old"))
    (tmp_path / "other").rename(made if instant == RENAMES[1] else made.with_name(".model.tmp"))
    assert version_of(made) == (2 if instant == RENAMES[1] else 1)


def test_a_file_in_the_place_of_a_folder_is_kept(tmp_path):
    (tmp_path / "model").write_text("mine")
    with pytest.raises(ResourceError, match="model: cannot be written"):
        commit(tmp_path / "model", writer(1), kind="model")
    assert (tmp_path / "model").read_text() == "mine"


def test_a_replaced_file_is_old_or_new(tmp_path):
    commit_file(tmp_path / "a" / "b.json", "old")
    commit_file(tmp_path / "a" / "b.json", b"new")
    assert (tmp_path / "a" / "b.json").read_bytes() == b"new"
    assert {entry.name for entry in (tmp_path / "a").iterdir()} == {"b.json"}


def test_a_file_that_cannot_be_replaced_stays(tmp_path, monkeypatch):
    commit_file(tmp_path / "b.json", "old")
    monkeypatch.setattr(os, "fsync", fault(errno.ENOSPC))
    with pytest.raises(ResourceError, match="the disk is full"):
        commit_file(tmp_path / "b.json", "new")
    assert (tmp_path / "b.json").read_text() == "old"
    assert {entry.name for entry in tmp_path.iterdir()} == {"b.json"}


def fault(code: int, after: int = 0):
    """A system call that works `after` times and then fails with `code` for good."""
    real, calls = os.fsync, iter(range(10**9))

    def fails(descriptor: int) -> None:
        if next(calls) >= after:
            raise OSError(code, os.strerror(code))
        real(descriptor)

    return fails


@pytest.mark.parametrize("after", range(4))
@pytest.mark.parametrize(("code", "message"), [(errno.ENOSPC, "MB free"), (errno.EDQUOT, "disk is full"), (errno.EIO, "cannot be written")])
def test_a_failing_disk_is_one_line_and_keeps_the_old_folder(made, monkeypatch, code, message, after):
    monkeypatch.setattr(os, "fsync", fault(code, after))
    with pytest.raises(ResourceError, match=message) as caught:
        commit(made, writer(2), kind="model")
    assert caught.value.exit_code == 6
    monkeypatch.undo()
    assert version_of(made) == 1
    assert {entry.name for entry in made.parent.iterdir()} == {"model"}
    commit(made, writer(2), kind="model")
    assert version_of(made) == 2


@pytest.fixture
def small_files():
    """No file of this process may grow beyond 2,000 bytes: what a full disk looks like, without a disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def tensors(folder: Path) -> None:
    save_file({"weights": np.zeros(SIZE, np.float32)}, folder / "model.safetensors")


@pytest.mark.parametrize("write", [writer(2), tensors], ids=["python", "rust"])
def test_a_file_that_does_not_fit_is_one_line_and_keeps_the_old_folder(made, small_files, write):
    with pytest.raises(ResourceError, match="the disk is full"):
        commit(made, write, kind="model")
    assert version_of(made) == 1


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_a_place_that_may_not_be_written_is_named(tmp_path, monkeypatch, code):
    """Injected, because tests may run as root, whom permissions do not stop."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "mkdir", refuse)
    with pytest.raises(ResourceError, match="model: may not be written"):
        commit(tmp_path / "model", writer(1), kind="model")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_named(tmp_path):
    tmp_path.chmod(0o555)
    with pytest.raises(ResourceError, match="may not be written"):
        commit(tmp_path / "model", writer(1), kind="model")


def test_an_error_that_is_not_the_disk_passes_through():
    with pytest.raises(ValueError, match="mine"), disk_errors(Path("x")):
        raise ValueError("mine")


def test_a_discarded_folder_does_not_come_back(made):
    discard(made)
    discard(made)
    with pytest.raises(ArtefactError, match="never completed"):
        verify(made)
    assert not list(made.parent.iterdir())


def test_half_a_discarded_folder_does_not_come_back(made, monkeypatch):
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)  # killed before anything was removed
    discard(made)
    with pytest.raises(ArtefactError, match="never completed"):
        verify(made)


def test_whoever_waits_for_a_lock_says_so_and_then_goes_on(tmp_path, capsys):
    entered = threading.Event()

    def second():
        with locked(tmp_path / "locks/model-1"):
            entered.set()

    with locked(tmp_path / "locks/model-1"):
        assert capsys.readouterr().err == ""
        waiting = threading.Thread(target=second)
        waiting.start()
        assert not entered.wait(0.2)
    waiting.join(10)
    assert entered.is_set()
    assert capsys.readouterr().err == "waiting for another process that makes model-1\n"
