"""Pre-training in its variants: what it leaves is what was asked for, it says who reads it, and later stages can."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from tests.nn.io_models import SHAPES, TEXTS, TOKENIZER, logits
from trivium.core.config import plain
from trivium.core.errors import ConfigError, DataError
from trivium.core.run import Run, read_digests
from trivium.core.types import Document, example
from trivium.data.digest import digest_of
from trivium.data.lineage import Lineage
from trivium.data.pack import pack
from trivium.data.pythia import PythiaRows
from trivium.data.training_order import TrainingOrder
from trivium.generate.engine import Engine
from trivium.generate.sampling import Sampling
from trivium.nn.config import ModelConfig
from trivium.nn.io.directory import load_model
from trivium.nn.model import Model, draw_as_pythia, initialise
from trivium.nn.native.decoder import why_not_native
from trivium.nn.native.library import why_not
from trivium.nn.variants import SPEEDRUN
from trivium.stages.computing.models import Speaker
from trivium.stages.kept import is_kept, kept_folder, models_of
from trivium.stages.machine import Machine
from trivium.stages.recipe import load_recipe, single
from trivium.text.shards import _write_index, write_shard

SIZES = {"depth": 2, "width": 64, "head_dim": 16, "seq_len": 32, "batch_tokens": 128, "steps": 4, "micro_batch_rows": 4}
MACHINE = {"threads": 1, "precision": "float32", "compile": "off", "ceiling": 5e10, "kernels": "native" if why_not() is None else "torch"}


@pytest.fixture
def tokens(tmp_path) -> Path:
    """What `tokenize` leaves, of twenty short documents."""
    TOKENIZER.save(tmp_path / "tokens" / "tokenizer.json")
    for part in ("train", "heldout"):
        write_shard(tmp_path / "tokens" / part, [Document(text) for text in TEXTS * 5], TOKENIZER)
    return tmp_path / "tokens"


def pretrained(tokens: Path, out: str, **options: Any) -> Path:
    """The folder of the stage."""
    stage = single("pretrain", {"tokens": str(tokens), **SIZES, **options}).stages["pretrain"]
    stage.check()
    with Run(tokens.parent / out, quiet=True, machine=MACHINE) as running:
        assert running.begin("pretrain", {})
        stage.run(running)
    return tokens.parent / out / "pretrain"


def test_speedrun_trains_on_whole_documents_says_who_reads_it_and_samples(tokens):
    folder = pretrained(tokens, "fast", variant="speedrun", packing="bestfit")
    said = (folder.parent / "log.txt").read_text()
    assert "variant speedrun: only trivium reads this architecture, and it cannot be exported" in said
    assert "of it text, the rest padding)" in said
    speaker = Speaker.load(folder / "model", Machine(**MACHINE))
    assert SPEEDRUN.items() <= vars(speaker.model.config).items()
    assert why_not_native(speaker.model.trunk) == why_not()
    prompt = [np.array([3, 4, 5], np.int32)]
    answers = {}
    for kernels in ("native", "torch"):
        engine = Engine(speaker.model, stop_ids=(), kernels=kernels)
        [answers[kernels]] = engine.generate(prompt, Sampling(temperature=0, max_new_tokens=8), seed=1)
    assert answers["native"].tokens.tolist() == answers["torch"].tokens.tolist()
    assert len(answers["native"].tokens) == 11


def test_what_is_not_asked_for_is_not_said(tokens):
    folder = pretrained(tokens, "plain")
    said = (folder.parent / "log.txt").read_text()
    assert "variant" not in said
    assert "padding" not in said


@pytest.mark.parametrize("options", [{"variant": "gpt"}, {"packing": "greedy"}], ids=str)
def test_another_variant_or_packing_is_refused(options):
    with pytest.raises(ConfigError, match="it is one of"):
        single("pretrain", {"tokens": "@tokenize", **options})


NEOX = {"preset": "pythia-tiny", "seq_len": 33, "batch_tokens": 4 * 33, "steps": 6, "micro_batch_rows": 4}
TINY = ModelConfig(**(plain(SHAPES["gpt_neox"]) | {"max_seq_len": 32}))


@pytest.fixture
def tiny_preset(monkeypatch):
    """A shape of the family that takes no time."""
    monkeypatch.setattr("trivium.nn.preset._shapes", lambda: {"pythia-tiny": plain(TINY)})


def neox(tokens: Path, out: str, **options: Any) -> Path:
    """The folder of a stage with the tiny preset, or without it if there is a model."""
    chosen = {name: value for name, value in NEOX.items() if name != "preset" or "model" not in options}
    stage = single("pretrain", {"tokens": str(tokens), **chosen, **options}).stages["pretrain"]
    stage.check()
    stage, _ = stage.settled(TOKENIZER.vocab_size, lambda seconds: 1e9)
    with Run(tokens.parent / out, quiet=True, machine=MACHINE) as running:
        assert running.begin("pretrain", {})
        stage.run(running)
    return tokens.parent / out / "pretrain"


def digests(folder: Path) -> list[tuple[int, str]]:
    return list(read_digests(folder.parent, "pretrain").items())


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def test_models_on_the_way_are_those_of_shorter_runs(tokens, tiny_preset):
    constant = {"schedule": {"warmup_steps": 0, "decay_share": 0.0}, "optimizer": {"kind": "adamw", "lr": 1e-2}}
    folder = neox(tokens, "long", keep_every=4, **constant)
    assert list(models_of(folder, 6)) == [0, 1, 2, 4, 6]
    shorter = neox(tokens, "short", steps=4, **constant)
    kept = weights(kept_folder(folder, 4))
    assert all(torch.equal(weight, kept[name]) for name, weight in weights(shorter / "model").items())
    first = initialise(Model(TINY), 1, draw_as_pythia)
    saved = load_model(kept_folder(folder, 0))
    assert all(torch.equal(*pair) for pair in zip(first.parameters(), saved.parameters(), strict=True))


def test_a_model_goes_on_with_the_rows_and_rates_that_come_next(tokens, tiny_preset):
    """The optimizer's moments start anew, so only the first loss can be the same."""
    whole = neox(tokens, "whole", keep_every=3)
    after = neox(tokens, "after", model=str(kept_folder(whole, 3)), first_step=3)
    assert digests(after) == digests(whole)[3:]
    rows = [[json.loads(line) for line in (folder.parent / "metrics.jsonl").read_text().splitlines()] for folder in (whole, after)]
    assert [row["lr_factor"] for row in rows[1]] == [row["lr_factor"] for row in rows[0][3:]]
    assert rows[1][0]["loss"] == rows[0][3]["loss"]  # the same weights on the same rows
    assert rows[1][0]["step"] == 4


def test_published_rows_are_trained_on_in_their_order_and_go_on_from_a_checkpoint(tokens, tiny_preset, tmp_path):
    ids = np.random.default_rng(1).integers(0, TOKENIZER.vocab_size, (24, 33)).astype("<u2")
    place = tmp_path / "rows"
    place.mkdir()
    TOKENIZER.save(place / "tokenizer.json")
    (place / "document.bin").write_bytes(ids.tobytes())
    _write_index(place / "document.idx", np.full(len(ids), 33, np.int32), np.dtype("<u2"))
    whole = neox(place / "document", "published", keep_every=2)
    assert digests(whole) == [(step + 1, digest_of([(example(row),) for row in ids[4 * step : 4 * step + 4]])) for step in range(6)]
    assert not any("bits_per_byte" in line for line in (whole.parent / "metrics.jsonl").read_text().splitlines())
    after = neox(place / "document", "later", model=str(kept_folder(whole, 4)), first_step=4)
    assert digests(after) == digests(whole)[4:]
    exported = AutoModelForCausalLM.from_pretrained(after / "model")
    ours = load_model(after / "model")
    ids_BL = torch.tensor(ids[:2, :32].astype(np.int64))
    torch.testing.assert_close(exported(ids_BL).logits, logits(ours, ids_BL), atol=1e-4, rtol=1e-4)
    order = TrainingOrder(PythiaRows(place / "document", rows_per_step=4))
    with pytest.raises(DataError, match="published without the documents"):
        Lineage(order, {}).excerpts(0)
    with pytest.raises(ConfigError, match="its rows have 33 tokens, 'seq_len' is 32; set seq_len=33"):
        neox(place / "document", "other", seq_len=32)


def test_the_last_token_of_a_row_needs_no_position_of_its_own():
    """Rows of 33 tokens for a model of 32 positions: what is predicted is what the first 32 say."""
    model = initialise(Model(TINY), seed=2)
    tokens_BL = torch.tensor([[*range(5, 38)]])
    [batch] = pack([(example(tokens_BL[0].numpy()),)], rows=1, length=33)
    hidden = model.hidden(batch)
    torch.testing.assert_close(model.trunk.logits(hidden)[:, :32], logits(model, tokens_BL[:, :32]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "pythia-70m", "depth": 4}, "preset says the size of the model, so leave out depth"),
        (
            {"preset": "pythia-70m", "model": "base", "steps": 1, "batch_tokens": 64},
            "model says the size of the model, so leave out preset",
        ),
        ({"model": "base"}, "how long a model goes on is not derived"),
        ({"first_step": 3, "steps": 5}, "first_step is 3"),
        ({"model": "base", "first_step": 5, "steps": 5, "batch_tokens": 64}, "fewer than steps"),
        ({"method": "pythia-60m"}, "'method' is 'pythia-60m'; did you mean 'pythia-"),
    ],
    ids=str,
)
def test_options_that_contradict_each_other_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        single("pretrain", {"tokens": "@tokenize", **options})


def test_a_preset_refuses_larger_vocabularies_and_longer_rows(tiny_preset):
    stage = single("pretrain", {"tokens": "shards", **NEOX}).stages["pretrain"]
    with pytest.raises(ConfigError, match=r"preset pythia-tiny has \d+ words, the tokenizer 5,000"):
        stage.shape_at(0, 5000)
    with pytest.raises(ConfigError, match="rows for preset pythia-tiny have at most 33 tokens"):
        replace(stage, seq_len=34).shape_at(0, 10)
    with pytest.raises(ConfigError, match="no preset 'pythia-tinny'; did you mean 'pythia-tiny'"):
        single("pretrain", {"tokens": "shards", **NEOX, "preset": "pythia-tinny"}).stages["pretrain"].check()


PEAKS = {"14m": 1e-3, "31m": 1e-3, "70m": 1e-3, "160m": 6e-4, "410m": 3e-4, "1b": 3e-4, "1.4b": 2e-4, "2.8b": 1.6e-4, "6.9b": 1.2e-4,
         "12b": 1.2e-4}  # fmt: skip


@pytest.mark.parametrize("size", PEAKS)
def test_the_suite_is_as_published(size):
    stage = single("pretrain", {"tokens": "shards", "method": f"pythia-{size}"}).stages["pretrain"]
    assert (stage.preset, stage.optimizer.lr) == (f"pythia-{size}", PEAKS[size])
    assert (stage.seq_len, stage.rows_per_step, stage.steps) == (2049, 1024, 143_000)
    assert stage.steps * stage.rows_per_step * 2048 == 299_892_736_000
    assert stage.steps * stage.rows_per_step == 146_432_000
    assert (stage.optimizer.beta1, stage.optimizer.beta2, stage.optimizer.eps, stage.optimizer.weight_decay) == (0.9, 0.95, 1e-8, 0.1)
    assert (stage.max_grad_norm, stage.variant, stage.packing) == (1.0, "standard", "stream")
    kept = [step for step in range(stage.steps + 1) if is_kept(step, stage.keep_every)]
    assert len(kept) == 154
    assert kept[:13] == [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000, 2000]
    rates = [stage.schedule(step, stage.steps) for step in (0, 715, 1430, 72_215, 143_000)]
    assert rates == pytest.approx([0, 0.5, 1, 0.55, 0.1])
    settled, said = stage.settled(50_277, lambda seconds: 1e9)
    assert (settled, said) == (stage, [])


def test_pythias_initialisation_has_the_published_spread():
    config = ModelConfig(**(plain(SHAPES["gpt_neox"]) | {"hidden_size": 256, "num_layers": 3, "head_dim": 64, "intermediate_size": 1024}))
    model = initialise(Model(config), 1, draw_as_pythia)
    small, outer = (2 / (5 * 256)) ** 0.5, 2 / (3 * 256**0.5)
    for name, parameter in model.named_parameters():
        if parameter.dim() == 2:
            expected = outer if name.endswith(("attention.out.weight", "mlp.down.weight")) else small
            assert float(parameter.detach().std()) == pytest.approx(expected, rel=0.03), name
        else:
            assert parameter.unique().tolist() == [1.0 if name.endswith("norm.weight") else 0.0], name


def test_another_draw_changes_the_first_weights_and_the_order_of_rows(tokens, tiny_preset):
    folders = [neox(tokens, f"draw {number}", draw=draw, keep_every=6) for number, draw in enumerate((0, 1, 1))]
    first = [load_file(kept_folder(folder, 0) / "model.safetensors") for folder in folders]
    last = [weights(folder / "model") for folder in folders]
    for plain_run, other, again in (first, last):
        assert any((plain_run[name] != other[name]).any() for name in plain_run)
        assert all((again[name] == other[name]).all() for name in other)
    assert digests(folders[1]) == digests(folders[2]) != digests(folders[0])


@pytest.mark.parametrize(("recipe", "stage", "like"), [("dedup", "again_156k", "raw_156k"), ("batch_size", "again_1x", "batch_1x")])
def test_a_training_once_more_is_another_draw_and_nothing_else(recipe, stage, like):
    stages = load_recipe(recipe, {}).stages
    assert stages[stage].seed_of(1) != stages[like].seed_of(1)
    assert replace(stages[stage], draw=0) == stages[like]
