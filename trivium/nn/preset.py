"""Published shapes by name: `preset("pythia-160m")`. Shapes only; weights are made by `nn.model.initialise` or read from a folder.

One file of `presets/` a family: what its models share stands at the top, and a table for each model holds the rest.
"""

from functools import cache
from pathlib import Path
from typing import Any

from trivium.core.config import build, read_toml
from trivium.core.errors import ConfigError, did_you_mean
from trivium.nn.config import ModelConfig


def preset(name: str) -> ModelConfig:
    """The shape of a published model. Raises ConfigError that suggests a name."""
    shapes = _shapes()
    if name not in shapes:
        raise ConfigError(f"there is no preset {name!r}{did_you_mean(name, shapes)}")
    options = shapes[name]
    derived = {"num_kv_heads": options["num_heads"], "head_dim": options["hidden_size"] // options["num_heads"]}
    return build(ModelConfig, derived | options, where=f"preset {name!r}")


def preset_names() -> list[str]:
    """Every name that `preset` knows, sorted."""
    return sorted(_shapes())


@cache
def _shapes() -> dict[str, dict[str, Any]]:
    shapes = {}
    for file in sorted((Path(__file__).parent / "presets").glob("*.toml")):
        content = read_toml(file)
        shared = {option: value for option, value in content.items() if not isinstance(value, dict)}
        shapes |= {name: shared | own for name, own in content.items() if isinstance(own, dict)}
    return shapes
