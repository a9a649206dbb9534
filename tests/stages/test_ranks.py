"""Every training stage on several ranks does what one process does; what stops is gone on from, with any number of ranks.

The ranks are forked from a process that has torch already, with the variables of torchrun; our own launcher is in test_launch.py.
"""

import json
import os
import random
import signal
import socket
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from scripts.kill import Command
from scripts.kill_rank import POINTS, kill_once
from tests.fork_server import Ended, ForkServer, Going
from trivium.core.commit import hash_file
from trivium.core.config import write_toml

STAGES = ("pretrain", "finetune", "reward", "prefer", "reinforce")
SHORT = {"schedule": {"warmup_steps": 0}, "micro_batch_rows": 4}
CALM = {"lr": 1e-3, "eps": 1e-3}  # Adam divides a gradient by its own size, which enlarges what is 1e-7 in it
STEPS = 120  # of a run that is stopped on the way
CLOSE = {"rtol": 0, "atol": 1e-6}


def recipe(made: Path) -> dict[str, object]:
    """All five, tiny, clipped, in several micro-batches of uneven sequences; a step of `reward` has one group, so a rank is left empty.

    made: the run that has the tokens, the demonstrations and the rankings.
    """
    again = {"model": "@finetune/model", "seq_len": 96, "optimizer": CALM, **SHORT}
    rankings, questions = made / "annotate/rankings", made / "demonstrate/questions"
    return {
        "name": "ranked",
        "save_every_s": 3600.0,
        "machine": {"threads": 1, "precision": "float32", "compile": "off", "ceiling": 5e10, "kernels": "torch"},
        "stages": {
            "pretrain": {
                "tokens": str(made / "tokenize"), "depth": 1, "width": 32, "seq_len": 64, "context": 96, "batch_tokens": 704, "steps": 4,
                "evaluate_every": 2, "evaluate_rows": 4, "optimizer": {"kind": "adamw", **CALM}, "max_grad_norm": 0.5, **SHORT,
            },
            "finetune": {
                "model": "@pretrain/model", "data": str(questions / "demonstrations.jsonl"), "steps": 4, "batch_size": 27, "seq_len": 96,
                "optimizer": CALM, "heldout": 0.1, "evaluate_every": 2, "select": {"kind": "loss"}, **SHORT,
            },
            "reward": {
                **again, "data": str(rankings / "train.jsonl"), "heldout": str(rankings / "heldout.jsonl"), "steps": 3, "batch_size": 1,
            },
            "prefer": {**again, "data": str(rankings / "train.jsonl"), "steps": 3, "batch_size": 7},
            "reinforce": {
                **again, "method": "grpo", "reward_model": "@reward/model", "prompts": str(questions / "prompts.jsonl"), "phases": 2,
                "prompts_per_phase": 3, "answers": 3, "minibatches": 1, "sampling": {"max_new_tokens": 8},
            },
        },
    }  # fmt: skip


def start(heavy: ForkServer, folder: Path, size: int, *words: str) -> list[Going]:
    """Start `trivium run` as so many ranks."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    shared = {"WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    arguments = ["run", "ranked.toml", "--out", "out", *words]
    return [
        heavy.start(
            arguments, folder, name=f"rank-{rank}",
            environment={name: str(value) for name, value in {**shared, "RANK": rank, "LOCAL_RANK": rank}.items()} if size > 1 else {},
        )
        for rank in range(size)
    ]  # fmt: skip


def ended(going: Sequence[Going]) -> list[Ended]:
    return [each.wait() for each in going]


def finish(heavy: ForkServer, folder: Path, size: int, *words: str) -> Path:
    """Run to the end, and give the run folder."""
    for each in ended(start(heavy, folder, size, *words)):
        assert each.code == 0, each.err[-3000:]
    return folder / "out"


@pytest.fixture
def place(finished, tmp_path) -> Path:
    """A folder with the recipe."""
    (tmp_path / "ranked.toml").write_text(write_toml(recipe(finished / "runs" / "tiny")))
    return tmp_path


@pytest.fixture(scope="module")
def straight(finished, heavy, tmp_path_factory) -> dict[int, Path]:
    """The run folders of one process and of two ranks."""
    folders = {}
    for size in (1, 2):
        folder = tmp_path_factory.mktemp(f"ranks-{size}")
        (folder / "ranked.toml").write_text(write_toml(recipe(finished / "runs" / "tiny")))
        folders[size] = finish(heavy, folder, size)
    return folders


def metrics(out: Path, stage: str = "") -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if stage in ("", row["stage"])]


def weights(out: Path, stage: str) -> dict[str, torch.Tensor]:
    return load_file(out / stage / "model/model.safetensors")


def hashes(out: Path) -> dict[str, str]:
    found = {stage: hash_file(out / stage / "model/model.safetensors")[1] for stage in STAGES}
    return found | {"metrics": hash_file(out / "metrics.jsonl")[1]}


@pytest.mark.parametrize("stage", STAGES)
def test_two_ranks_train_every_stage_as_one_process_does(straight, stage):
    torch.testing.assert_close(weights(straight[2], stage), weights(straight[1], stage), **CLOSE)
    for theirs, ours in zip(metrics(straight[2], stage), metrics(straight[1], stage), strict=True):
        assert theirs.pop("data_xxh3", "") == ours.pop("data_xxh3", "")  # the same tokens; in reinforce those that were sampled
        assert theirs.pop("stage") == ours.pop("stage")
        assert theirs == pytest.approx(ours, rel=1e-5, abs=1e-6)


def test_two_ranks_learn_from_what_a_sampler_beside_them_answers(finished, straight, heavy, place):
    """The same answers, and so the same weights, as where the ranks sample themselves."""
    whole = recipe(finished / "runs" / "tiny")
    made = {"model": str(straight[2] / "finetune/model"), "reward_model": str(straight[2] / "reward/model")}
    stage = {**whole["stages"]["reinforce"], **made, "engine": {"kind": "native"}}
    (place / "ranked.toml").write_text(write_toml({**whole, "stages": {"reinforce": stage}}))
    out = finish(heavy, place, 2)
    theirs, ours = metrics(out), metrics(straight[2], "reinforce")
    assert [row["data_xxh3"] for row in theirs] == [row["data_xxh3"] for row in ours]
    assert [row["policy_lag"] for row in theirs if "reward" in row] == [0, 0]
    torch.testing.assert_close(weights(out, "reinforce"), weights(straight[2], "reinforce"), **CLOSE)
    assert not (out / "reinforce/.weights").exists()


def test_rank_0_alone_writes_and_speaks(straight):
    log = (straight[2] / "log.txt").read_text()
    assert log.count("parameters;") == 1
    assert not [path for path in (straight[2]).rglob("*") if path.name.startswith(".") and path.name != ".lock"]
    assert [row["step"] for row in metrics(straight[2], "pretrain")] == [1, 2, 3, 4]


def wait_for_rows(out: Path, going: Sequence[Going], count: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not any(each.has_ended() for each in going):
        if (out / "metrics.jsonl").exists() and (out / "metrics.jsonl").read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.001)
    raise AssertionError([each.err[-2000:] for each in ended(going)])


@pytest.mark.parametrize(("second", "last"), [pytest.param(3, 1, id="2, 3, 1"), pytest.param(1, 4, id="2, 1, 4", marks=pytest.mark.slow)])
def test_stopped_on_two_ranks_it_goes_on_with_others_and_ends_with_others_again(finished, heavy, place, second, last):
    """What so many ranks saved so many others read, in one order of data."""
    whole = recipe(finished / "runs" / "tiny")
    alone = {**whole, "stages": {"pretrain": {**whole["stages"]["pretrain"], "steps": STEPS}}}
    (place / "ranked.toml").write_text(write_toml(alone))
    for size, rows in ((2, 3), (second, 30)):
        going = start(heavy, place, size)
        wait_for_rows(place / "out", going, rows)
        going[-1].signal(signal.SIGUSR1)  # one rank is told, all stop
        for each in ended(going):
            assert each.code == 128 + signal.SIGUSR1, each.err[-3000:]
            assert "stopped by SIGUSR1; saved after step" in each.err
        [newest, *_] = sorted((place / "out/pretrain/checkpoints").iterdir(), reverse=True)
        assert len(list(newest.glob("policy*.safetensors"))) == size
    rows = metrics(finish(heavy, place, last))
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    finish(heavy, place, 1, "--out", "straight")
    straight = metrics(place / "straight")
    assert [row["data_xxh3"] for row in rows] == [row["data_xxh3"] for row in straight]
    assert [row["loss"] for row in rows] == pytest.approx([row["loss"] for row in straight], rel=1e-5)
    torch.testing.assert_close(weights(place / "out", "pretrain"), weights(place / "straight", "pretrain"), rtol=0, atol=1e-5)


def test_exact_has_the_same_bits_with_one_two_and_four_ranks(heavy, place):
    found = []
    for size in (1, 2, 4):
        (place / str(size)).mkdir()
        (place / str(size) / "ranked.toml").write_text((place / "ranked.toml").read_text())
        found.append(hashes(finish(heavy, place / str(size), size, "--exact")))
    assert found[0] == found[1] == found[2]


def test_exact_with_three_ranks_is_refused(heavy, place):
    for each in ended(start(heavy, place, 3, "--exact"))[:1]:
        assert each.code == 2
        assert "machine.exact is for 1, 2 or 4 ranks" in each.err


def ranks_of(launcher: int) -> dict[int, int]:
    """Rank -> process id, of the children of our launcher."""
    pids = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    found = {}
    for pid in pids:
        values = dict(each.split("=", 1) for each in Path(f"/proc/{pid}/environ").read_text().split("\0") if "=" in each)
        found[int(values["RANK"])] = int(pid)
    return found


FAULTS = """
import signal, time

def at_work(number, then):
    def handler(_, frame):
        while frame is not None:
            if any(part in frame.f_code.co_filename for part in ("/torch/", "/threading.py")):  # not while it waits for the others
                signal.signal(signal.SIGALRM, handler)
                signal.setitimer(signal.ITIMER_REAL, 0.001)
                return
            frame = frame.f_back
        then()
    signal.signal(number, handler)

def fail():
    raise KeyError("a cosmic ray")

at_work(signal.SIGUSR2, lambda: time.sleep(1e6))
at_work(signal.SIGHUP, fail)
"""


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        pytest.param(signal.SIGKILL, 8, "rank 1 was killed by SIGKILL; the others were ended", marks=pytest.mark.slow),
        pytest.param(signal.SIGSTOP, 8, "rank 1 is stopped (SIGSTOP)", marks=pytest.mark.slow),
        pytest.param(signal.SIGUSR2, 8, "rank 1 hangs in ", marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, 1, "rank 1: KeyError: 'a cosmic ray'", marks=pytest.mark.slow),
    ],
)
def test_a_rank_that_is_lost_ends_all_and_the_same_command_ends_with_the_same_bits(straight, heavy, place, number, code, said):
    (place / "sitecustomize.py").write_text(FAULTS)
    path = {"PYTHONPATH": os.pathsep.join([str(place), str(Path(__file__).parents[2])])}
    going = heavy.start(["run", "ranked.toml", "--out", "out", "--ranks", "2", "save_every_s=0"], place, environment=path)
    wait_for_rows(place / "out", [going], random.randint(1, 12))
    pids = ranks_of(going.pid)
    os.kill(pids[1], number)
    began = time.monotonic()
    while not going.has_ended() and time.monotonic() - began < 15:
        time.sleep(0.05)
    assert going.has_ended()
    found = going.wait()
    assert found.code == code, found.err
    assert said in found.err.splitlines()[-1]
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids.values())
    assert hashes(finish(heavy, place, 2)) == hashes(straight[2])


@pytest.mark.parametrize(
    "point", [point for point in POINTS if point.name in ("Trainer._clip", "_hash_and_sync")], ids=lambda point: point.name
)
def test_a_rank_that_dies_at_a_point_ends_all_and_the_same_command_ends_with_the_same_bits(straight, heavy, place, point):
    """Two of the points of `python -m scripts.kill_rank`: in an update, and between the parts of a checkpoint and its manifest."""
    command = Command(lambda _: None, ("run", "ranked.toml", "--out", "out", "save_every_s=0"), STAGES, "out")
    assert kill_once(heavy, command, place, point, place / "planted") == []
    assert hashes(finish(heavy, place, 2)) == hashes(straight[2])
