"""What must be set before torch is imported, and what tests from outside share: servers that run the command line, a finished tiny run."""

import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fork_server import ForkServer
from trivium.core.world import prepare_environment

prepare_environment()  # before torch is imported: without it tests with tiny tensors take five times as long on a busy machine


@pytest.fixture(scope="session")
def light(tmp_path_factory) -> Iterator[ForkServer]:
    """Runs commands without torch in memory."""
    with ForkServer(tmp_path_factory.mktemp("light"), imports_torch=False) as server:
        yield server


@pytest.fixture(scope="session")
def heavy(tmp_path_factory) -> Iterator[ForkServer]:
    """Runs commands that need torch."""
    with ForkServer(tmp_path_factory.mktemp("heavy"), imports_torch=True) as server:
        yield server


@pytest.fixture(scope="session")
def finished(tmp_path_factory, heavy) -> Path:
    """A folder with the tiny recipe and its complete run in `runs/tiny`; made once for all test processes. Copy it to change it."""
    from tests.tiny import RECIPE, write_tiny  # loads torch, which must see what is set above

    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if shared.name.startswith("popen-") else shared  # parallel processes have a folder each, below a common one
    folder = shared / "finished"
    with (shared / "finished.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "runs" / "tiny" / "report.html").exists():
            write_tiny(folder)
            ended = heavy.run(["run", RECIPE], folder)
            assert ended.code == 0, ended.err
    return folder


@pytest.fixture
def tiny(finished, tmp_path) -> Path:
    """A copy of the finished run's folder."""
    return Path(shutil.copytree(finished, tmp_path / "tiny"))
