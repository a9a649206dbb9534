"""Named methods: one word for a combination of options that a paper has made known."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from trivium.core.config import merge, read_toml
from trivium.core.errors import ConfigError, did_you_mean

_FILES = {
    "reinforce": "methods.toml",
    "finetune": "finetune.toml",
    "pretrain": "pretrain.toml",
}  # of the kinds of stages that have named methods


@cache
def methods(kind: str = "reinforce") -> dict[str, Mapping[str, Any]]:
    """Name -> options of a kind of stage that has them; with `like` those of one that stands before it lie below."""
    named: dict[str, Mapping[str, Any]] = {}
    for name, options in read_toml(Path(__file__).with_name(_FILES[kind])).items():
        own = {option: value for option, value in options.items() if option != "like"}
        named[name] = merge(named[options["like"]], own) if "like" in options else own
    return named


def with_method(kind: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a stage over those of its `method`, which is no option itself. Raises ConfigError for a name that is none."""
    if kind not in _FILES or "method" not in options:
        return dict(options)
    options = dict(options)
    name = options.pop("method")
    if name not in methods(kind):
        raise ConfigError(f"'method' is '{name}'{did_you_mean(str(name), methods(kind))}")
    return merge(methods(kind)[name], options)
