"""Reward models as others know them: classifiers with one label, in and out, with equal scores for padded batches."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from tests.nn.io_models import EXPORTED, FILES, SHAPES, STOPS, TOKENIZER, ours, save_theirs, theirs
from trivium.core.errors import ArtefactError
from trivium.core.types import Conversation, Example, Message, example
from trivium.data.pack import pack
from trivium.learn.objectives import Ranking
from trivium.learn.schedules import Schedule
from trivium.nn.io.classifier import fold
from trivium.nn.io.directory import load_model, save_model
from trivium.nn.model import Model, initialise
from trivium.stages.computing.models import Speaker
from trivium.stages.machine import Machine
from trivium.stages.use.exchange import export_model
from trivium.text.chat import PLAIN
from trivium.train.annotate import final_scores
from trivium.train.trainer import Trainer

MACHINE = Machine(precision="float32", kernels="torch")
TURNS = (("the king", "12 ships"), ("a user asks, an assistant answers", "hello"), ("people", "the land of the people, the king said"))
LAYOUT = {"rows": 4, "length": 64}


@pytest.fixture(autouse=True)
def quiet():
    transformers.utils.logging.disable_progress_bar()


def answers(speaker: Speaker) -> list[Example]:
    return [speaker.answer((Message("user", asked),), said) for asked, said in TURNS]


def their_scores(folder: Path, items: list[Example], *, is_left: bool) -> list[float]:
    """Scores of one padded batch by transformers, as anybody would ask for them."""
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    pad, length = model.config.pad_token_id, max(len(item.tokens) for item in items)
    tokens, mask = torch.full((len(items), length), pad), torch.zeros((len(items), length), dtype=torch.long)
    for row, item in enumerate(items):
        span = slice(length - len(item.tokens), length) if is_left else slice(len(item.tokens))
        tokens[row, span], mask[row, span] = torch.from_numpy(item.tokens.astype(np.int64)), 1
    with torch.no_grad():
        return model(tokens, attention_mask=mask, position_ids=(mask.cumsum(-1) - 1).clamp(min=0)).logits[:, 0].tolist()


@pytest.mark.parametrize("is_left", [False, True])
@pytest.mark.parametrize("family", [*EXPORTED])
def test_an_exported_reward_model_gives_its_scores_in_transformers(family, is_left, tmp_path):
    notes: list[str] = []
    save_model(tmp_path / "reward", ours(family, has_scalar=True), **FILES)
    export_model(tmp_path / "reward", tmp_path / "out", to="hf", on_note=notes.append)
    judge = Speaker.load(tmp_path / "reward", MACHINE)
    config = json.loads((tmp_path / "out/config.json").read_text())
    has_bias = SHAPES[family].norm == "layer"
    assert config["score_gain"] == 1
    assert config["score_bias"] == (0 if has_bias else pytest.approx(-1.23456789))
    assert len(notes) == (0 if has_bias else 1)
    expected = judge.scores(answers(judge), **LAYOUT)
    found = np.array(their_scores(tmp_path / "out", answers(judge), is_left=is_left)) + config["score_bias"]
    assert found == pytest.approx(expected, abs=1e-5)
    back = Speaker.load(tmp_path / "out", MACHINE)
    assert back.scores(answers(back), **LAYOUT) == pytest.approx(expected, abs=1e-5)


def test_the_note_says_what_to_add(tmp_path):
    notes: list[str] = []
    save_model(tmp_path / "reward", ours("llama", has_scalar=True), **FILES)
    export_model(tmp_path / "reward", tmp_path / "out", to="hf", on_note=notes.append)
    assert "other tools give scores that are +1.23457 apart from ours" in notes[0]
    assert "score_bias in config.json is what to add" in notes[0]


def test_what_is_folded_is_gone_from_the_head():
    model = ours("gpt_neox", has_scalar=True)
    assert fold(model) == 0
    assert (float(model.scalar_head.gain), float(model.scalar_head.bias)) == (1, 0)
    empty = ours("gpt_neox", has_scalar=True)
    with torch.no_grad():
        empty.scalar_head.weight.zero_()
    assert fold(empty) == pytest.approx(-1.23456789)  # nothing points anywhere, so the bias has no place in the norm


def test_padding_that_ends_answers_is_replaced(tmp_path):
    """SmolLM2 pads with the token that ends an answer: transformers would read the score one token too early."""
    files = FILES | {"tokenizer_config": {**FILES["tokenizer_config"], "pad_token": "<|end|>"}}
    model = ours("gpt2", has_scalar=True)
    save_model(tmp_path / "reward", model, **files)
    config = json.loads((tmp_path / "reward/config.json").read_text())
    assert config["pad_token_id"] == TOKENIZER.special["<|pad|>"]
    assert json.loads((tmp_path / "reward/tokenizer_config.json").read_text())["pad_token"] == "<|pad|>"
    judge = Speaker.load(tmp_path / "reward", MACHINE)
    found = np.array(their_scores(tmp_path / "reward", answers(judge), is_left=False))
    assert found * config["score_gain"] + config["score_bias"] == pytest.approx(judge.scores(answers(judge), **LAYOUT), abs=1e-5)
    save_model(tmp_path / "speaks", ours("gpt2"), **files)
    assert json.loads((tmp_path / "speaks/config.json").read_text())["pad_token_id"] == TOKENIZER.special["<|end|>"]


@pytest.mark.parametrize("name", ["llama tied", "qwen2", "qwen3", "mistral", "smollm3", "neox", "gpt2", "gemma2", "gemma3"])
def test_a_reward_model_of_others_judges_here(name, tmp_path):
    folder = save_theirs(theirs(name, judges=True), tmp_path / "hf")
    (folder / "tokenizer.json").write_text(FILES["tokenizer_json"])
    (folder / "tokenizer_config.json").write_text(json.dumps(FILES["tokenizer_config"]))
    judge = Speaker.load(folder, MACHINE, has_scalar=True)
    assert judge.process is None
    expected = their_scores(folder, answers(judge), is_left=False)
    assert judge.scores(answers(judge), **LAYOUT) == pytest.approx(expected, abs=1e-5)


def test_a_classifier_with_two_labels_is_no_reward_model(tmp_path):
    config = transformers.LlamaConfig(**{"num_hidden_layers": 1, "hidden_size": 32, "intermediate_size": 48, "vocab_size": 300})
    folder = save_theirs(transformers.LlamaForSequenceClassification(config), tmp_path / "hf")
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"id2label": {"0": "bad", "1": "good"}}))
    with pytest.raises(ArtefactError, match="id2label .*it has 2 labels; a reward model has one"):
        load_model(folder)


@pytest.mark.parametrize("family", SHAPES)
def test_a_scalar_head_on_every_family_trains_and_loads_back(family, tmp_path):
    model = initialise(Model(SHAPES[family], has_scalar=True), seed=3)
    rng = np.random.default_rng(0)
    groups = []
    for _ in range(4):
        ends = [5 if rank == 0 else 6 for rank in range(2)]  # the better answer ends with another token
        items = [example([*rng.integers(7, 250, 6), end], rank=np.full(7, rank, float)) for rank, end in enumerate(ends)]
        groups.append(tuple(items))
    adamw = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.0)
    trainer = Trainer("policy", model, Ranking(), [adamw], schedule=Schedule(decay_share=0), steps=100)
    batches = pack(groups, rows=8, length=8)
    first = trainer.step(0, batches)
    reports = [trainer.step(step, batches) for step in range(1, 16)]
    assert first["loss"] == pytest.approx(np.log(2), abs=1e-6)  # a head of zeros has no opinion
    assert reports[-1]["loss"] < 0.5 * first["loss"]
    assert reports[-1]["accuracy"] == 1
    model.normalise_scores(0.25, 2.0)
    save_model(tmp_path / "reward", model, **FILES)
    loaded = load_model(tmp_path / "reward")
    items = [item for group in groups for item in group]
    assert final_scores(loaded, items, **LAYOUT) == pytest.approx(final_scores(model, items, **LAYOUT), abs=1e-6)
    assert (float(loaded.scalar_head.gain), float(loaded.scalar_head.bias)) == (0.5, -0.125)


def test_the_last_answer_of_a_conversation_is_what_is_judged():
    judge = Speaker(ours("llama", has_scalar=True), TOKENIZER, PLAIN)
    before = (Message("user", "the king"), Message("assistant", "no"), Message("user", "people"))
    found = judge.last_answer(Conversation((*before, Message("assistant", "land"), Message("user", "and"))))
    assert found.tokens.tolist() == judge.answer(before, "land").tokens.tolist()
    assert found.tokens[-1] in STOPS
