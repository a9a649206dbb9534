"""Reinforcement learning whose answers are sampled elsewhere: with no lag as here, with a lag to the same bits after a kill."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace

import pytest
import torch

from tests.generate.fake_vllm import servers
from tests.nn.io_models import FILES, STOPS, ours
from tests.stages.power import lost_before
from tests.stages.test_alignment import LENGTH, MACHINE, SAMPLED, killed_once, log, place, run, weights
from trivium.core.errors import ArtefactError, ConfigError, EngineError
from trivium.generate import samplers
from trivium.generate.engine import Engine
from trivium.generate.own_sampler import OwnSampler
from trivium.nn.io.directory import save_model
from trivium.nn.model import Model
from trivium.stages import sampler_process
from trivium.stages.computing import separate
from trivium.stages.pipeline import execute
from trivium.stages.recipe import single

__all__ = ["place"]  # a fixture

GRPO = {
    "method": "grpo",
    "rewards": [{"kind": "repetition"}],
    "answers": 2,
    "sampling": {"max_new_tokens": 40},
    "optimizer": {"kind": "adamw", "lr": 1e-2},
}
METHODS = {"grpo": GRPO, "remax": {"method": "remax", "rewards": [LENGTH]}, "ppo": {"method": "ppo", "reward_model": "judge"}}
LORA = {"lora": {"r": 2}}


@pytest.fixture(autouse=True)
def as_the_pipeline_does():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")  # what stages/machine.py chooses on a CPU, in the other process too
    yield
    torch.set_float32_matmul_precision(before)


class Beside(OwnSampler):
    """What the other process does, in this one: to start one takes seconds."""

    def __init__(self, options) -> None:
        self._sampler = sampler_process._Sampler(json.loads(json.dumps(options)), SimpleQueue(), SimpleQueue(), io.StringIO())
        self._process, self._is_closed = SimpleNamespace(poll=lambda: None), False

    def close(self) -> None: ...

    def _ask(self, what, asked):
        done = self._sampler._load if what == "load" else self._sampler._sample
        return json.loads(json.dumps(done(**json.loads(json.dumps(asked)))))


@pytest.fixture
def beside(monkeypatch):
    monkeypatch.setattr(separate, "OwnSampler", Beside)


def native(lag: int, **more) -> dict:
    return {"engine": {"kind": "native", "max_lag": lag, **more}}


@pytest.mark.parametrize("options", METHODS.values(), ids=METHODS.keys())
def test_without_a_lag_another_process_samples_what_this_one_would(options, monkeypatch):
    if options is not GRPO:
        monkeypatch.setattr(separate, "OwnSampler", Beside)
    here = run("reinforce", "here", phases=3, **options)
    there = run("reinforce", "there", phases=3, **options, **native(0))
    assert weights("there", "reinforce") == weights("here", "reinforce") != (Path("base") / "model.safetensors").read_bytes()
    assert [{**row, "policy_lag": 0.0} for row in here if "reward" in row] == [row for row in there if "reward" in row]
    assert not list(Path("there/reinforce").glob(".weights"))


@pytest.mark.parametrize("lag", [1, 3])
def test_with_a_lag_a_run_goes_on_with_the_same_bits(lag, beside, monkeypatch):
    killed_once("reinforce", 3, monkeypatch, phases=6, **{**GRPO, "passes": 1, "minibatches": 1}, **native(lag))


@pytest.mark.parametrize(("method", "lag", "published"), [("remax", 0, 3), ("grpo", 0, 3), ("grpo", 1, 2)])
def test_weights_are_gathered_only_where_answers_are_asked_for_under_them(method, lag, published, beside, monkeypatch):
    gathered, on_host = [], Model.on_host
    monkeypatch.setattr(Model, "on_host", lambda model, **how: gathered.append(how) or on_host(model, **how))
    run("reinforce", phases=3, **METHODS[method], **native(lag))
    assert len(gathered) == published + 1  # and when it is saved


def test_an_adapter_is_sampled_merged(beside):
    """Its products are then rounded otherwise than in the trainer, so log-probs agree nearly, whatever it has learned."""
    errors = [row["ratio_error"] for row in run("reinforce", "there", phases=4, **GRPO, **LORA, **native(0))]
    assert errors[::2] == pytest.approx([1] * 4, abs=1e-5)  # the first update of a phase
    assert max(errors[1::2]) > 1 + 1e-4


def test_a_lag_is_measured_and_read_again_where_the_ratio_to_the_sampler_is_no_bound(beside):
    one = run("reinforce", "one", phases=4, **GRPO, **native(1))
    two = run("reinforce", "two", phases=4, **GRPO, **native(2))
    assert [row["policy_lag"] for row in one if "policy_lag" in row] == [0, 1, 1, 1]
    assert [row["policy_lag"] for row in two if "policy_lag" in row] == [0, 1, 2, 2]
    assert "sampler_mismatch" not in one[-1]
    assert two[-1]["sampler_mismatch"] > 1.001
    reinforce = {"method": "rloo", "rewards": [LENGTH], "phases": 3}
    assert "sampler_mismatch" in run("reinforce", "rloo", **reinforce, **native(1))[-1]


def test_in_flight_weights_are_taken_under_the_answers_in_work():
    rows = run("reinforce", phases=4, **GRPO, **native(1, in_flight=True))
    assert all(0 <= row["policy_lag"] <= 1 for row in rows if "policy_lag" in row)


@pytest.mark.slow
def test_a_sampler_that_dies_is_started_again_and_samples_the_same(monkeypatch):
    run("reinforce", "straight", **GRPO)
    sample, kills = OwnSampler.sample, iter([False, True, False])

    def killed(self, batch, numbers):
        if next(kills):
            os.kill(self.process_id, signal.SIGKILL)
        return sample(self, batch, numbers)

    monkeypatch.setattr(OwnSampler, "sample", killed)
    run("reinforce", "killed", **GRPO, **native(0))
    assert weights("killed", "reinforce") == weights("straight", "reinforce")
    assert "the sampler in the other process is back" in log("killed")


@pytest.mark.slow
def test_a_sampler_that_always_dies_ends_the_run_with_the_reason(monkeypatch):
    sample = OwnSampler.sample

    def killed(self, batch, numbers):
        os.kill(self.process_id, signal.SIGKILL)
        return sample(self, batch, numbers)

    monkeypatch.setattr(OwnSampler, "sample", killed)
    monkeypatch.setattr(samplers, "MAX_ROUNDS", 2)
    with pytest.raises(EngineError, match="the process of the sampler has ended") as told:
        run("reinforce", **GRPO, **native(0))
    assert told.value.exit_code == 10


ORPHAN = """
import os, sys
from trivium.generate.own_sampler import OwnSampler
sampler = OwnSampler({"machine": {}, "rows": 1, "precision": "float32", "kernels": "torch", "stop_ids": [0]})
print(sampler.process_id, flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it ends when it next reads a line")
def test_a_sampler_ends_with_its_trainer_whatever_that_is_ended_by():
    ended = subprocess.run([sys.executable, "-c", ORPHAN], capture_output=True, text=True, check=False)
    assert ended.returncode == -9
    deadline = time.monotonic() + 10
    while Path(f"/proc/{int(ended.stdout)}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not Path(f"/proc/{int(ended.stdout)}").exists()


def vllm(*fakes, **more) -> dict:
    return {"engine": {"kind": "vllm", "urls": [fake.url for fake in fakes], **more}}


@pytest.mark.parametrize("lag", [0, 1, 2])
def test_servers_sample_for_the_same_recipe(lag, place):
    with servers(place / "teacher", 2, stop_ids=STOPS) as fakes:
        rows = run("reinforce", phases=4, **GRPO, **vllm(*fakes, max_lag=lag))
        assert [row["policy_lag"] for row in rows if "policy_lag" in row] == [0, min(1, lag), lag, lag]
        assert rows[1]["sampler_mismatch"] == pytest.approx(1, abs=1e-5)  # the first phase: they have the very weights
        assert fakes[0].label.startswith(f"{3 - lag}-")  # the last that something was sampled with
        assert all(fake.count("/inference/v1/generate") for fake in fakes)


def test_servers_that_keep_their_weights_and_do_not_say_so_are_found_out(place):
    other = ours("llama")
    other.trunk.head.weight.data.mul_(100)
    save_model(place / "other", other, **FILES)
    with servers(place / "other", 1, stop_ids=STOPS) as [fake]:
        fake.is_lying = True
        with pytest.raises(EngineError, match="phase 0: the sampler gives its tokens other probabilities than the trainer does"):
            run("reinforce", phases=4, **GRPO, **vllm(fake))


def test_a_small_mismatch_is_said(place):
    with servers(place / "base", 1, stop_ids=STOPS) as [fake]:
        fake.is_lying = True
        rows = run("reinforce", phases=4, **GRPO, **vllm(fake))
        assert rows[-1]["sampler_mismatch"] > 1.05
        assert "by a factor above 1.05 on average" in log()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"engine": {"kind": "vllm", "urls": []}}, "urls"), ({"engine": {"kind": "vllm", "urls": ["host:8000"]}}, "an address such as"),
        ({"engine": {"kind": "vllm", "urls": ["http://a", "http://a"]}}, "a server is named twice"),
        ({"engine": {"kind": "vllm", "urls": "http://localhost:1", "key_env": "NO_SUCH_KEY"}}, "there is no variable NO_SUCH_KEY"),
        ({"engine": {"kind": "vllm", "urls": "http://localhost:1"}, "sampler": "int8"}, "only our kernels have"),
        ({"engine": {"kind": "native", "in_flight": True}}, "set max_lag to 1"),
        ({"engine": {"kind": "vllm", "urls": "http://localhost:1"}, "sampling": {"top_p": 0.9}}, "needs the whole distribution"),
        ({"engine": {"kind": "native"}, "sampling": {"top_k": 5}}, "needs the whole distribution"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_before_anything_starts(options, said):
    with pytest.raises(ConfigError, match=said):
        run("reinforce", **{**GRPO, **options})


def test_a_server_that_is_not_there_is_said():
    with pytest.raises(EngineError, match="ConnectionRefused"):
        run("reinforce", **GRPO, **{"engine": {"kind": "vllm", "urls": "http://localhost:1"}})


def kept(out: str = "kept", method: dict = GRPO, **options) -> list[dict]:
    return run("reinforce", out, phases=3, rollouts="answers", **{**method, **options})


@pytest.mark.parametrize("options", [GRPO, METHODS["remax"], {**GRPO, "sampler": "float32"}], ids=["grpo", "remax", "read again"])
def test_answers_that_were_kept_are_learned_from_again_with_the_same_bits(options, monkeypatch):
    straight, first = run("reinforce", "straight", phases=3, **options), kept(method=options)
    monkeypatch.setattr(Engine, "generate", None)
    assert kept("again", options) == first == straight
    assert weights("again", "reinforce") == weights("kept", "reinforce") == weights("straight", "reinforce")


def test_answers_of_a_lagging_sampler_are_left_with_their_versions_and_learned_from_without_it(beside, monkeypatch):
    first = kept(**native(1))
    assert kept("again", **native(1)) == first  # asked ahead again, or weights would be others
    monkeypatch.setattr(Engine, "generate", None)
    assert kept("here") == first
    assert first[-1]["policy_lag"] == 1
    assert weights("here", "reinforce") == weights("kept", "reinforce")


def test_kept_answers_to_something_else_are_refused():
    kept()
    with pytest.raises(ArtefactError, match="answers/000000-rollout: has answers for other sampling than this run asks with"):
        kept("again", sampling={"max_new_tokens": 39})
    file = Path("answers/000001-rollout/answers.safetensors")
    file.write_bytes(file.read_bytes()[:-1] + b"\xff")
    with pytest.raises(ArtefactError, match="content does not match its manifest"):
        kept("third")


def whole(out: str, **options) -> str:
    """The stage as the pipeline runs it, with what is kept; what it said this time."""
    before = log(out) if Path(out).exists() else ""
    learns = {"objective": {"kind": "policy_gradient", "entropy_coef": 1.0}}  # whatever the rewards are
    above = {"machine": MACHINE, "save_every_s": 0.0}
    stage = {"model": "base", **SAMPLED, **GRPO, **learns, "rollouts": "answers", **options}
    execute(single("reinforce", stage | above), Path(out), quiet=True)
    return log(out).removeprefix(before)


def test_a_stage_that_is_complete_is_run_again_when_answers_that_it_took_from_others_have_changed(monkeypatch):
    whole("first")
    assert "complete, nothing to do" in whole("first")  # what it left itself is no input
    faster = {"optimizer": {"kind": "adamw", "lr": 2e-2}}
    with monkeypatch.context() as patched:
        patched.setattr(Engine, "generate", None)
        whole("second", **faster)
        assert "complete, nothing to do" in whole("second", **faster)
    learned = weights("second", "reinforce")
    shutil.rmtree("answers/000001-rollout")
    whole("third", model="teacher")  # from the first phase of the first, and then on its own
    assert "complete, nothing to do" in whole("third", model="teacher")
    assert "options or inputs changed" in whole("second", **faster)
    assert weights("second", "reinforce") != learned


def test_a_run_that_was_killed_goes_on_although_it_has_left_answers_since():
    with lost_before(3):
        whole("killed")
    said = whole("killed")
    assert "going on after step 2" in said
    assert "changed" not in said
