"""Policies that learn from their own answers, in miniature: GRPO by a rule, and PPO with a critic by a reward model."""

from pathlib import Path

from tests.nn.io_models import FILES, ours
from tests.writers import LETTERS, MACHINE, WORDS, talker, write_rows
from trivium.core.config import write_toml
from trivium.nn.io.directory import save_model

RECIPE = "online.toml"
_SAMPLED = {
    "kind": "reinforce", "model": "base", "prompts": "prompts.jsonl", "phases": 8, "prompts_per_phase": 4, "passes": 2, "minibatches": 2,
    "seq_len": 64, "sampling": {"max_new_tokens": 16}, "missing_end_penalty": -0.5, "schedule": {"warmup_steps": 0},
}  # fmt: skip
STAGES = {
    "grpo": {**_SAMPLED, "method": "grpo", "rewards": [LETTERS], "answers": 4},
    "ppo": {**_SAMPLED, "method": "ppo", "reward_model": "judge"},
}


def write_online(folder: Path) -> Path:
    """Write models, prompts and recipe into a folder and return the recipe; its paths are relative to the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    save_model(folder / "base", talker(), **FILES)
    save_model(folder / "judge", ours("llama", has_scalar=True), **FILES)
    write_rows(folder / "prompts.jsonl", [{"prompt": f"{word} {number}"} for number in range(2) for word in WORDS])
    options = {"name": "online", "save_every_s": 0.05, "machine": MACHINE, "stages": STAGES}
    (folder / RECIPE).write_text(write_toml(options), encoding="utf-8")
    return folder / RECIPE
