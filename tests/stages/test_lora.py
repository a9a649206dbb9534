"""The training stages with `lora`: what they leave, what they keep frozen, and that a kill changes nothing."""

import gc
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from tests.nn.adapters import SMALL, fill
from tests.nn.io_models import FILES, SHAPES, logits, ours
from tests.stages.power import lost_before
from trivium.core.errors import ArtefactError, ConfigError
from trivium.core.interrupt import Interrupted
from trivium.core.run import Run
from trivium.data.pack import pack
from trivium.generate.sampling import Sampling
from trivium.learn.objectives.preference import DPO
from trivium.nn.adapter import adapt, frozen_reference
from trivium.nn.config import ModelConfig
from trivium.nn.io.directory import load_model, read_config, save_model
from trivium.nn.lora import LoRA
from trivium.nn.model import Model
from trivium.nn.native.library import why_not
from trivium.nn.outputs import Outputs
from trivium.stages.base import Foresight
from trivium.stages.computing.models import Speaker, ranked_group
from trivium.stages.machine import Machine
from trivium.stages.pipeline import _content
from trivium.stages.recipe import single
from trivium.stages.use.chat import answer_all, model_folder
from trivium.text.read import read_preferences
from trivium.train.annotate import annotate, logprobs
from trivium.train.trainer import Trainer

MACHINE = {"threads": 1, "precision": "float32", "compile": "off", "ceiling": 5e10}
WORDS = ("king", "land", "ships", "people", "user", "hello", "world", "assistant")
TOKENS_BL = torch.arange(24).view(2, 12) + 5
COMMON = {"seq_len": 64, "micro_batch_rows": 4, "lora": {"r": 4, "alpha": 8.0}}
STAGES: dict[str, dict[str, Any]] = {
    "finetune": {"data": "chat.jsonl", "steps": 3, "batch_size": 4},
    "reward": {"data": "pairs.jsonl", "heldout": "pairs.jsonl", "steps": 3, "batch_size": 4},
    "prefer": {"data": "pairs.jsonl", "steps": 3, "batch_size": 4},
    "reinforce": {
        "reward_model": "judge", "prompts": "prompts.jsonl", "phases": 2, "prompts_per_phase": 4, "passes": 1,
        "sampling": {"max_new_tokens": 6},
    },
}  # fmt: skip


@pytest.fixture(params=["torch", pytest.param("native", marks=pytest.mark.skipif(bool(why_not()), reason=str(why_not())))])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a base model, a reward model, and a little data; the working directory. Once with each kind of kernels."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(MACHINE, "kernels", request.param)
    monkeypatch.setitem(SHAPES, "gpt_neox", replace(SHAPES["gpt_neox"], num_heads=2, num_kv_heads=2, head_dim=16))  # whole vectors
    save_model(tmp_path / "base", ours("gpt_neox"), **FILES)
    save_model(tmp_path / "judge", ours("gpt_neox", has_scalar=True), **FILES)
    chats = [{"messages": [{"role": "user", "content": word}, {"role": "assistant", "content": word * 2}]} for word in WORDS]
    pairs = [{"prompt": word, "responses": [word, "no", "a"], "ranking": [[0], [1], [2]]} for word in WORDS]
    for name, rows in {"chat": chats, "pairs": pairs, "prompts": [{"prompt": word} for word in WORDS]}.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def stage_of(kind: str, **options: Any) -> Any:
    return single(kind, {"model": "base", **STAGES[kind], **COMMON, **options}).stages[kind]


def run(kind: str, out: str = "out", *, save_every_s: float = 1e9, **options: Any) -> Path:
    """Run one stage in `out`, from its checkpoint if there is one, and give its folder."""
    stage = stage_of(kind, **options)
    stage.check()
    with Run(Path(out), quiet=True, machine=MACHINE, save_every_s=save_every_s) as running:
        assert running.begin(kind, {})
        stage.run(running)
    return Path(out) / kind


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def tensors(file: Path) -> dict[str, torch.Tensor]:
    with safe_open(file, "pt") as source:
        return {name: source.get_tensor(name) for name in source.keys()}  # noqa: SIM118  (not a dict)


@pytest.mark.parametrize("kind", STAGES)
def test_a_stage_leaves_an_adapter_and_the_model_it_was_merged_into(place, kind):
    folder = run(kind)
    machine, has_scalar = Machine(**MACHINE), kind == "reward"
    through, merged = (Speaker.load(folder / name, machine, has_scalar=has_scalar).model.state_dict() for name in ("adapter", "model"))
    if has_scalar:  # a reward model has no use for its language head, so its directory has none
        del through["trunk.head.weight"], merged["trunk.head.weight"]
    torch.testing.assert_close(through, merged, rtol=0, atol=0)
    base, now = tensors(place / "base/model.safetensors"), tensors(folder / "model/model.safetensors")
    changed = {name for name in base.keys() & now.keys() if not torch.equal(base[name], now[name])}
    assert changed == {name for name in now if ".layers." in name and now[name].dim() == 2}


@pytest.mark.parametrize("kind", STAGES)
def test_killed_and_continued_is_the_same_to_the_bit(place, kind):
    straight = run(kind, "straight", save_every_s=0.0)
    with lost_before(2 if kind != "reinforce" else 3):
        run(kind, "killed", save_every_s=0.0)
    resumed = run(kind, "killed", save_every_s=0.0)
    for part in ("adapter", "model"):
        assert files(resumed / part) == files(straight / part)
    assert (resumed.parent / "metrics.jsonl").read_bytes() == (straight.parent / "metrics.jsonl").read_bytes()


def test_a_checkpoint_holds_what_is_trained_and_names_its_base(place):
    folder = run("reward")
    [checkpoint] = (folder / "checkpoints").iterdir()
    held = tensors(checkpoint / "policy.safetensors")
    weights = {name.removeprefix("model.") for name in held if name.startswith("model.")}
    assert {name.rpartition(".")[2] for name in weights if "trunk" in name} == {"lora_A", "lora_B"}
    assert {name for name in weights if "trunk" not in name} == {"scalar_head.weight", "scalar_head.gain", "scalar_head.bias"}
    state = {name.split(".", 2)[2] for name in held if name.startswith("optimizer.")}
    assert state == {name for name in weights if not name.endswith((".gain", ".bias"))}
    numbers = sum(tensor.numel() for name, tensor in held.items() if name.startswith("model.trunk"))
    assert numbers < LoRA(r=4).num_parameters(read_config(place / "base"))  # query, key and value share their A
    assert len(json.loads((checkpoint / "state.json").read_text())["bases"]["policy"]) == 32


def test_a_checkpoint_on_another_base_is_refused(place):
    folder = run("finetune")
    other = ours("gpt_neox")
    with torch.no_grad():
        other.trunk.blocks[0].mlp.up.weight[0, 0] += 1e-3
    save_model(place / "base", other, **FILES)
    with pytest.raises(ArtefactError, match="belongs to an adapter on another base; delete out/finetune to start this stage again"):
        run("finetune")
    assert folder.exists()


def seen_models(kind: str, monkeypatch: pytest.MonkeyPatch) -> list[Model]:
    """Every model that exists when the first update of a stage begins."""
    found: list[Model] = []

    def stopped(*_: Any) -> dict[str, float]:
        found.extend(thing for thing in gc.get_objects() if type(thing) is Model)
        raise Interrupted(15, "seen enough")

    before = {id(thing) for thing in gc.get_objects() if type(thing) is Model}
    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "step", stopped)
        with pytest.raises(Interrupted):
            run(kind)
    return [model for model in found if id(model) not in before]


@pytest.mark.parametrize(("kind", "networks", "bases"), [("prefer", 1, 1), ("reinforce", 4, 2)])
def test_reference_and_judge_hold_no_weights_of_their_own(place, kind, networks, bases, monkeypatch):
    """PPO has four networks, but the weights of two: policy = reference with its adapter off, critic = judge."""
    models = seen_models(kind, monkeypatch)
    assert len(models) == networks
    embeddings = {model.trunk.embed.weight.data_ptr() for model in models}
    matrices = {
        parameter.data_ptr() for model in models for name, parameter in model.named_parameters() if name.endswith("down.base.weight")
    }
    references = {parameter.data_ptr() for model in models for name, parameter in model.named_parameters() if name.endswith("down.weight")}
    assert len(embeddings) == bases
    assert references == (matrices if networks > bases else set())
    assert len(matrices) == bases * 2


def test_dpo_with_the_adapter_off_as_reference_is_dpo_with_a_second_copy(place):
    speaker = Speaker.load(place / "base", Machine(**MACHINE))
    groups = [ranked_group(speaker, item)[:2] for item in read_preferences(place / "pairs.jsonl")]
    adapt(speaker.model, SMALL, seed=1)
    fill(speaker.model)
    losses = []
    for reference in (frozen_reference(speaker.model), load_model(place / "base")):
        [batch] = pack(annotate(groups, reference, "ref_logprobs", logprobs, rows=4, length=64), rows=16, length=64)
        loss_G, _ = DPO(beta=0.5)(Outputs(speaker.model, batch), batch)
        losses.append(loss_G)
    assert losses[0].std() > 0.01  # the policy has left its reference
    torch.testing.assert_close(losses[0], losses[1], atol=1e-6, rtol=0)


def test_an_int8_base_is_trained_on_and_left_merged(place):
    folder = run("prefer", lora={"r": 4, "base": "int8"})
    base, now = (load_model(path) for path in (place / "base", folder / "model"))
    with torch.no_grad():
        expected, found = logits(base, TOKENS_BL), logits(now, TOKENS_BL)
    assert 0 < float((found - expected).norm() / expected.norm()) < 0.05


def test_an_adapter_is_a_model_wherever_one_is_asked_for(place):
    folder = run("finetune") / "adapter"
    assert model_folder(folder) == folder
    [line] = answer_all(folder, "king", Sampling(temperature=0, max_new_tokens=4), seed=1)
    assert json.loads(line)["prompt"] == "king"
    further = run("prefer", "further", model=str(folder), lora=None)
    assert (further / "model").is_dir()
    assert not (further / "adapter").exists()
    assert stage_of("prefer", model=str(folder)).foresee("prefer", Foresight()).parameters > 0


def test_an_adapter_on_an_adapter_is_refused(place):
    folder = run("finetune") / "adapter"
    with pytest.raises(ConfigError, match="is an adapter; a new one needs a whole model below it"):
        run("prefer", "further", model=str(folder))


def test_what_an_adapter_says_depends_on_its_base_too(place):
    folder = run("finetune") / "adapter"
    before = _content(str(folder))
    assert _content(str(folder)) == before
    save_model(place / "base", ours("gpt_neox"), dtype="bfloat16", **FILES)
    assert _content(str(folder)) != before


@pytest.mark.parametrize("kind", STAGES)
def test_an_adapter_takes_less_memory_and_work_and_a_dry_run_knows(place, kind):
    works = [stage_of(kind, lora=lora).foresee(kind, Foresight(models={})) for lora in (None, {"r": 2}, {"r": 2, "base": "int8"})]
    full, adapted, int8 = works
    assert full.memory_bytes > adapted.memory_bytes > int8.memory_bytes > 0
    assert 2 / 3 * full.flops < adapted.flops < full.flops


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"r": 0}, "'lora.r' is 0"),
        ({"targets": ["q_proj"]}, "'lora.targets.0' is 'q_proj'; it is one of: 'query', 'key'"),
        ({"rank": 4}, "unknown option 'lora.rank'"),
        ({"base": "int4"}, "'lora.base' is 'int4'; it is one of: 'float32' or 'int8'"),
    ],
)
def test_a_wrong_option_is_named(options, message):
    with pytest.raises(ConfigError, match=message):
        stage_of("finetune", lora=options)


def test_the_memory_of_a_large_model_is_mostly_its_weights():
    config = ModelConfig(
        vocab_size=49152, hidden_size=2048, num_layers=24, num_heads=32, num_kv_heads=32, head_dim=64, intermediate_size=8192, tie_head=True
    )
    assert LoRA().num_parameters(config) < 0.02 * 1.7e9
    assert 11 < LoRA().saved_bytes(config) / 1.7e9 < 12
