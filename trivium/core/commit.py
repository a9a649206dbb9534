"""The one way anything durable reaches the disk: written beside its place, hashed, fsynced, and renamed into it last.

A folder becomes visible only whole, with a manifest.json that holds the size and hashes of every file in it.
`verify` checks them on every load, so a flipped bit or a torn page is found and named. A kill or a power loss at any
instant leaves the old state or the new one: a kill between the two renames leaves the old folder under its hidden name,
and the next reader puts it back. Other leftovers are hidden folders that the next commit to the same place removes.

A commit takes no lock: the owner of the folder above makes sure that one process writes to a place at a time. Where every process
may be the owner, as in the cache, `locked` is how.
"""

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import xxhash

from trivium.core.errors import ArtefactError, ResourceError
from trivium.core.regular import regular

MANIFEST = "manifest.json"
_CHUNK = 1 << 20


def commit(path: Path, write: Callable[[Path], None], *, kind: str, meta: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Make the folder `path` from what `write(folder)` puts into an empty one; return its manifest.

    An existing folder is replaced. Raises ResourceError when the disk is full or may not be written; `path` is then as it was.
    """
    temporary, old = _hidden(path, "tmp"), _hidden(path, "old")
    with disk_errors(path):
        make_folder(path.parent)
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "a file is in its place")
        _restore(path, old)
        _clear(old, temporary)
        temporary.mkdir()
        try:
            write(temporary)
            manifest = sealed({"format": 1, "kind": kind, "meta": dict(meta or {}), "files": _hash_and_sync(temporary)})
            _write_synced(temporary / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True).encode())
            sync_folder(temporary)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        if path.exists():
            path.rename(old)
        temporary.rename(path)
        sync_folder(path.parent)
        shutil.rmtree(old, ignore_errors=True)
    return manifest


def commit_file(path: Path, content: bytes | str | Callable[[Path], object]) -> None:
    """Replace one file as a whole: it has the old content or the new, never a part.

    content: or what writes it to the path that it is given, for a file that is better not held in memory.
    """
    temporary = _hidden(path, "tmp")
    with disk_errors(path):
        make_folder(path.parent)
        try:
            if callable(content):
                content(temporary)
                _sync(temporary)
            else:
                _write_synced(temporary, content.encode() if isinstance(content, str) else content)
            temporary.rename(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Wait until no other process is inside with this lock file, which stays; the system frees the lock of one that was killed.

    Whoever waits says so on stderr, with the name of the file, which is to be that of what is made.
    """
    with disk_errors(file):
        make_folder(file.parent)
        lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.stderr.write(f"waiting for another process that makes {file.name}\n")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def discard(path: Path) -> None:
    """Remove a folder so that a kill half-way leaves all of it or, at its place, nothing."""
    gone = _hidden(path, "gone")
    with disk_errors(path):
        shutil.rmtree(gone, ignore_errors=True)
        if path.exists():
            path.rename(gone)
            sync_folder(path.parent)
            shutil.rmtree(gone, ignore_errors=True)


def make_folder(path: Path) -> None:
    """Make a folder and its parents; every new entry is synced into the folder above it, or a power loss takes what is inside."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    sync_folder(path.parent)


def read_manifest(path: Path, *, kind: str | None = None) -> dict[str, Any]:
    """Read the manifest of a committed folder. Raises ArtefactError if there is none, or it is of another kind."""
    file = path / MANIFEST
    with disk_errors(path):
        _restore(path, _hidden(path, "old"))
    try:
        manifest = json.loads(regular(file).read_text())
        _ = manifest["files"], manifest["kind"], manifest["meta"]
        if manifest != sealed(manifest):
            raise ValueError("its seal does not fit its content")
    except FileNotFoundError:
        raise ArtefactError(f"{path}: there is no {MANIFEST}, so this was never completed") from None
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ArtefactError(f"{file}: damaged ({error}); make it again") from None
    if kind is not None and manifest["kind"] != kind:
        raise ArtefactError(f"{path}: holds a {manifest['kind']}, not a {kind}")
    return manifest


def verify(path: Path, *, kind: str | None = None) -> dict[str, Any]:
    """Read the manifest and check size and xxh3-128 of every file (about 9 GB/s).

    Raises ArtefactError naming the first file that is missing, changed or not listed.
    """
    manifest = read_manifest(path, kind=kind)
    present = {file.relative_to(path).as_posix() for file in _files(path)} - {MANIFEST}
    for name, facts in manifest["files"].items():
        file = path / name
        if name not in present:
            raise ArtefactError(f"{file}: missing, though its manifest lists it")
        size = file.stat().st_size
        if size != facts["bytes"]:
            raise ArtefactError(f"{file}: has {size:,} bytes, its manifest says {facts['bytes']:,}")
        if hash_file(file)[0] != facts["xxh3"]:
            raise ArtefactError(f"{file}: content does not match its manifest (a bit changed on disk?)")
    for name in sorted(present - set(manifest["files"])):
        raise ArtefactError(f"{path / name}: is not listed in the manifest beside it")
    return manifest


def hash_file(path: Path) -> tuple[str, str]:
    """(xxh3-128, sha256) of a file, read once."""
    fast, strong = xxhash.xxh3_128(), hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_CHUNK):
            fast.update(block)
            strong.update(block)
    return fast.hexdigest(), strong.hexdigest()


def fingerprint(value: Any) -> str:
    """sha256 of a JSON-like value with sorted keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's disk errors into one line that names the place."""
    try:
        yield
    except Exception as error:
        code = _errno(error)
        if code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise ResourceError(f"{path}: the disk is full ({_free(path)}); free some space and run the same command again") from None
        if code in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise ResourceError(f"{path}: may not be written ({os.strerror(code)})") from None
        if code in (errno.EIO, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENOTEMPTY, errno.ELOOP, errno.ENAMETOOLONG):
            reason = "a file is in the way" if code in (errno.EEXIST, errno.ENOTDIR) else os.strerror(code)
            raise ResourceError(f"{path}: cannot be written ({reason})") from None
        raise


def _errno(error: Exception) -> int:
    """The system's error number; safetensors and tokenizers, written in Rust, tell it only in their text."""
    if isinstance(error, OSError):
        return error.errno or 0
    told = re.search(r"\(os error (\d+)\)", str(error))
    return int(told[1]) if told else 0


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """An object as JSON gives it back, with the hash of its own content as `seal`: a changed bit in it is found too."""
    content = json.loads(json.dumps({name: value for name, value in content.items() if name != "seal"}))
    return {**content, "seal": fingerprint(content)}


def _hash_and_sync(folder: Path) -> dict[str, Any]:
    facts = {}
    for file in _files(folder):
        file.chmod(0o644)  # safetensors writes 0600, which readers in a shared group cannot open
        _sync(file)
        fast, strong = hash_file(file)
        facts[file.relative_to(folder).as_posix()] = {"bytes": file.stat().st_size, "xxh3": fast, "sha256": strong}
    for sub in sorted(entry for entry in folder.rglob("*") if entry.is_dir()):
        sync_folder(sub)
    return facts


def _files(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.rglob("*") if not entry.is_dir())


def _hidden(path: Path, word: str) -> Path:
    return path.with_name(f".{path.name}.{word}")


def _restore(path: Path, old: Path) -> None:
    """Put the old folder back if a kill came between the two renames of a commit."""
    if old.exists() and not path.exists():
        old.rename(path)


def _clear(old: Path, temporary: Path) -> None:
    for leftover in (old, temporary):
        if leftover.exists():
            shutil.rmtree(leftover)


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


sync_folder = _sync


def _free(path: Path) -> str:
    while not path.exists() and path != path.parent:
        path = path.parent
    return f"{shutil.disk_usage(path).free / 1e6:,.1f} MB free"
