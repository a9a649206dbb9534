"""A model whose shape sends it back to PyTorch: the log says so once, with the reason, wherever it trains, reads or samples."""

import json
from pathlib import Path

import pytest

from tests.nn.io_models import FILES, ours
from trivium.core.errors import ConfigError
from trivium.core.run import Run
from trivium.generate.sampling import Sampling
from trivium.nn.config import llama
from trivium.nn.io.directory import save_model
from trivium.nn.model import Model
from trivium.nn.native.library import why_not
from trivium.stages.computing.models import sampling_precision
from trivium.stages.machine import Machine
from trivium.stages.pipeline import execute
from trivium.stages.recipe import single
from trivium.stages.use.chat import answer_all
from trivium.stages.use.talk import talk
from trivium.train.mesh import Parallel, arranged, arrangement

pytestmark = pytest.mark.skipif(bool(why_not()), reason=str(why_not()))

MACHINE = {"threads": 1, "precision": "float32", "compile": "off", "ceiling": 5e10}
READING = "no native kernels, which is slower: head_dim (8) is no multiple of 16"
SAMPLING = "no native kernels for sampling, which is slower: head_dim (8) is no multiple of 16"
PROMPTS = {"prompts": "prompts.jsonl", "sampling": {"max_new_tokens": 4}}
STAGES = {
    "finetune": ({"model": "model", "data": "chat.jsonl", "steps": 1}, [READING]),
    "annotate": ({"model": "model", **PROMPTS}, [SAMPLING]),
    "sample": ({"model": "model", **PROMPTS, "prompts": "chat.jsonl", "keep": "against", "answers": 2}, [SAMPLING]),
    "evaluate": ({"models": {"one": "model", "other": "model"}, **PROMPTS}, [READING, SAMPLING]),
    "reinforce": ({"model": "model", "reward_model": "judge", "phases": 1, "prompts_per_phase": 4, **PROMPTS}, [READING, SAMPLING]),
}


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("trivium.stages.machine._matmul_flops", lambda *_: 1e9)
    save_model(tmp_path / "model", ours("llama"), **FILES)
    save_model(tmp_path / "judge", ours("llama", has_scalar=True), **FILES)
    chat = {"messages": [{"role": "user", "content": "king"}, {"role": "assistant", "content": "land"}]}
    (tmp_path / "chat.jsonl").write_text(json.dumps(chat))
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "king", "asked": "king"}\n{"prompt": "land", "asked": "land"}\n')


@pytest.mark.parametrize("kind", STAGES)
def test_a_run_says_it_once(kind, tmp_path):
    options, expected = STAGES[kind]
    stage = single(kind, options).stages[kind]
    with Run(tmp_path / "out", quiet=True, machine=MACHINE | {"kernels": "native"}) as run:
        run.begin(kind, {})
        stage.run(run)
    said = [line.split(f"{kind}: ")[1] for line in (tmp_path / "out" / "log.txt").read_text().splitlines() if "which is slower" in line]
    assert len(said) == len(expected)
    assert all(line.startswith(start) for line, start in zip(said, expected, strict=True))


def test_a_run_that_chose_torch_has_said_it_already(tmp_path):
    stage = single("annotate", STAGES["annotate"][0]).stages["annotate"]
    with Run(tmp_path / "out", quiet=True, machine=MACHINE | {"kernels": "torch"}) as run:
        run.begin("annotate", {})
        stage.run(run)
    assert "which is slower" not in (tmp_path / "out" / "log.txt").read_text()


def test_a_chat_says_it_on_the_screen_and_generate_beside_its_lines(monkeypatch, capsys):
    monkeypatch.setattr("rich.console.Console.input", lambda *_: "")
    talk({"model": Path("model")}, Sampling(temperature=0, max_new_tokens=2), seed=1)
    assert SAMPLING in " ".join(capsys.readouterr().out.split())
    [line] = answer_all(Path("model"), "king", Sampling(temperature=0, max_new_tokens=2), seed=1)
    assert json.loads(line)["prompt"] == "king"
    assert SAMPLING in capsys.readouterr().err


@pytest.mark.parametrize(("precision", "kernels", "head_dim", "expected"), [
    ("bfloat16", "native", 16, "bfloat16"), ("float32", "native", 16, "float32"), ("bfloat16", "torch", 16, "float32"),
    ("bfloat16", "native", 8, "float32"),
])  # fmt: skip
def test_the_sampler_rounds_weights_as_the_trainer_does_where_it_has_kernels(precision, kernels, head_dim, expected):
    model = Model(llama(vocab_size=64, depth=1, width=32, max_seq_len=16, head_dim=head_dim))
    machine = Machine(device="cpu", precision=precision, kernels=kernels)
    assert sampling_precision(machine, model) == expected


def test_sampling_beside_shared_layers_says_that_log_probs_differ(tmp_path):
    stage = single("reinforce", STAGES["reinforce"][0]).stages["reinforce"]
    with arranged(Parallel(tensor=2)), Run(tmp_path / "out", quiet=True, machine=MACHINE) as run:
        run.begin("reinforce", {})
        with pytest.raises(ConfigError, match="1 ranks cannot be cut"):
            stage.run(run)
    assert "log-probs differ in their last bits" in (tmp_path / "out" / "log.txt").read_text()


def test_a_run_that_computes_blocks_again_makes_the_same_model(tmp_path):
    options = {**STAGES["finetune"][0], "steps": 2, "machine": MACHINE | {"kernels": "torch"}}
    for how in ("nothing", "all"):
        execute(single("finetune", {**options, "parallel": {"recompute": how}}), tmp_path / how, quiet=True)
    once, again = ((tmp_path / how / "finetune/model/model.safetensors").read_bytes() for how in ("nothing", "all"))
    assert once == again
    assert arrangement() == Parallel()


def test_who_talks_may_ask_for_fewer_bits_where_there_are_kernels_for_them(monkeypatch):
    sampling = Sampling(temperature=0, max_new_tokens=2)
    for precision in ("bfloat16", "int8"):
        with pytest.raises(ConfigError, match=f"precision is '{precision}', which only the C.. kernels have"):
            next(answer_all(Path("model"), "king", sampling, seed=1, precision=precision))
