"""A model of which each rank has a part: it is read in parts, never whole on the device, and saved one weight after the other."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.nn.io_models import FILES, TEXTS, TOKENIZER, ours
from tests.train.spread_ranks import STAGES, critic, judged, learned, told
from tests.train.test_spike import TRAINED, below
from trivium.core.types import Document
from trivium.nn.io.directory import load_model, save_model
from trivium.text.shards import write_shard

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that two ranks have written into."""
    folder = tmp_path_factory.mktemp("spread")
    TOKENIZER.save(folder / "tokens" / "tokenizer.json")
    for part in ("train", "heldout"):
        write_shard(folder / "tokens" / part, [Document(text) for text in TEXTS * 8], TOKENIZER)
    chats = [[{"role": "user", "content": f"ships {n}"}, {"role": "assistant", "content": f"land {n}"}] for n in range(9)]
    pairs = [{"prompt": f"ships {n}", "chosen": f"land {n}", "rejected": f"people {n}"} for n in range(9)]
    (folder / "chats.jsonl").write_text("".join(json.dumps({"messages": chat}) + "\n" for chat in chats))
    (folder / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    (folder / "prompts.jsonl").write_text("".join(json.dumps({"prompt": f"ships {n}"}) + "\n" for n in range(9)))
    save_model(folder / "stored", ours("llama"), **FILES)
    save_model(folder / "judge", ours("llama", has_scalar=True), **FILES)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", ROOT / "tests/train/spread_ranks.py"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    assert ended.returncode == 0, ended.stderr
    return folder


@pytest.fixture(scope="module", params=[0, 1])
def rank(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.fixture(scope="module")
def found(launched: Path, rank: int) -> dict[str, torch.Tensor]:
    return load_file(launched / f"found-{rank}.safetensors")


def columns(name: str, found: dict[str, torch.Tensor]) -> list[np.ndarray]:
    return [found[f"{name}/{number}"].numpy() for number in range(sum(each.startswith(f"{name}/") for each in found))]


@pytest.mark.parametrize("stage", STAGES)
def test_no_rank_ever_has_the_whole_copy_on_its_device(launched, rank, stage):
    """Weights are cut part by part, learned and read with one number of each, and saved from the host of the first rank."""
    seen = json.loads((launched / f"seen-{rank}.json").read_text())[stage]
    head = 4 * 32 - 4 if stage == "reward" else 0  # a new one, of zeros
    assert seen["before"] == head
    assert 0 < seen["cut"] <= seen["largest part"] + head < seen["whole"]
    assert seen["learned"] == seen["read"] == 0
    assert seen["saved"] == (0 if rank else seen["whole"])
    assert "gathered" not in seen


@pytest.mark.parametrize("count", [1, 5])
def test_ranks_that_share_fewer_answers_than_they_are_get_what_one_process_does(found, count):
    expected = told(critic())[f"values of {count}"]
    assert len(expected) == count
    for theirs, ours_ in zip(columns(f"values of {count}", found), expected, strict=True):
        np.testing.assert_allclose(theirs, ours_, rtol=0, atol=1e-6)


@pytest.mark.parametrize("count", [1, 5])
def test_a_model_that_is_only_read_says_in_parts_what_it_says_whole(found, launched, count):
    [expected] = judged(load_model(launched / "judge"))[f"judged {count}"]
    [theirs] = columns(f"judged {count}", found)
    np.testing.assert_allclose(theirs, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shared", ["apart", "rows", "copies"])
def test_ranks_read_what_one_process_does_before_and_after_updates(found, shared):
    _, expected = learned(True)
    for name, each in expected.items():
        for theirs, ours_ in zip(columns(f"{shared}/{name}", found), each, strict=True):
            np.testing.assert_allclose(theirs, ours_, rtol=0, atol=1e-5)


def test_who_reads_a_model_changes_no_bit_of_it(found):
    silent = below("not read/", found)
    torch.testing.assert_close({name: found[f"apart/{name}"] for name in silent}, silent, rtol=0, atol=0)


def test_ranks_learn_what_one_process_does(found):
    trainer, _ = learned(False)
    torch.testing.assert_close(below("not read/", found), trainer.state(), **TRAINED)


@pytest.mark.parametrize("name", ["straight", "restored"])
def test_the_best_weights_are_kept_in_parts_and_taken_back_with_the_same_bits(found, name):
    kept = below("kept/", found)
    torch.testing.assert_close(below(f"{name}/", kept), below("after 2/", kept), rtol=0, atol=0)
