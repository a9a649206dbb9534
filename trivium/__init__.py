"""trivium: the three stages of a language model's education in one system."""

import functools
import importlib

from trivium.core.world import prepare_environment

__all__ = [
    "annotate", "arithmetic", "critique", "curate", "demonstrate", "evaluate", "facts", "feedback", "finetune", "magpie",
    "matches", "pages", "plant", "prefer", "prepare", "pretrain", "proxy", "rank", "reinforce", "reward", "route", "run", "sample",
    "self_instruct", "study", "synthesize", "tokenize",
]  # fmt: skip


def __getattr__(name: str) -> object:
    """Load a public name when it is used: the command line checks options before torch is there."""
    if name not in __all__:
        raise AttributeError(f"module 'trivium' has no attribute '{name}'")
    prepare_environment()  # here, because it must come before torch
    api = importlib.import_module("trivium.api")
    return vars(api)[name] if name in ("run", "study") else functools.partial(api.stage, name)
