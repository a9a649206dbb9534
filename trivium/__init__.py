"""trivium: the three stages of a language model's education in one system."""

import importlib

from trivium.core.world import prepare_environment

__all__ = [
    "annotate", "arithmetic", "demonstrate", "evaluate", "finetune", "pages", "prefer", "prepare", "pretrain", "reinforce", "reward",
    "run", "sample", "study", "synthesize", "tokenize",
]  # fmt: skip


def __getattr__(name: str) -> object:
    """Load a public name when it is used: the command line checks options before torch is there."""
    if name not in __all__:
        raise AttributeError(f"module 'trivium' has no attribute '{name}'")
    prepare_environment()  # here, because it must come before torch
    return getattr(importlib.import_module("trivium.api"), name)
