import subprocess
from pathlib import Path

import pytest

from benchmarks.environment import Environment
from trivium.core.errors import ResourceError


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TRIVIUM_CACHE", str(tmp_path))
    return tmp_path


def runner(commands, *, fails=()):
    def run(command, **_):
        commands.append(command)
        if "venv" in command:
            (bin_ := Path(command[-1]) / "bin").mkdir(parents=True)
            (bin_ / "python").touch()
        return subprocess.CompletedProcess(
            command, int(any(word in command for word in fails)), "peer==1\n", "ERROR: No matching distribution\n"
        )

    return run


def test_an_environment_is_made_once(cache, monkeypatch):
    commands = []
    monkeypatch.setattr(subprocess, "run", runner(commands))
    first, second = (Environment("peer", ("peer==1",)).python() for _ in range(2))
    assert first == second
    assert len(commands) == 3  # made, filled, listed
    assert commands[1][-1] == "peer==1"


def test_an_environment_that_was_interrupted_is_made_again(cache, monkeypatch):
    monkeypatch.setattr(subprocess, "run", runner([], fails=["install"]))
    environment = Environment("peer", ("peer==1",))
    with pytest.raises(ResourceError, match=r"peer cannot be made \(ERROR: No matching distribution\); connect to the network"):
        environment.python()
    assert not environment.exists
    monkeypatch.setattr(subprocess, "run", runner([]))
    environment.python()
    assert environment.exists


def test_other_versions_have_an_environment_of_their_own(cache):
    assert Environment("peer", ("peer==1",)).folder != Environment("peer", ("peer==2",)).folder
