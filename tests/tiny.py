"""The quickstart in miniature: every stage of the shipped recipe, on invented text, in seconds and without a network."""

import json
from pathlib import Path

from trivium.core.config import merge, read_toml, write_toml
from trivium.core.seeds import generator
from trivium.stages.recipe import shipped

RECIPE = "tiny.toml"
_ANSWER = {"max_new_tokens": 10}
SIZES = {
    "name": "tiny",
    "save_every_s": 0.1,
    "machine": {"threads": 1, "precision": "float32", "compile": "off", "ceiling": 5e10},
    "stages": {
        "prepare": {"sources": ["corpus.jsonl"], "heldout_share": 0.1},
        "tokenize": {"vocab_size": 400},
        "pretrain": {
            "depth": 1, "width": 32, "seq_len": 64, "context": 96, "batch_tokens": 512, "micro_batch_rows": 8,
            "steps": 60, "evaluate_every": 20,
        },
        "demonstrate": {
            "dictionary": "dictionary.jsonl", "max_word_tokens": 12, "num_comparisons": 16, "num_prompts": 24, "num_heldout": 8,
        },
        "finetune": {"steps": 40, "batch_size": 8, "seq_len": 96, "micro_batch_rows": 8},
        "annotate": {"min_answers": 2, "max_answers": 3, "sampling": _ANSWER},
        "reward": {"steps": 30, "batch_size": 4, "seq_len": 96, "micro_batch_rows": 8},
        "reinforce": {"phases": 6, "prompts_per_phase": 8, "seq_len": 96, "micro_batch_rows": 8, "sampling": _ANSWER},
        "prefer": {"steps": 30, "batch_size": 4, "seq_len": 96, "micro_batch_rows": 8},
        "evaluate": {"seq_len": 64, "sampling": _ANSWER},
    },
}  # fmt: skip

_THINGS = ("lamp", "river", "stone", "garden", "window", "letter", "basket", "bridge", "kettle", "ladder", "market", "meadow")
_KINDS = ("small", "quiet", "old", "green", "heavy", "narrow", "bright", "plain")
_ACTS = ("stands near", "leans on", "looks like", "is older than", "belongs beside", "was made for")
_PLACES = ("in the morning", "behind the wall", "under the roof", "at the end of the road", "after the rain")
_SYLLABLES = ("bal", "dor", "mis", "ten", "ruk", "lav", "pim", "son", "gar", "fel", "nok", "wes")


def write_tiny(folder: Path) -> Path:
    """Write corpus, dictionary and recipe into a folder and return the recipe; its paths are relative to the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_rows(folder / "corpus.jsonl", [{"text": text, "id": f"document {number}"} for number, text in enumerate(_documents(300))])
    _write_rows(folder / "dictionary.jsonl", _entries())
    options = merge(read_toml(shipped()["quickstart"]), SIZES)
    (folder / RECIPE).write_text(write_toml(options), encoding="utf-8")
    return folder / RECIPE


def _documents(count: int) -> list[str]:
    """Invented sentences, four to seven a document."""
    draw = generator(1, "tiny documents")

    def sentence() -> str:
        kind, other = draw.choice(_KINDS, 2)
        thing, second = draw.choice(_THINGS, 2)
        return f"The {kind} {thing} {draw.choice(_ACTS)} the {other} {second} {draw.choice(_PLACES)}."

    return [" ".join(sentence() for _ in range(draw.integers(4, 8))) for _ in range(count)]


def _entries() -> list[dict[str, object]]:
    """Invented words of two syllables, each with one definition."""
    words = [first + second for first in _SYLLABLES for second in _SYLLABLES if first != second]
    things = [(_KINDS[number % len(_KINDS)], _THINGS[number % len(_THINGS)]) for number in range(len(words))]
    return [
        {"word": word, "part_of_speech": "noun", "definitions": [f"a {kind} {thing} {_PLACES[number % len(_PLACES)]}"]}
        for number, (word, (kind, thing)) in enumerate(zip(words, things, strict=True))
    ]


def _write_rows(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
