"""Named methods: one word for a combination of options that a paper has made known."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from trivium.core.config import merge, read_toml
from trivium.core.errors import ConfigError, did_you_mean


@cache
def methods() -> dict[str, Mapping[str, Any]]:
    """Name -> options of `reinforce`."""
    return read_toml(Path(__file__).with_name("methods.toml"))


def with_method(kind: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a stage over those of its `method`, which is no option itself. Raises ConfigError for a name that is none."""
    if kind != "reinforce" or "method" not in options:
        return dict(options)
    options = dict(options)
    name = options.pop("method")
    if name not in methods():
        raise ConfigError(f"'method' is '{name}'{did_you_mean(str(name), methods())}")
    return merge(methods()[name], options)
