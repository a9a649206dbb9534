"""Pre-training in its variants: what it leaves is what was asked for, it says who reads it, and later stages can."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.nn.io_models import TEXTS, TOKENIZER
from trivium.core.errors import ConfigError
from trivium.core.run import Run
from trivium.core.types import Document
from trivium.generate.engine import Engine
from trivium.generate.sampling import Sampling
from trivium.nn.native.decoder import why_not_native
from trivium.nn.native.library import why_not
from trivium.nn.variants import SPEEDRUN
from trivium.stages.machine import Machine
from trivium.stages.models import Speaker
from trivium.stages.recipe import single
from trivium.text.shards import write_shard

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
