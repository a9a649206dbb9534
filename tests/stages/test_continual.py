"""Pre-training that goes on: from which model, on which rows, measured on which texts, and the same bits after a kill."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.nn.io_models import FILES, LARGER, TEXTS, TOKENIZER, ours
from trivium.core.errors import ArtefactError, ConfigError
from trivium.core.run import Run
from trivium.core.types import Document
from trivium.nn.io.directory import load_model, save_model
from trivium.nn.native.library import why_not
from trivium.stages import training
from trivium.stages.corpus import read_text
from trivium.stages.recipe import recipe_of, single
from trivium.stages.settle import settle
from trivium.text.shards import write_shard

SIZES = {"seq_len": 32, "batch_tokens": 128, "steps": 4, "micro_batch_rows": 4, "evaluate_rows": 4}
NEW = {"depth": 1, "width": 32, "head_dim": 16}
MACHINE = {"threads": 1, "precision": "float32", "compile": "off", "ceiling": 5e10, "kernels": "native" if why_not() is None else "torch"}
OPTIMIZER = {"kind": "adamw", "lr": 3e-3}


def tokenized(folder: Path, texts: list[str], tokenizer=TOKENIZER) -> str:
    """What `tokenize` leaves."""
    tokenizer.save(folder / "tokenizer.json")
    for part in ("train", "heldout"):
        write_shard(folder / part, [Document(text) for text in texts], tokenizer)
    return str(folder)


@pytest.fixture(scope="module")
def old(tmp_path_factory) -> str:
    return tokenized(tmp_path_factory.mktemp("old"), TEXTS * 8)


@pytest.fixture(scope="module")
def new(tmp_path_factory) -> str:
    return tokenized(tmp_path_factory.mktemp("new"), ["ships ships people people land land " * 3] * 30)


def pretrained(out: Path, save_every_s: float = 60.0, **options: Any) -> Path:
    stage = single("pretrain", {**SIZES, "optimizer": OPTIMIZER, **options}).stages["pretrain"]
    stage.check()
    with Run(out, quiet=True, machine=MACHINE, save_every_s=save_every_s) as running:
        if running.begin("pretrain", {}):
            running.finish(stage.run(running))
    return out / "pretrain"


def measured(folder: Path) -> dict[str, dict[str, float]]:
    return {row["measure"]: row for row in json.loads((folder / "results.json").read_text())}


def weights(folder: Path) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in load_model(folder / "model").state_dict().items()}


@pytest.fixture(scope="module")
def base(tmp_path_factory, old) -> Path:
    return pretrained(tmp_path_factory.mktemp("base"), tokens=old, steps=60, **NEW) / "model"


def test_it_begins_with_the_weights_of_the_model(tmp_path, base, new):
    still = pretrained(tmp_path / "still", model=str(base), tokens=new, optimizer={"kind": "adamw", "lr": 1e-30, "weight_decay": 0})
    before, after = weights(base.parent), weights(still)
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_replay_keeps_the_old_text_while_the_new_one_is_learned(tmp_path, base, old, new):
    """The two texts share no sentence; a quarter of the budget goes to the old one."""

    def after(name: str, **options: Any) -> dict[str, float]:
        found = measured(pretrained(tmp_path / name, model=str(base), **{"steps": 40, **options}))
        return {"new": (found.get("bits_per_byte_new") or found["bits_per_byte"])["value"], "old": found["bits_per_byte_old"]["value"]}

    untouched = after("untouched", tokens=new, heldout={"old": old}, steps=1, optimizer={"kind": "adamw", "lr": 1e-30})
    alone = after("alone", tokens=new, heldout={"old": old})
    mix = {"new": {"tokens": new, "weight": 0.75}, "old": {"tokens": old, "weight": 0.25, "skip": 240}}
    replayed = after("replayed", mix=mix)
    assert replayed["old"] < 0.8 * alone["old"]
    assert replayed["new"] < 0.5 * untouched["new"]
    assert alone["new"] < 0.5 * untouched["new"]


def bigrams(first: int, count: int) -> list[str]:
    """Documents over five digits from `first` on: three times in five the next digit follows, else any of the five."""
    draw, texts = np.random.default_rng(first), []
    for _ in range(count):
        digits = [int(draw.integers(5))]
        while len(digits) < 60:
            digits.append((digits[-1] + 1) % 5 if draw.random() < 0.6 else int(draw.integers(5)))
        texts.append("".join(str(first + digit) for digit in digits))
    return texts


@pytest.mark.slow
def test_of_two_domains_of_bigrams_replay_keeps_the_old_one_and_costs_the_new_one_less_than_2_per_cent(tmp_path):
    """Methods 4.3: a quarter of the budget on the old domain; the losses have a floor, the entropy of the law."""
    old, new = tokenized(tmp_path / "old", bigrams(0, 60)), tokenized(tmp_path / "new", bigrams(5, 60))
    fast = {"steps": 120, "optimizer": {"kind": "adamw", "lr": 1e-2}, "evaluate_rows": 32}
    base = pretrained(tmp_path / "base", tokens=old, **NEW, **fast) / "model"
    alone = measured(pretrained(tmp_path / "alone", model=str(base), tokens=new, heldout={"old": old}, **fast))
    mix = {"new": {"tokens": new, "weight": 3}, "old": {"tokens": old, "weight": 1, "skip": 480}}
    replayed = measured(pretrained(tmp_path / "replayed", model=str(base), mix=mix, **fast))
    assert replayed["bits_per_byte_old"]["value"] < alone["bits_per_byte_old"]["value"]
    assert replayed["bits_per_byte_new"]["value"] < 1.02 * alone["bits_per_byte"]["value"]


def test_a_mixture_of_the_old_text_alone_is_plain_training_on_it(tmp_path, base, old):
    """It begins after what was read, two updates of four rows."""
    constant = {"schedule": {"warmup_steps": 0, "decay_share": 0.0}, "model": str(base)}
    plain = pretrained(tmp_path / "plain", tokens=old, first_step=2, **constant | {"steps": 6})
    mixed = pretrained(tmp_path / "mixed", mix={"old": {"tokens": old, "weight": 1, "skip": 8}}, **constant)
    first, second = weights(plain), weights(mixed)
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_other_texts_are_measured_on_the_way_and_at_the_end(tmp_path, base, old, new):
    folder = pretrained(tmp_path / "on", model=str(base), tokens=new, heldout={"old": old}, evaluate_every=2)
    rows = [json.loads(line) for line in (folder.parent / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "bits_per_byte_old" in row] == [1, 2, 4]
    found = measured(folder)
    assert found["bits_per_byte_old"]["value"] == pytest.approx(rows[-1]["bits_per_byte_old"])
    assert found["bits_per_byte"]["value"] == pytest.approx(rows[-1]["bits_per_byte"])
    assert found["bits_per_byte_old"]["low"] < found["bits_per_byte_old"]["value"] < found["bits_per_byte_old"]["high"]


def test_going_on_is_the_same_bits_after_a_kill(tmp_path, base, old, new, monkeypatch):
    options = {"model": str(base), "mix": {"a": {"tokens": new, "weight": 3}, "b": {"tokens": old, "weight": 1, "skip": 7}}, "steps": 6}
    straight = pretrained(tmp_path / "straight", **options)

    def killed(done: int, metrics: dict[str, float]) -> None:
        if done == 3:
            raise RuntimeError("killed")

    whole = training.train
    with monkeypatch.context() as patch:
        patch.setattr(
            "trivium.stages.pretrain.train",
            lambda *given, hooks, **named: whole(*given, hooks=[*hooks, killed], **named),
        )
        with pytest.raises(RuntimeError, match="killed"):
            pretrained(tmp_path / "killed", save_every_s=0.0, **options)
    resumed = pretrained(tmp_path / "killed", save_every_s=0.0, **options)
    first, second = weights(straight), weights(resumed)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert (straight.parent / "metrics.jsonl").read_text() == (resumed.parent / "metrics.jsonl").read_text()


def test_the_rows_of_every_update_are_shared_exactly(tmp_path, old, new):
    def rows_of(**texts: Any) -> Any:
        return read_text(single("pretrain", {**SIZES, **NEW, **texts}).stages["pretrain"], tmp_path, 1).source

    mixed = rows_of(mix={"new": {"tokens": new, "weight": 0.75}, "old": {"tokens": old, "weight": 0.25, "skip": 5}})
    first, replayed = mixed.sources[0].num_rows, []
    for step in range(8):
        rows = mixed.rows_at(step * mixed.rows_per_step, mixed.rows_per_step)
        replayed += (rows[rows >= first] - first).tolist()
        assert len(rows) == 4
        assert len(replayed) == step + 1  # a quarter, after every update
    assert replayed == rows_of(tokens=old).rows_at(5, 8).tolist()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"depth": 2}, "model says the size of the model, so leave out depth"),
        ({"variant": "speedrun"}, "the model has its context and its variant already"),
        ({"steps": 0}, "how long a model goes on is not derived; give steps=N, or time_budget"),
    ],
)  # fmt: skip
def test_what_a_model_settles_is_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        single("pretrain", {"tokens": "@tokenize", "model": "@pretrain/model", **SIZES, **options})


def test_a_text_is_named_once():
    mix = {"law": {"tokens": "@tokenize", "weight": 1}}
    with pytest.raises(ConfigError, match=r"heldout.law: a text of the mixture has this name"):
        single("pretrain", {"mix": mix, "heldout": {"law": "@tokenize"}, **SIZES})


def test_another_tokenizer_and_long_rows_are_one_line(tmp_path, new):
    save_model(tmp_path / "model", ours("llama"), **FILES)
    other = tokenized(tmp_path / "other", TEXTS * 8, LARGER)
    with pytest.raises(ArtefactError, match="was made with another tokenizer than the tokens; tokenize with tokenizer="):
        pretrained(tmp_path / "a", model=str(tmp_path / "model"), tokens=other)
    with pytest.raises(ConfigError, match="'seq_len' is 128; .* reads rows of at most 65 tokens"):
        pretrained(tmp_path / "b", model=str(tmp_path / "model"), tokens=new, seq_len=128, batch_tokens=256)


def test_what_is_open_is_derived_from_the_model_it_goes_on_from():
    stages = {
        "tokenize": {"kind": "tokenize", "corpus": "@prepare/corpus", "vocab_size": 300},
        "first": {"kind": "pretrain", "tokens": "@tokenize", "steps": 10, "depth": 3},
        "finetune": {"model": "@first/model", "data": "@demonstrate/questions/demonstrations.jsonl", "steps": 1},
        "more": {"kind": "pretrain", "tokens": "@tokenize", "model": "@finetune/model", "steps": 10},
    }
    ahead = {"prepare": {"sources": ["docstrings"]}, "demonstrate": {"tokenizer": "@tokenize/tokenizer.json"}}
    order = {"prepare": ahead["prepare"], "tokenize": stages["tokenize"], "demonstrate": ahead["demonstrate"]} | stages
    recipe, lines = settle(recipe_of({"name": "x", "machine": {"ceiling": 1e10}, "stages": order}))
    first, more = recipe.stages["first"], recipe.stages["more"]
    assert (more.depth, more.width) == (0, 0)
    assert more.optimizer == first.optimizer
    assert more.batch_tokens > 0
    assert not [line for line in lines if line.startswith(("more: width", "more: depth"))]
