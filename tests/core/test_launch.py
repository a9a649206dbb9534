"""What the launcher makes of what it sees, and what a rank says of itself."""

import fcntl
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import pytest

from trivium.core import heartbeat
from trivium.core.commit import locked
from trivium.core.errors import RankError
from trivium.core.heartbeat import Heartbeat, read, where
from trivium.core.launch import ChildError, Seen, _Ranks, fault, launch, lines
from trivium.core.processes import of_process
from trivium.core.world import end_with_parent, rank_environment

WELL = Seen(state="S", waits="peers")


def test_ranks_that_work_wait_or_ended_well_are_no_fault():
    assert fault([WELL, Seen(state="R"), Seen(code=0), Seen(state="S", idle_s=60.0, waits="outside")]) is None


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (Seen(code=-signal.SIGKILL), "rank 1 was killed by SIGKILL"),
        (Seen(code=-signal.SIGSEGV), "rank 1 was killed by SIGSEGV"),
        (Seen(code=1), "rank 1 ended with code 1 and did not say why"),
        (Seen(state="T", silent_s=9.0), "rank 1 is stopped (SIGSTOP): nothing was heard of it for 9 s"),
        (Seen(state="S", silent_s=130.0), "rank 1 does not get to run"),
        (
            Seen(state="S", idle_s=9.0, place="stages/reward.py:7 in run"),
            "rank 1 hangs in stages/reward.py:7 in run: for 9 s it did nothing",
        ),
    ],
)
def test_the_rank_and_the_cause_are_named(seen, said):
    error = fault([WELL, seen])
    assert isinstance(error, RankError)
    assert said in str(error)
    assert "the same command goes on" in str(error)


def test_what_one_rank_raises_is_told_with_its_exit_code():
    error = fault([Seen(code=3, message="pairs.jsonl line 2: bad"), WELL])
    assert isinstance(error, ChildError)
    assert (str(error), error.exit_code) == ("rank 0: pairs.jsonl line 2: bad", 3)


def test_what_all_ranks_raise_is_told_once():
    error = fault([Seen(code=143, message="saved after step 2"), Seen(code=143, message="saved after step 2")])
    assert (str(error), error.exit_code) == ("saved after step 2", 143)


def test_a_rank_that_lost_another_is_not_the_cause():
    lost = Seen(code=8, message="a peer process is gone", is_lost=True)
    assert "rank 1 was killed" in str(fault([lost, Seen(code=-signal.SIGKILL)]))
    assert "rank 0: a peer process is gone" in str(fault([lost, Seen(code=0)]))


def test_a_short_stop_a_slow_disk_and_work_are_no_hang():
    assert fault([WELL, Seen(state="T", silent_s=3.0)]) is None
    assert fault([WELL, Seen(state="D", idle_s=30.0)]) is None
    assert fault([WELL, Seen(state="R", idle_s=1.0)]) is None


def test_ranks_that_all_wait_for_each_other_are_a_fault_and_one_that_works_or_waits_elsewhere_is_none():
    waiting = Seen(state="S", waits="peers", idle_s=9.0, place="train/fit.py:70 in fit")
    error = fault([waiting, Seen(state="S", waits="peers", idle_s=9.0, place="train/ranks.py:60 in heard")])
    assert isinstance(error, RankError)
    assert "rank 0 in train/fit.py:70 in fit, rank 1 in train/ranks.py:60 in heard" in str(error)
    for other in (Seen(state="R"), Seen(state="S", waits="outside", idle_s=60.0), Seen(state="S", waits="peers", idle_s=1.0), Seen(code=0)):
        assert fault([waiting, other]) is None


def test_a_rank_says_that_it_lives_and_where_it_is(tmp_path):
    with Heartbeat(tmp_path, 3):
        deadline = time.monotonic() + 5
        while not (beat := read(tmp_path, "beat-3.json")) and time.monotonic() < deadline:
            time.sleep(0.01)
    assert beat["number"] == 1
    assert beat["cpu_s"] > 0
    assert read(tmp_path, "beat-4.json") == {}


def test_a_rank_says_how_it_failed(tmp_path):
    Heartbeat(tmp_path, 0).failed("the disk is full", 6, is_lost=False)
    assert read(tmp_path, "end-0.json") == {"message": "the disk is full", "code": 6, "is_lost": False}


def test_a_heartbeat_keeps_nothing_alive_that_the_rank_has_left(tmp_path, monkeypatch):
    monkeypatch.setattr(heartbeat, "EVERY_S", 0.1)

    class Activations: ...

    def forward():
        held = Activations()
        before = read(tmp_path, "beat-0.json").get("number", 0)
        assert until(lambda: read(tmp_path, "beat-0.json").get("number", 0) > before + 1)
        return weakref.ref(held)

    with Heartbeat(tmp_path, 0):
        assert forward()() is None


def ranks_that(tmp_path: Path, program: str) -> _Ranks:
    """One rank, of this program."""
    return _Ranks([sys.executable, "-c", program], 1, tmp_path)


def say(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a rank is judged by what it says")
@pytest.mark.parametrize(("program", "hangs"), [("while True: pass", False), ("import time; time.sleep(60)", True)])
def test_work_that_lets_no_other_thread_run_is_no_hang(tmp_path, program, hangs):
    """The newest beat is old, and what it says of the processor too."""
    ranks = ranks_that(tmp_path, program)
    try:
        say(tmp_path, "beat-0.json", '{"number": 1, "cpu_s": 0.01, "waits": "", "place": "text/read.py:9 in rows"}')
        time.sleep(0.2)
        ranks._look()
        used = ranks.last[0].cpu_s
        assert until(lambda: hangs or of_process(ranks.processes[0].pid)[1] > used + 0.1)
        ranks.last[0].cpu_s = max(used, of_process(ranks.processes[0].pid)[1]) if hangs else used
        ranks.last[0].worked -= 20
        ranks._look()
        assert ("hangs in text/read.py:9 in rows" in str(fault(ranks.seen))) == hangs
    finally:
        ranks.end()


def test_a_rank_that_said_how_it_ended_is_not_waited_for(tmp_path):
    ranks = ranks_that(tmp_path, "import time; time.sleep(60)")
    try:
        say(tmp_path, "end-0.json", '{"message": "the disk is full", "code": 6, "is_lost": false}')
        ranks._look()
        assert fault(ranks.seen) is None
        ranks._look(leave_s=0.0)
        assert str(fault(ranks.seen)) == "rank 0: the disk is full"
    finally:
        ranks.end()


PARENT = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open(sys.argv[1], "w").write(str(child.pid))
os.kill(os.getpid(), 9)
"""


def test_what_a_killed_rank_has_started_ends_too(tmp_path):
    ranks = _Ranks([sys.executable, "-c", PARENT, str(tmp_path / "child")], 1, tmp_path)
    ranks.processes[0].wait()
    child = int((tmp_path / "child").read_text())
    assert of_process(child)[0] in ("S", "R", "D")
    ranks.end()
    assert until(lambda: of_process(child)[0] in ("", "Z"))


@pytest.mark.skipif(sys.platform != "linux", reason="there is no such signal")
def test_a_rank_whose_launcher_is_gone_before_it_could_ask_to_end_with_it_ends(monkeypatch):
    with subprocess.Popen(["true"]) as gone:
        pass
    killed = []
    monkeypatch.setattr(signal, "raise_signal", killed.append)
    monkeypatch.setattr("trivium.core.world.ctypes.CDLL", lambda _: type("Library", (), {"prctl": lambda *_: 0}))
    for launcher in (os.getpid(), gone.pid):
        monkeypatch.setenv("TRIVIUM_LAUNCHER", str(launcher))
        end_with_parent()
    assert killed == [signal.SIGKILL]


RANK = """
import sys, time
from pathlib import Path
from trivium.core.world import end_with_parent
end_with_parent()
Path(sys.argv[1], "up").touch()
time.sleep(60)
"""
LAUNCHER = """
import subprocess, sys
rank = subprocess.Popen([sys.executable, "-c", *sys.argv[1:]], process_group=0)
print(rank.pid, flush=True)
rank.wait()
"""


def test_a_rank_ends_when_its_launcher_was_killed(tmp_path):
    with subprocess.Popen([sys.executable, "-c", LAUNCHER, RANK, tmp_path], stdout=subprocess.PIPE, text=True) as launcher:
        rank = int(launcher.stdout.readline())
        came = until((tmp_path / "up").exists)
        launcher.kill()
    assert came
    assert until(lambda: of_process(rank)[0] in ("", "Z"))


def until(is_so, seconds: float = 10.0):
    """Whether it came to be."""
    deadline = time.monotonic() + seconds
    while not (found := is_so()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def seen_while(work):
    """What a heartbeat sees of the main thread while it does this."""
    found, main = [], threading.get_ident()
    watcher = threading.Timer(0.1, lambda: found.append(where(sys._current_frames()[main])))
    watcher.start()
    work()
    watcher.join()
    return found[0]


def test_waiting_for_a_process_is_no_hang_and_sleeping_is_one():
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.2)"]) as sleeper:
        assert seen_while(sleeper.wait)["waits"] == "outside"
    assert seen_while(lambda: time.sleep(0.2))["waits"] == ""


def test_waiting_for_a_lock_that_another_process_has_is_no_hang(tmp_path):
    """One rank fetches a model into the cache, the others wait until it is there."""
    with (tmp_path / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        threading.Timer(0.2, fcntl.flock, (held, fcntl.LOCK_UN)).start()

        def wait():
            with locked(tmp_path / "lock"):
                pass

        assert seen_while(wait)["waits"] == "outside"


def test_the_variables_are_those_of_torchrun(tmp_path):
    found = rank_environment(1, 4, port=1234, folder=tmp_path)
    assert {name: found[name] for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")} == {
        "RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "4", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1234",
    }  # fmt: skip


def test_a_mistake_that_all_ranks_make_is_told_once_and_keeps_its_code(capfd):
    with pytest.raises(ChildError) as caught:
        launch(["run", "there-is-no-such-recipe"], 2)
    assert caught.value.exit_code == 2
    assert str(caught.value).startswith("there is no recipe 'there-is-no-such-recipe'")
    assert capfd.readouterr().err == ""


def test_the_lines_for_torchrun_and_slurm():
    torchrun, sbatch = lines(["run", "quickstart", "--out", "my run", "--ranks", "8"], 8)
    assert torchrun == "torchrun --standalone --nproc-per-node 8 -m trivium.cli run quickstart --out 'my run' --ranks 8"
    assert sbatch.startswith("sbatch --nodes 1 --ntasks 1 --gpus-per-node 8 --signal USR1@120 --requeue --wrap ")
    [*_, script] = shlex.split(sbatch)
    srun, scontrol = (f'{name}() {{ echo {name} "$@"; return $CODE; }}; ' for name in ("srun", "scontrol"))
    for code, said in ((0, []), (8, []), (138, ["scontrol requeue 7"])):  # which Slurm would take for a failure
        environment = {**os.environ, "CODE": str(code), "SLURM_JOB_ID": "7"}
        ended = subprocess.run(["bash", "-c", srun + scontrol + script], env=environment, capture_output=True, text=True, check=False)
        assert ended.stdout.splitlines() == ["srun trivium run quickstart --out my run --ranks 8", *said]
        assert ended.returncode == code
