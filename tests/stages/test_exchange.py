"""Models in and out: what comes in can be talked to at once, what is wrong leaves nothing behind."""

import json
import sys
from pathlib import Path

import pytest
import torch

from tests.nn.adapters import SMALL, fill
from tests.nn.io_models import FILES, SHAPES, TOKENIZER
from trivium.core.commit import verify
from trivium.core.errors import ArtefactError, ConfigError
from trivium.core.types import Message
from trivium.nn.adapter import adapt, merge
from trivium.nn.io.directory import load_model, save_model
from trivium.nn.io.peft import save_adapter
from trivium.nn.model import Model
from trivium.stages.base import check_model, known_model
from trivium.stages.computing.models import Speaker
from trivium.stages.machine import Machine
from trivium.stages.use import exchange
from trivium.stages.use.chat import model_folder
from trivium.stages.use.exchange import export_model, import_model, model_path
from trivium.text import assets
from trivium.text.chat import PLAIN

MACHINE = Machine(precision="float32")


def made(folder: Path, **changes: object) -> Path:
    """A model directory without our own word for its chat format, as a foreign one."""
    torch.manual_seed(5)
    model = Model(SHAPES["llama"])
    save_model(folder, model, **{**FILES, **changes})
    (folder / "manifest.json").unlink()
    return folder


def test_a_model_goes_to_gguf_and_comes_back_the_same(tmp_path):
    folder = made(tmp_path / "foreign")
    file = export_model(folder, tmp_path / "out" / "model.gguf", to="gguf", dtype="f32")
    back = import_model(str(file), tmp_path / "back")
    verify(back, kind="model")
    for name, tensor in load_model(folder).state_dict().items():
        assert torch.equal(load_model(back).state_dict()[name], tensor), name
    speaker = Speaker.load(back, MACHINE)
    assert speaker.chat.opening == PLAIN.opening
    messages = (Message("user", "how many ships?"),)
    assert speaker.prompt(messages).tolist() == Speaker(speaker.model, TOKENIZER, PLAIN).prompt(messages).tolist()
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["model.gguf"]


def test_a_foreign_directory_is_taken_in_half_the_space(tmp_path):
    back = export_model(made(tmp_path / "foreign"), tmp_path / "back", to="hf", dtype="bf16")
    assert json.loads((back / "config.json").read_text())["torch_dtype"] == "bfloat16"
    for name, tensor in load_model(tmp_path / "foreign").state_dict().items():
        assert torch.equal(load_model(back).state_dict()[name], tensor.bfloat16().float()), name


@pytest.mark.parametrize("has_scalar", [False, True])
def test_an_adapter_is_exported_as_the_model_it_was_trained_into(tmp_path, has_scalar):
    base = made(tmp_path / "base")
    model = load_model(base, has_scalar=has_scalar)
    adapt(model, SMALL, seed=1)
    fill(model)
    save_adapter(tmp_path / "adapter", model, SMALL, base=base)
    merge(model)
    copies = [export_model(tmp_path / "adapter", tmp_path / "copy", to="hf")]
    if has_scalar:
        with pytest.raises(ConfigError, match="a reward model or critic cannot be written as GGUF"):
            export_model(tmp_path / "adapter", tmp_path / "copy.gguf", dtype="f32")
    else:
        file = export_model(tmp_path / "adapter", tmp_path / "copy.gguf", dtype="f32")
        copies.append(import_model(str(file), tmp_path / "back"))
    for copy in copies:
        found = load_model(copy).state_dict()
        assert found.keys() == model.state_dict().keys()
        assert all(torch.equal(found[name], tensor) for name, tensor in model.state_dict().items())


def test_an_adapter_without_its_base_is_one_line(tmp_path):
    base = made(tmp_path / "base")
    model = load_model(base)
    adapt(model, SMALL, seed=1)
    save_adapter(tmp_path / "adapter", model, SMALL, base=base)
    base.rename(tmp_path / "elsewhere")
    with pytest.raises(ArtefactError, match="base_model_name_or_path is '../base', which is no model directory"):
        export_model(tmp_path / "adapter", tmp_path / "copy", to="hf")


def test_a_template_in_a_file_of_its_own_is_found(tmp_path):
    config = dict(FILES["tokenizer_config"])
    template = config.pop("chat_template")
    folder = made(tmp_path / "foreign", tokenizer_config=config)
    (folder / "chat_template.jinja").write_text(template)
    assert Speaker.load(folder, MACHINE).chat.closing["user"] == PLAIN.closing["user"]


def test_an_unknown_template_is_kept_but_not_spoken(tmp_path):
    config = {**FILES["tokenizer_config"], "chat_template": "{{ messages[-1]['content'] | upper }}"}
    folder, notes = made(tmp_path / "foreign", tokenizer_config=config), []
    back = import_model(str(folder), tmp_path / "back", on_note=notes.append)
    assert len(notes) == 1
    assert "trivium_chat" in notes[0]
    assert json.loads((back / "tokenizer_config.json").read_text())["chat_template"] == config["chat_template"]
    with pytest.raises(ArtefactError, match="its form is not recognised"):
        Speaker.load(back, MACHINE)


@pytest.fixture
def named(tmp_path, monkeypatch) -> Path:
    """The asset smollm2 as a tiny GGUF file, in a cache of its own."""
    monkeypatch.setenv("TRIVIUM_CACHE", str(tmp_path / "cache"))
    file = export_model(made(tmp_path / "foreign"), tmp_path / "tiny.gguf", dtype="f16")
    monkeypatch.setattr(assets, "fetch", lambda name: file)
    return file


def test_a_named_model_is_imported_once_and_then_used(named, monkeypatch):
    check_model("smollm2")
    folder = model_path("smollm2")
    assert known_model(None, "smollm2") == SHAPES["llama"]
    named.unlink()  # now only the cache has it
    assert model_folder(Path("smollm2")) == model_path("smollm2") == folder
    assert Speaker.load(folder, MACHINE).tokenizer.fingerprint == TOKENIZER.fingerprint


def test_nothing_is_left_of_what_goes_wrong(tmp_path):
    folder, out = made(tmp_path / "foreign"), tmp_path / "out"
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(export_model(folder, tmp_path / "model.gguf").read_bytes()[:-100])
    other = tmp_path / "photographs"
    other.mkdir()
    (other / "holiday.jpg").write_bytes(b"jpg")
    for told, kind, call in (
        ("is it cut off?", ArtefactError, lambda: import_model(str(damaged), out)),
        ("no such file, folder or named model", ConfigError, lambda: import_model("smollm3", out)),
        ("dtype is 'f8'", ConfigError, lambda: import_model(str(folder), out, dtype="f8")),
        ("folder with other content", ConfigError, lambda: import_model(str(folder), other)),
        ("use f16", ConfigError, lambda: export_model(folder, out, dtype="q8_0")),
        ("for gguf it is one of", ConfigError, lambda: export_model(folder, out, dtype="bf16")),
        ("format is 'onnx'", ConfigError, lambda: export_model(folder, out, to="onnx")),
        ("is a folder; a GGUF model is a file", ConfigError, lambda: export_model(folder, other)),
        ("trivium import", ArtefactError, lambda: check_model(str(damaged))),
    ):
        with pytest.raises(kind, match=told):
            call()
    assert not out.exists()
    assert [entry.name for entry in other.iterdir()] == ["holiday.jpg"]
    assert not [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")]


def test_a_control_token_that_there_is_not_is_named_with_its_file(tmp_path):
    file = made(tmp_path / "foreign") / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"eos_token": "<|ende|>"}))
    with pytest.raises(ArtefactError, match=rf"{file}: eos_token is '<\|ende\|>', which is no control token"):
        import_model(str(file.parent), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_no_model_is_not_replaced(tmp_path):
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    with pytest.raises(ConfigError, match="mine.txt: is there already and no GGUF file"):
        export_model(made(tmp_path / "foreign"), mine)
    assert mine.read_text() == "mine"
    once = export_model(tmp_path / "foreign", tmp_path / "model.gguf").read_bytes()
    assert export_model(tmp_path / "foreign", tmp_path / "model.gguf").read_bytes() == once


def test_without_the_package_gguf_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ConfigError, match=r"pip install 'trivium\[gguf\]'"):
        exchange.export_model(made(tmp_path / "foreign"), tmp_path / "model.gguf")
    assert not (tmp_path / "model.gguf").exists()
