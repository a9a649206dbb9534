"""Our contestants at tiny size in this process; the talk is replaced by a list of requests."""

import json

import numpy as np
import pytest

from benchmarks import conversations
from benchmarks.ours import posttrain, pretrain, race, sample
from benchmarks.race import dialled
from tests.nn.io_models import FILES, SHAPES, V
from trivium.core.types import example
from trivium.nn.config import llama
from trivium.nn.io.directory import save_model
from trivium.nn.model import Model, initialise
from trivium.nn.variants import SPEEDRUN

TINY = {
    "vocab_size": 64,
    "depth": 1,
    "width": 64,
    "head_dim": 64,
    "device": "cpu",
    "compile": False,
    "seq_len": 16,
    "rows": 2,
    "seed": 1,
    "threads": 1,
    "precision": "float32",
    "kernels": "auto",
    "products": "auto",
    "optimizer": "muon",
}


class Enough(Exception):
    """There are no more requests."""


class Requests:
    """Gives one request a tick, and keeps what was answered."""

    def __init__(self, *requests):
        self.left, self.facts, self.seen = list(requests), {}, []

    def tick(self, **measured):
        self.seen.append(self.facts | measured)
        if not self.left:
            raise Enough
        self.facts = {}
        return self.left.pop(0)


@pytest.fixture(autouse=True)
def _same_settings_of_torch_afterwards():
    import torch

    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    yield
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(precision)


@pytest.fixture(autouse=True)
def _no_ceiling_is_measured(monkeypatch):
    monkeypatch.setattr("trivium.stages.machine._matmul_flops", lambda *_: 1e9)


def test_pretraining_goes_on_as_long_as_steps_are_wanted():
    rounds = Requests({}, {})
    with pytest.raises(Enough):
        pretrain.train(TINY | {"num_rows": 8, "micro_batch_rows": 1}, rounds)
    assert len(rounds.seen) == 3
    assert all(facts["peak_bytes"] > 2**20 for facts in rounds.seen)


VARIED = {"traits": SPEEDRUN, "packing": "bestfit", "has_zero_outputs": False}


@pytest.mark.parametrize("how", ["quickstart", "as peer", "varied", "dialled"])
def test_a_race_is_measured_between_updates_and_learns(tmp_path, how):
    stream = (np.arange(600) % 7).astype(np.uint16)
    files = {part: str(tmp_path / f"{part}.npy") for part in ("train", "starts", "heldout")}
    np.save(files["train"], stream)
    np.save(files["starts"], np.arange(0, 601, 12))
    np.save(files["heldout"], stream[:64].reshape(4, 16))
    peer = {"lr": 1e-2, "warmup_steps": 2, "beta2": 0.95, "weight_decay": 0.1, "steps": 12}
    rounds = Requests({"evaluate": True}, *({} for _ in range(12)), {"evaluate": True})
    options = TINY | files | peer | {"is_as_peer": how == "as peer", "variation": VARIED if how == "varied" else {}}
    with pytest.raises(Enough):
        race.compete(dialled(options, 400) if how == "dialled" else options, rounds)
    before, after = rounds.seen[1]["loss"], rounds.seen[-1]["loss"]
    assert before == pytest.approx(np.log(64), abs=0.05)  # the head starts near 0: all ids are equally likely
    assert after < before - 0.5


@pytest.mark.parametrize("work", ["sft", "dpo", "reward", "grpo"])
def test_post_training_goes_on_as_long_as_updates_are_wanted(tmp_path, work):
    save_model(tmp_path / "model", initialise(Model(SHAPES["llama"]), 1), **FILES)
    rows = {
        "sft": conversations.demonstrations([(5, 9), (20, 4), (3, 3)], V, 1),
        "grpo": conversations.prompts(4, 6, V, 1),
    }.get(work, conversations.pairs(4, 8, 8, V, 1))
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    want = {
        "work": work, "model": str(tmp_path / "model"), "data": str(tmp_path / "rows.json"), "threads": 1, "rows": 2, "seq_len": 24,
        "micro_batch_rows": 4, "machine": {"precision": "float32"}, "prompts": 2, "answers": 3, "new_tokens": 5, "engine": {},
    }  # fmt: skip
    rounds = Requests({}, {})
    with pytest.raises(Enough):
        posttrain.train(want, rounds)
    amounts = {"sft": [14 + 24, 6 + 14], "dpo": [2, 2], "reward": [2, 2], "grpo": [30, 30]}[work]
    assert [seen["amounts"] for seen in rounds.seen[1:]] == amounts
    assert all(seen["sampling"] > 0 for seen in rounds.seen[1:] if work == "grpo")


def test_the_identity_check_counts_the_answers_that_do_not_depend_on_their_batch(monkeypatch):
    model = initialise(Model(llama(vocab_size=64, depth=1, width=64, max_seq_len=64)), 1)
    prompts = [[1, 2, 3], [4], [5, 6], [7, 8, 9, 10]]
    assert sample.identical(model, prompts) == {"greedy": 4, "seeded": 4}
    monkeypatch.setattr(
        "trivium.generate.engine.Engine.generate", lambda self, given, *_, **__: [example(np.full(2, self.rows))] * len(given)
    )
    assert sample.identical(model, prompts) == {"greedy": 0, "seeded": 0}
