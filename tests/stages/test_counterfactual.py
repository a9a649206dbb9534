"""Pre-training with other words at its end: bit for bit the same until then, and with the same words to the end."""

import json
from pathlib import Path

import pytest

from tests.nn.io_models import TOKENIZER
from tests.stages.test_pretrain import MACHINE, SIZES
from trivium.core.commit import hash_file
from trivium.core.config import plain
from trivium.core.errors import ConfigError
from trivium.core.interrupt import Interrupted
from trivium.core.run import Run
from trivium.core.types import Document
from trivium.stages.recipe import recipe_of, recipe_toml, single
from trivium.stages.use.tracing import Trace
from trivium.text.shards import write_shard

TEXT = "He said that his dog saw him, and he saw it himself. "


@pytest.fixture
def tokens(tmp_path) -> Path:
    TOKENIZER.save(tmp_path / "tokens" / "tokenizer.json")
    for part in ("train", "heldout"):
        write_shard(tmp_path / "tokens" / part, [Document(TEXT * 2 + f"The end of number {number}.") for number in range(40)], TOKENIZER)
    return tmp_path / "tokens"


def options(tokens, **more):
    return {"tokens": str(tokens), **SIZES, "steps": 8, "evaluate_every": 4, **more}


def pretrained(tokens: Path, out: str, **more) -> tuple[str, list[dict]]:
    """(the hash of the weights, the rows of metrics)."""
    stage = single("pretrain", options(tokens, **more)).stages["pretrain"]
    with Run(tokens.parent / out, quiet=True, machine=MACHINE) as running:
        assert running.begin("pretrain", {})
        stage.run(running)
    weights = hash_file(tokens.parent / out / "pretrain" / "model" / "model.safetensors")[1]
    return weights, [json.loads(line) for line in (tokens.parent / out / "metrics.jsonl").read_text().splitlines()]


def test_the_same_words_give_the_same_bits_and_others_do_not(tokens):
    base, rows = pretrained(tokens, "base")
    same, same_rows = pretrained(tokens, "same", counterfactual={"pronouns": "same", "share": 0.5})
    swapped, swapped_rows = pretrained(tokens, "swapped", counterfactual={"share": 0.5})
    assert same == base
    assert swapped != base
    extra = {"changed_tokens", "fitted_tokens"}
    assert [{name: value for name, value in row.items() if name not in extra} for row in same_rows] == rows
    assert swapped_rows[:4] == rows[:4]
    assert all(row["data_xxh3"] != other["data_xxh3"] for row, other in zip(swapped_rows[4:], rows[4:], strict=True))
    assert all(extra.isdisjoint(row) for row in swapped_rows[:4])
    assert all(0 < row["changed_tokens"] < 0.5 and row["fitted_tokens"] >= 0 for row in swapped_rows[4:])


def test_killed_it_goes_on_with_the_same_bits(tokens, monkeypatch):
    words = {"counterfactual": {"share": 0.5}}
    whole, rows = pretrained(tokens, "whole", **words)
    from trivium.train import fit

    class Once:
        """Interrupts after the sixth step."""

        count = 0

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        @property
        def received(self):
            Once.count += 1
            return 15 if Once.count >= 6 else None

    with monkeypatch.context() as patch:
        patch.setattr(fit, "Interrupts", Once)
        with pytest.raises(Interrupted):
            pretrained(tokens, "killed", **words)
    assert pretrained(tokens, "killed", **words) == (whole, rows)


def test_what_it_was_trained_on_can_be_computed_again(tokens):
    recipe = recipe_of(
        {"name": "x", "machine": MACHINE, "stages": {"pretrain": {"kind": "pretrain", **options(tokens, counterfactual={"share": 0.5})}}}
    )
    pretrained(tokens, "run", counterfactual={"share": 0.5})
    (tokens.parent / "run" / "run.toml").write_text(recipe_toml(recipe))
    assert Trace.open(tokens.parent / "run").verify().steps == 8
    assert plain(recipe.stages["pretrain"])["counterfactual"] == {"pronouns": "feminine", "share": 0.5}


@pytest.mark.parametrize("words", [{"share": 0.0}, {"share": 1.5}, {"pronouns": "masculine"}, {"part": 1}])
def test_what_cannot_be_asked_is_refused(words):
    with pytest.raises(ConfigError, match="counterfactual"):
        single("pretrain", {"tokens": "t", "counterfactual": words})
