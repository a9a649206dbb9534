"""Steps of fixed shape, the matrices they read, and how a graph is recorded; CUDA's part is played by stand-ins."""

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.nn.tiny import VOCAB, tiny_model
from trivium.nn.adapter import adapt
from trivium.nn.cache import Cache
from trivium.nn.decode import CastCopy, NextTokens, why_not_fixed
from trivium.nn.foreign import Guest
from trivium.nn.graphs import Recorded
from trivium.nn.lora import LoRA

CUDA = torch.device("cuda")


@pytest.mark.parametrize("options", [{}, {"num_heads": 4, "num_kv_heads": 2, "hidden_size": 16}, {"attention_softcap": 2.0}])
def test_a_step_says_what_the_whole_text_says_and_rows_that_wait_change_nothing(options):
    model = tiny_model(**options)
    tokens = torch.from_numpy(np.random.default_rng(0).integers(0, VOCAB, (3, 12)))
    step = NextTokens(model.trunk, Cache(model.config, 3, 64, torch.float32), 3, 64)
    with torch.no_grad():
        exact = model.trunk.logits(model.trunk(tokens, torch.arange(12).expand(3, -1)))
        for at in range(12):
            rows = [0, 1, 2] if at < 6 else [2, 0]
            found = step(rows, tokens[rows, at].tolist(), [at] * len(rows))
            torch.testing.assert_close(found[rows], exact[rows, at], rtol=0, atol=1e-4)


def test_what_was_recorded_of_weights_that_have_moved_since_is_recorded_again():
    model = tiny_model()
    step, weight = NextTokens(model.trunk, Cache(model.config, 1, 64, torch.float32), 1, 64), model.trunk.final_norm.weight

    def recorded() -> Recorded:
        step.follow()
        with torch.no_grad():
            step([0], [1], [0])
        [found] = step._steps.values()
        return found

    first = recorded()
    weight.data.mul_(2)
    assert recorded() is first
    weight.data = weight.data.clone()
    assert recorded() is not first


def test_a_copy_in_compute_precision_gives_the_same_bits_and_follows():
    model = tiny_model()
    model.trunk.compute_dtype = torch.bfloat16
    copied = CastCopy(model.trunk)
    tokens, position = torch.arange(9)[None], torch.arange(9)[None]
    with torch.no_grad():
        for _ in range(2):
            assert torch.equal(copied.trunk.logits(copied.trunk(tokens, position)), model.trunk.logits(model.trunk(tokens, position)))
            before = [parameter.data_ptr() for parameter in copied.trunk.parameters()]
            for parameter in model.parameters():
                parameter.mul_(1.1)
            copied.refresh()
            assert [parameter.data_ptr() for parameter in copied.trunk.parameters()] == before  # where a graph reads them
    assert copied.trunk.blocks[0].mlp.up.weight.dtype == torch.bfloat16
    assert copied.trunk.final_norm.weight is model.trunk.final_norm.weight
    assert model.trunk.blocks[0].mlp.up.weight.dtype == torch.float32


def test_a_copy_follows_an_adapter():
    model = tiny_model(has_qk_norm=False)
    adapt(model, LoRA(r=2), seed=1)
    model.trunk.compute_dtype = torch.bfloat16
    copied = CastCopy(model.trunk)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("lora_B"):
                parameter.fill_(0.5)
        states = [trunk(torch.arange(9)[None], torch.arange(9)[None]) for trunk in (copied.trunk, model.trunk)]
    assert torch.equal(*states)


def test_why_steps_have_no_fixed_shape_is_said():
    assert why_not_fixed(tiny_model().trunk) == "there are no CUDA graphs on cpu"
    guest = Guest(torch.nn.Linear(1, 1), tiny_model().config, torch.float32)
    assert "a guest reads everything again" in why_not_fixed(guest)
    there = tiny_model().trunk
    del there.embed
    there.__dict__["embed"] = SimpleNamespace(weight=SimpleNamespace(device=CUDA))
    assert why_not_fixed(there) is None


class Graphs:
    """What is done, recorded and replayed, in order."""

    def __init__(self, monkeypatch):
        self.told = []
        monkeypatch.setattr(torch.cuda, "Stream", lambda _: self)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda _: self)
        monkeypatch.setattr(torch.cuda, "stream", lambda _: nullcontext())
        monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: SimpleNamespace(replay=lambda: self.told.append("replayed")))
        monkeypatch.setattr(torch.cuda, "graph", self.graph)

    def wait_stream(self, _):
        self.told.append("waited")

    def graph(self, graph, pool):
        self.told.append(f"recorded in {pool}")
        return nullcontext()


def test_work_is_warmed_up_recorded_once_and_replayed(monkeypatch):
    graphs = Graphs(monkeypatch)
    memory = torch.ones(2)

    def work():
        graphs.told.append("done")
        return memory

    recorded = Recorded(work, CUDA, "a pool")
    assert recorded() is memory
    assert graphs.told == ["waited", "done", "waited", "recorded in a pool", "done", "replayed"]
    assert recorded() is memory
    assert graphs.told[6:] == ["replayed"]


def test_without_graphs_work_is_done_each_time():
    told = []
    recorded = Recorded(lambda: told.append("done") or torch.ones(1), torch.device("cpu"))
    recorded()
    recorded()
    assert told == ["done", "done"]
