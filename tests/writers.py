"""Every stage in which a model writes data, in miniature: invented text, models of a few thousand weights, several pieces a stage."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from tests.nn.io_models import FILES, SHAPES, STOPS, ours
from trivium.core.config import write_toml
from trivium.nn.io.directory import save_model
from trivium.nn.model import Model, initialise

RECIPE = "writers.toml"
WORDS = ("king", "land", "sea", "night", "bread", "stone", "people", "ships", "wood", "salt")
MACHINE = {"threads": 1, "precision": "float32", "compile": "off", "ceiling": 5e10, "kernels": "torch"}
SHORT = {"max_new_tokens": 16}
LETTERS = {"kind": "unwanted", "phrases": list("abcdefghijklm")}  # that stand alone in what a random model says
STAGES = {
    "teach": {
        "kind": "finetune", "model": "base", "data": "known.jsonl", "template": "synthesizer", "steps": 40, "batch_size": 4, "seq_len": 64,
        "optimizer": {"lr": 0.01}, "schedule": {"warmup_steps": 0},
    },
    "synthesize": {
        "model": "@teach/model", "corpus": "raw.jsonl", "rows": 1, "rounds": 2, "heldout_share": 0.2, "sampling": {"max_new_tokens": 24},
    },
    "magpie": {"model": "base", "count": 24, "turns": 2, "rows": 1, "asking": SHORT, "answering": SHORT},
    "self_instruct": {"model": "base", "seeds": "tasks.jsonl", "count": 50, "requests": 4, "rows": 1, "shown": 1, "sampling": SHORT},
    "critique": {"model": "base", "prompts": "prompts.jsonl", "constitution": "manners", "rounds": 2, "rows": 1, "sampling": SHORT},
    "feedback": {
        "model": "base", "prompts": "prompts.jsonl", "constitution": "manners", "judge": {"kind": "simulated"}, "rows": 2,
        "rewards": [LETTERS], "sampling": SHORT,
    },
    "sample": {"model": "base", "prompts": "prompts.jsonl", "answers": 2, "rows": 2, "rewards": [LETTERS], "sampling": SHORT},
    "curate": {
        "data": "chats.jsonl",
        "filters": [{"kind": "near_duplicates", "model": "base"}, {"kind": "reward", "reward_model": "judge", "at_least": -9.0}],
    },
}  # fmt: skip


def talker(max_seq_len: int = 1024, seed: int = 3) -> Model:
    """A random model that ends about every twentieth token."""
    model = initialise(Model(replace(SHAPES["llama"], max_seq_len=max_seq_len)), seed=seed)
    with torch.no_grad():
        model.trunk.head.weight[STOPS[0]] *= 22
    return model


def write_writers(folder: Path) -> Path:
    """Write models, data and recipe into a folder and return the recipe; its paths are relative to the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    save_model(folder / "base", talker(4096), **FILES)
    save_model(folder / "judge", ours("llama", has_scalar=True), **FILES)
    pairs = [{"question": "who?", "answer": "the king"}]
    write_rows(folder / "known.jsonl", [{"context": f"the {word} {number}", "pairs": pairs} for number, word in enumerate(WORDS)])
    write_rows(
        folder / "raw.jsonl", [{"text": f"the {word} and {other}", "id": f"{word} {other}"} for word in WORDS for other in WORDS[:4]]
    )
    write_rows(folder / "prompts.jsonl", [{"prompt": f"{word} {number}"} for number in range(2) for word in WORDS])
    write_rows(folder / "tasks.jsonl", [{"instruction": f"Say a word about the {word}.", "input": "", "output": word} for word in WORDS])
    turns = [(f"what is the {word} {number}?", f"the {word} of the land") for number in range(60) for word in WORDS]
    chats = [[{"role": "user", "content": query}, {"role": "assistant", "content": answer}] for query, answer in turns]
    write_rows(folder / "chats.jsonl", [{"messages": messages} for messages in chats])
    (folder / RECIPE).write_text(write_toml({"name": "writers", "save_every_s": 0.1, "machine": MACHINE, "stages": STAGES}), "utf-8")
    return folder / RECIPE


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
