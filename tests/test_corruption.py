"""A changed byte in anything that a run keeps: it is found and named, and the stage is made again or the checkpoint before is used."""

import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from scripts.kill import COMMANDS, digests
from tests.fork_server import ForkServer
from tests.tiny import RECIPE
from trivium.core.run import METRICS, STARTED

ARTEFACTS = (
    "prepare/corpus/train.jsonl.zst",
    "tokenize/tokenizer.json",
    "tokenize/train/tokens.bin",
    "tokenize/train/tokens.idx",
    "tokenize/heldout/docs.parquet",
    "tokenize/train/manifest.json",
    "pretrain/model/model.safetensors",
    "pretrain/model/config.json",
    "demonstrate/questions/demonstrations.jsonl",
    "annotate/rankings/train.jsonl",
    "annotate/rankings/manifest.json",
    "reward/model/scalar_head.json",
    "evaluate/results.json",
    "finetune/done.json",
    "prefer/started.json",
)
TRAIN = ("pretrain", "tokens=runs/tiny/tokenize", "depth=1", "width=32", "seq_len=64", "batch_tokens=512", "steps=150", "evaluate_every=50")
TRAIN += (
    "save_every_s=0.1",
    "machine.threads=1",
    "machine.precision=float32",
    "machine.compile=off",
    "machine.ceiling=5e10",
    "--out",
    "run",
)


def flip(file: Path, place: float) -> None:
    """Change one bit at this share of the file."""
    content = bytearray(file.read_bytes())
    content[int(place * (len(content) - 1))] ^= 1
    file.write_bytes(content)


def kept(run: Path) -> dict[str, str]:
    """What a stage that was made again leaves as it was; its metrics are written once more, at the end."""
    found = digests(replace(COMMANDS["pipeline"], run=run.name), run.parent)
    return {name: digest for name, digest in found.items() if name != METRICS and not name.endswith(STARTED)}


@pytest.mark.parametrize("name", ARTEFACTS)
def test_a_changed_byte_in_a_finished_stage_is_named_and_the_stage_is_made_again(name, tiny, heavy):
    run = tiny / "runs" / "tiny"
    before = kept(run)
    flip(run / name, 0.6)
    ended = heavy.run(["run", RECIPE], tiny)
    stage = name.split("/")[0]
    assert ended.code == 0, ended.err
    assert any(f"runs/tiny/{name}: " in line and f"running stage {stage} again" in line for line in ended.err.splitlines()), ended.err
    assert ended.err.count("complete, nothing to do") == 9, "the other stages are as they were"
    assert kept(run) == before


def stopped(heavy: ForkServer, folder: Path) -> Path:
    """Start training, stop it when there are two checkpoints, and return their folder."""
    checkpoints = folder / "run" / "pretrain" / "checkpoints"
    going = heavy.start(TRAIN, folder)
    deadline = time.monotonic() + 60
    while len(list(checkpoints.glob("step-*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    going.signal(signal.SIGTERM)
    ended = going.wait()
    assert ended.code == 128 + signal.SIGTERM, ended.err
    assert "saved after step" in ended.err
    return checkpoints


@pytest.mark.parametrize("name", ["policy.safetensors", "state.json", "manifest.json"])
def test_a_changed_byte_in_the_newest_checkpoint_goes_back_to_the_one_before(name, finished, heavy, tmp_path):
    shutil.copytree(finished / "runs", tmp_path / "runs")
    checkpoints = stopped(heavy, tmp_path)
    older, newest = sorted(checkpoints.glob("step-*"))
    flip(newest / name, 0.6)
    ended = heavy.run(TRAIN, tmp_path)
    assert ended.code == 0, ended.err
    assert f"{newest.name}/{name}: " in ended.err
    assert "using the checkpoint before it" in ended.err
    assert f"going on after step {int(older.name.split('-')[1])}" in ended.err
    assert_like_straight(heavy, tmp_path)


def test_when_no_checkpoint_is_whole_training_starts_again(finished, heavy, tmp_path):
    shutil.copytree(finished / "runs", tmp_path / "runs")
    for checkpoint in stopped(heavy, tmp_path).glob("step-*"):
        flip(checkpoint / "policy.safetensors", 0.3)
    ended = heavy.run(TRAIN, tmp_path)
    assert ended.code == 0, ended.err
    assert ended.err.count("using the checkpoint before it") == 2
    assert_like_straight(heavy, tmp_path)


def assert_like_straight(heavy: ForkServer, folder: Path) -> None:
    """The run has the bits of one that nothing happened to."""
    straight = (*TRAIN[:-1], "straight")
    assert heavy.run(straight, folder).code == 0
    for name in ("pretrain/model/model.safetensors", METRICS):
        assert (folder / "run" / name).read_bytes() == (folder / "straight" / name).read_bytes()


@pytest.mark.parametrize("place", [0.0, 0.001, 0.2, 0.5, 0.8, 1.0])
def test_a_model_with_a_changed_byte_is_not_talked_to(place, tiny, heavy):
    weights = tiny / "runs" / "tiny" / "prefer" / "model" / "model.safetensors"
    flip(weights, place)
    ended = heavy.run(["generate", str(weights.parent), "What is a baldor?"], tiny)
    assert ended.code == 4
    assert ended.err.startswith(f"trivium: {weights}: content does not match its manifest")
    assert not ended.out
