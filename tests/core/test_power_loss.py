"""A model of power loss: an acknowledged commit survives, and `verify` never accepts what was not written.

POSIX promises little. Until a file is synced, its data may be there, be older, be a part, or be zeros of the right length.
Until a folder is synced, each folder on its own may have forgotten its latest entries; a rename is one entry and is never half
done. We record what a program really does to the disk, stop it after every operation, build what such a crash may leave,
and ask `verify`. Programs with a known bug are recorded too: a model that does not catch them would prove nothing.

Left out: disks that lie about a sync, and damage to data that was synced (test_commit flips those bits).
"""

import functools
import io
import itertools
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from trivium.core import commit as module
from trivium.core.commit import commit, commit_file, verify
from trivium.core.errors import ArtefactError

MAX_STATES_AT_ONE_INSTANT = 150
TARGET = Path("runs/one/stage/model")  # folders that do not exist before
VERSIONS = (1, 2, 3)

Tree = dict[str, bytes | None]  # relative path -> content, None for a folder


@dataclass
class File:
    """What the program sees, and what the disk is sure to have."""

    content: bytes = b""
    synced: bytes = b""

    def after_crash(self, how: int) -> bytes:
        half = self.content[: len(self.content) // 2]
        return self.content if self.content == self.synced else (self.content, self.synced, half, bytes(len(self.content)))[how]


@dataclass
class Folder:
    """Entries as the program sees them, and those changes that a crash may forget, oldest first."""

    entries: dict[str, "File | Folder"] = field(default_factory=dict)
    synced: dict[str, "File | Folder"] = field(default_factory=dict)
    pending: list[Callable[[dict], object]] = field(default_factory=list)

    def change(self, step: Callable[[dict], object]) -> None:
        step(self.entries)
        self.pending.append(step)

    def after_crash(self, num_kept: int) -> dict[str, "File | Folder"]:
        kept = dict(self.synced)
        for step in self.pending[:num_kept]:
            step(kept)
        return kept


class Disk:
    """The model; `root` is durable and empty at first."""

    def __init__(self) -> None:
        self.root = Folder()

    def at(self, path: str) -> "File | Folder":
        return functools.reduce(lambda folder, name: folder.entries[name], Path(path).parts, self.root)

    def do(self, contents: Tree, operation: str, path: str, *more: str) -> None:
        """Follow one operation of the program; `contents` is what it had written right after it."""
        if operation == "sync":
            self._look(contents)
        folder, name = self.at(str(Path(path).parent)), Path(path).name
        if operation == "make":
            new: File | Folder = Folder()
            folder.change(lambda entries: entries.update({name: new}))
        elif operation == "open" and name not in folder.entries:
            new = File()
            folder.change(lambda entries: entries.update({name: new}))
        elif operation == "remove":
            folder.change(lambda entries: entries.pop(name, None))
        elif operation == "rename":
            target, moved = Path(more[0]).name, folder.entries[name]
            folder.change(lambda entries: (entries.pop(name, None), entries.update({target: moved})))
        elif operation == "sync":
            node = self.at(path)
            node.synced = node.content if isinstance(node, File) else dict(node.entries)
            if isinstance(node, Folder):
                node.pending.clear()
        self._look(contents)

    def _look(self, contents: Tree) -> None:
        for path, content in contents.items():
            if content is not None:
                self.at(path).content = content

    def crashes(self, chance: random.Random) -> Iterator[Tree]:
        """What may be found after power comes back."""
        folders, files = list(self._walk(self.root, Folder)), [file for file in self._walk(self.root, File) if file.content != file.synced]
        ranges = [range(len(folder.pending) + 1) for folder in folders] + [range(4) for _ in files]
        choices = itertools.product(*ranges)
        if functools.reduce(lambda size, options: size * len(options), ranges, 1) > MAX_STATES_AT_ONE_INSTANT:
            drawn = [tuple(chance.choice(options) for options in ranges) for _ in range(MAX_STATES_AT_ONE_INSTANT)]
            choices = [tuple(options[-1] for options in ranges[: len(folders)]) + (0,) * len(files), *drawn]
        for choice in choices:
            picked = dict(zip(map(id, [*folders, *files]), choice, strict=True))
            yield dict(self._found(self.root, picked, ""))

    def _walk(self, node: "File | Folder", kind: type) -> Iterator:
        if isinstance(node, kind):
            yield node
        if isinstance(node, Folder):
            seen = {id(child): child for child in [*node.synced.values(), *node.entries.values()]}
            for child in seen.values():
                yield from self._walk(child, kind)

    def _found(self, folder: Folder, picked: dict[int, int], prefix: str) -> Iterator[tuple[str, bytes | None]]:
        for name, node in folder.after_crash(picked.get(id(folder), len(folder.pending))).items():
            if isinstance(node, File):
                yield prefix + name, node.after_crash(picked.get(id(node), 0))
            else:
                yield prefix + name, None
                yield from self._found(node, picked, f"{prefix}{name}/")


def tree(root: Path) -> Tree:
    return {str(entry.relative_to(root)): None if entry.is_dir() else entry.read_bytes() for entry in root.rglob("*")}


class Recorder:
    """Lets a program work on a real folder and notes every change it asks the system for."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.log = root, []
        for name, operation in {"mkdir": "make", "rename": "rename", "replace": "rename", "unlink": "remove", "rmdir": "remove"}.items():
            monkeypatch.setattr(os, name, self._noting(getattr(os, name), operation))
        real_sync, real_open = os.fsync, io.open

        def fsync(descriptor: int) -> None:
            real_sync(descriptor)
            self._note("sync", os.readlink(f"/proc/self/fd/{descriptor}"))

        def opening(path: object, mode: str = "r", *more: object, **named: object) -> io.IOBase:
            file = real_open(path, mode, *more, **named)
            if set(mode) & set("wax"):
                self._note("open", path)
            return file

        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(io, "open", opening)

    def acknowledge(self, version: int) -> None:
        self.log.append((("acknowledge", version), tree(self.root)))

    def _noting(self, real: Callable, operation: str) -> Callable:
        def call(path: object, *more: object, dir_fd: int | None = None, **named: object) -> None:
            place = path if dir_fd is None else f"{os.readlink(f'/proc/self/fd/{dir_fd}')}/{path}"
            real(path, *more, **named, **({} if dir_fd is None else {"dir_fd": dir_fd}))
            self._note(operation, place, *(word for word in more if isinstance(word, (str, Path))))

        return call

    def _note(self, operation: str, *paths: object) -> None:
        inside = [os.path.relpath(path, self.root) for path in paths]
        if not inside[0].startswith(".."):
            self.log.append(((operation, *inside), tree(self.root)))


# --- programs: each makes version n of TARGET durable, or means to


def parts(version: int) -> dict[str, bytes]:
    return {"a.bin": random.Random(version).randbytes(64), "sub/b.bin": random.Random(-version).randbytes(64)}


def write(folder: Path, version: int) -> None:
    (folder / "sub").mkdir()
    for name, content in parts(version).items():
        (folder / name).write_bytes(content)


def good(path: Path, version: int) -> None:
    commit(path, functools.partial(write, version=version), kind="model")


def in_place(path: Path, version: int) -> None:
    """No temporary name: the new files go over the old ones, the manifest last."""
    module.make_folder(path / "sub")
    for name, content in parts(version).items():
        (path / name).write_bytes(content)
    facts = module._hash_and_sync(path)
    facts.pop("manifest.json", None)
    module._write_synced(path / "manifest.json", json.dumps(module.sealed({"kind": "model", "meta": {}, "files": facts})).encode())
    module.sync_folder(path)


def manifest_first(path: Path, version: int) -> None:
    """The manifest is durable before the files that it speaks of."""
    good(path, version)
    for name, content in parts(version).items():
        (path / name).write_bytes(content)


def removing_first(path: Path, version: int) -> None:
    """The old folder is gone before the new one has arrived."""
    shutil.rmtree(path, ignore_errors=True)
    good(path, version)


def read_verified(path: Path) -> int | None:
    try:
        verify(path, kind="model")
    except ArtefactError:
        return None
    return next((version for version in VERSIONS if {name: (path / name).read_bytes() for name in parts(version)} == parts(version)), -1)


def read_without_hash(path: Path) -> int | None:
    """A reader that checks names and sizes only."""
    found = {name: (path / name).read_bytes() for name in parts(1) if (path / name).is_file()}
    if not (path / "manifest.json").is_file() or any(len(found.get(name, b"")) != 64 for name in parts(1)):
        return None
    return next((version for version in VERSIONS if found == parts(version)), -1)


def good_file(path: Path, version: int) -> None:
    commit_file(path, f"version {version}")


def file_in_place(path: Path, version: int) -> None:
    module.make_folder(path.parent)
    module._write_synced(path, f"version {version}".encode())
    module.sync_folder(path.parent)


def read_file(path: Path) -> int | None:
    content = path.read_text() if path.is_file() else None
    return None if content is None else next((version for version in VERSIONS if content == f"version {version}"), -1)


def nothing(*_: object) -> None:
    """Stands for a step that a buggy program forgot."""


def only(is_wanted: Callable[[Path], bool], real: Callable[[Path], None]) -> Callable[[Path], None]:
    return lambda path: real(path) if is_wanted(path) else None


SYNC = module.sync_folder
BUGS = {
    "files are not synced": (good, read_verified, {"_sync": nothing}),
    "folders are not synced": (good, read_verified, {"sync_folder": nothing}),
    "the folder above is not synced": (good, read_verified, {"sync_folder": only(lambda path: path.name != "stage", SYNC)}),
    "folders inside are not synced": (good, read_verified, {"sync_folder": only(lambda path: path.name != "sub", SYNC)}),
    "the new folder itself is not synced": (good, read_verified, {"sync_folder": only(lambda path: path.name != ".model.tmp", SYNC)}),
    "new parents are not synced": (good, read_verified, {"make_folder": lambda path: path.mkdir(parents=True, exist_ok=True)}),
    "the manifest is not synced": (good, read_verified, {"_write_synced": lambda path, content: path.write_bytes(content)}),
    "the manifest comes first": (manifest_first, read_verified, {}),
    "the old folder goes first": (removing_first, read_verified, {}),
    "there is no temporary folder": (in_place, read_verified, {}),
    "nobody puts the old folder back": (good, read_verified, {"_restore": nothing}),
    "sizes instead of hashes": (good, read_without_hash, {"_sync": nothing}),
    "a file is not synced": (good_file, read_file, {"_write_synced": lambda path, content: path.write_bytes(content)}),
    "a file's folder is not synced": (good_file, read_file, {"sync_folder": nothing}),
    "a file is written in place": (file_in_place, read_file, {}),
}


def play(tmp_path: Path, program: Callable, read: Callable, bug: dict[str, Callable]) -> SimpleNamespace:
    """Record the program, crash it everywhere, and count crash states, lost acknowledged versions and wrong data."""
    (tmp_path / "work").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for name, replacement in bug.items():
            patch.setattr(module, name, replacement)
        recorder = Recorder(tmp_path / "work", patch)
        for version in VERSIONS:
            program(tmp_path / "work" / TARGET, version)
            recorder.acknowledge(version)
    disk, seen, acknowledged, counts = Disk(), set(), 0, SimpleNamespace(states=0, lost=0, wrong=0, stuck=0)
    for (operation, *words), contents in recorder.log:
        if operation == "acknowledge":
            acknowledged = words[0]
        else:
            disk.do(contents, operation, *words)
        for state in disk.crashes(random.Random(len(seen))):
            mark = (acknowledged, frozenset(state.items()))
            if mark in seen:
                continue
            seen.add(mark)
            with pytest.MonkeyPatch.context() as patch:
                if "_restore" in bug:
                    patch.setattr(module, "_restore", bug["_restore"])
                place = restored(tmp_path / str(len(seen)), state) / TARGET
                version = read(place)
            counts.states += 1
            counts.lost += acknowledged > 0 and version not in (acknowledged, acknowledged + 1, -1)
            counts.wrong += version == -1
            if not bug and program in (good, good_file):
                program(place, VERSIONS[-1])  # the same command after the crash
                counts.stuck += read(place) != VERSIONS[-1]
    return counts


def restored(root: Path, state: Tree) -> Path:
    root.mkdir()
    for name, content in sorted(state.items()):
        (root / name).mkdir() if content is None else (root / name).write_bytes(content)
    return root


@pytest.mark.parametrize(("program", "read"), [(good, read_verified), (good_file, read_file)], ids=["commit", "commit_file"])
def test_no_crash_loses_an_acknowledged_commit_or_shows_wrong_data(tmp_path, program, read):
    counts = play(tmp_path, program, read, {})
    assert (counts.lost, counts.wrong, counts.stuck) == (0, 0, 0)
    assert counts.states >= (80 if program is good else 15)


@pytest.mark.parametrize("bug", BUGS)
def test_the_model_catches_a_program_with_a_bug(tmp_path, bug):
    counts = play(tmp_path, *BUGS[bug])
    assert counts.lost + counts.wrong > 0
    if bug == "sizes instead of hashes":
        assert counts.wrong > 0


def test_the_disk_of_the_model_ends_as_the_real_one(tmp_path):
    """Nothing that the program did was overlooked: without a crash both disks hold the same."""
    with pytest.MonkeyPatch.context() as patch:
        recorder = Recorder(tmp_path, patch)
        for version in VERSIONS:
            good(tmp_path / TARGET, version)
    disk = Disk()
    for (operation, *words), contents in recorder.log:
        disk.do(contents, operation, *words)
    assert dict(disk._found(disk.root, {}, "")) == tree(tmp_path)
