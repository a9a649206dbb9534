"""Guests through the stages: an architecture that we do not build is imported as one, and every stage that it can pass knows it."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from tests.nn.io_models import FILES, V, ours, save_theirs
from trivium.core.errors import ArtefactError, ConfigError
from trivium.core.run import Run
from trivium.generate.sampling import Sampling
from trivium.nn.io.config_json import is_guest
from trivium.nn.io.directory import save_model
from trivium.nn.io.tokenizer_files import write_tokenizer_files
from trivium.nn.native.library import why_not
from trivium.stages.base import Foresight
from trivium.stages.recipe import single
from trivium.stages.use.chat import answer_all
from trivium.stages.use.exchange import export_model, import_model

MACHINE = {"threads": 1, "precision": "float32", "compile": "off", "ceiling": 5e10, "kernels": "torch" if why_not() else "native"}
WORDS = ("king", "land", "ships", "people", "user", "hello", "world", "assistant")
STAGES: dict[str, dict[str, Any]] = {
    "finetune": {"data": "chat.jsonl", "steps": 3, "batch_size": 4},
    "prefer": {"data": "pairs.jsonl", "steps": 3, "batch_size": 4},
    "reinforce": {
        "reward_model": "judge", "prompts": "prompts.jsonl", "phases": 1, "prompts_per_phase": 4, "passes": 1,
        "sampling": {"max_new_tokens": 4},
    },
}  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model of transformers as it is found, the guest made of it, a judge of ours, and a little data."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    shape = transformers.BloomConfig(vocab_size=V, hidden_size=32, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=2, pad_token_id=1)
    bloom = save_theirs(transformers.BloomForCausalLM(shape), tmp_path / "bloom")
    write_tokenizer_files(bloom, FILES["tokenizer_json"], FILES["tokenizer_config"], max_seq_len=64)
    import_model("bloom", Path("guest"), is_guest=True)
    save_model(tmp_path / "judge", ours("llama", has_scalar=True), **FILES)
    chats = [{"messages": [{"role": "user", "content": word}, {"role": "assistant", "content": word * 2}]} for word in WORDS]
    pairs = [{"prompt": word, "chosen": word, "rejected": "no"} for word in WORDS]
    for name, rows in {"chat": chats, "pairs": pairs, "prompts": [{"prompt": word} for word in WORDS]}.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def stage_of(kind: str, **options: Any) -> Any:
    return single(kind, {"model": "guest", "seq_len": 64, "micro_batch_rows": 4, **STAGES.get(kind, {}), **options}).stages[kind]


def run(stage: Any, out: str = "out") -> Path:
    stage.check()
    with Run(Path(out), quiet=True, machine=MACHINE) as running:
        running.begin(stage.kind, {})
        stage.run(running)
    return Path(out) / stage.kind


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return transformers.AutoModelForCausalLM.from_pretrained(folder).state_dict()


@pytest.mark.parametrize("kind", STAGES)
def test_a_guest_is_trained_and_left_as_a_directory_of_its_own_architecture(place, kind):
    folder = run(stage_of(kind)) / "model"
    before, after = weights(place / "bloom"), weights(folder)
    assert before.keys() == after.keys()
    assert not torch.equal(before["transformer.word_embeddings.weight"], after["transformer.word_embeddings.weight"])
    assert json.loads((folder / "config.json").read_text())["model_type"] == "bloom"
    assert is_guest(folder)
    [line] = answer_all(folder, "king", Sampling(temperature=0, max_new_tokens=4), seed=1)
    assert json.loads(line)["prompt"] == "king"


def test_evaluation_compares_guests_and_says_once_why_it_is_slow(place):
    models = {"model": "guest", "again": "guest"}
    stage = single("evaluate", {"models": models, "reference": "guest", "prompts": "prompts.jsonl", "seq_len": 64,
                                "sampling": {"max_new_tokens": 4}}).stages["evaluate"]  # fmt: skip
    table = json.loads((run(stage) / "results.json").read_text())
    found = {(row["stage"], row["measure"]): row["value"] for row in table}
    assert found["model", "kl_from_reference"] == pytest.approx(0, abs=1e-5)
    assert found["model", "entropy"] == found["again", "entropy"]
    reasons = [line for line in (place / "out" / "log.txt").read_text().splitlines() if "which is slower" in line]
    assert len(reasons) == (2 if MACHINE["kernels"] == "native" else 0)  # reading and sampling
    assert all(line.endswith("a guest is run by transformers") for line in reasons)


def test_a_guest_is_exported_as_what_it_was(place):
    export_model(Path("guest"), Path("back"), to="hf")
    assert is_guest(place / "back")
    assert all(torch.equal(weights(place / "back")[name], tensor) for name, tensor in weights(place / "bloom").items())


def test_nothing_is_a_guest_unless_somebody_said_so(place):
    assert (is_guest(place / "guest"), is_guest(place / "bloom"), is_guest(place / "judge")) == (True, False, False)
    with pytest.raises(ArtefactError, match="model_type is bloom; .* trivium import bloom FOLDER --guest"):
        run(stage_of("finetune", model="bloom"))


def test_what_a_guest_cannot_do_is_said_before_it_is_tried(place, monkeypatch):
    reward = single("reward", {"model": "guest", "data": "pairs.jsonl", "heldout": "pairs.jsonl", "steps": 1}).stages["reward"]
    for told, call in (
        ("guest: is a guest, which only speaks", lambda: run(reward)),
        ("a guest has no adapters", lambda: run(stage_of("finetune", lora={"r": 2}))),
        ("run without --dry-run", lambda: stage_of("finetune").foresee("finetune", Foresight())),
        ("a guest model cannot be written as GGUF", lambda: export_model(Path("guest"), Path("model.gguf"))),
        ("is a file; a guest is a Hugging Face directory", lambda: import_model("chat.jsonl", Path("other"), is_guest=True)),
    ):
        with pytest.raises(ConfigError, match=told):
            call()
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ConfigError, match=r"pip install 'trivium\[hf\]'"):
        import_model("bloom", Path("other"), is_guest=True)
    assert not list(place.glob("other*")) + list(place.glob("*.gguf"))


def test_noise_on_its_embeddings_is_refused(place):
    with pytest.raises(ConfigError, match="neftune_alpha: a guest's embeddings are transformers' own, which get no noise; leave it out"):
        run(stage_of("finetune", neftune_alpha=5.0))
    with pytest.raises(ConfigError, match="dropout: a guest's layers are transformers' own, from which nothing is dropped; leave it out"):
        run(stage_of("finetune", dropout=0.1))
