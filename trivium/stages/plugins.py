"""Python files of the user that a run may load: named on the command line, used by the recipe, and kept by their hash."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trivium.core.commit import hash_file
from trivium.core.config import plain
from trivium.core.errors import ConfigError
from trivium.score.rewards import Plugin
from trivium.score.rewards.plugin import allowed
from trivium.stages.recipe import Recipe


def allowed_plugins(recipe: Recipe, files: Sequence[Path]) -> dict[str, str]:
    """Absolute path -> sha256 of the files. Raises ConfigError for one that is not there, not used, or used and not allowed."""
    for file in files:
        if not file.is_file():
            raise ConfigError(f"--plugin {file}: there is no such file")
    hashes = {str(file.resolve()): hash_file(file)[1] for file in files}
    used = {file for stage in recipe.stages.values() for file in _files(plain(stage))}
    for file in used:
        allowed(Path(file), hashes)
    for file in files:
        if file.resolve() not in {Path(name).resolve() for name in used}:
            raise ConfigError(
                f"--plugin {file}: the recipe does not use it; name its function as rewards=[{{ kind = 'plugin', function = ... }}]"
            )
    return hashes


def hashes_of(options: Mapping[str, Any], plugins: Mapping[str, str]) -> dict[str, str]:
    """The hash of each file that a stage uses, by the name that it uses."""
    return {file: plugins[str(Path(file).resolve())] for file in _files(options)}


def _files(options: Mapping[str, Any]) -> list[str]:
    rewards = options.get("rewards", [])
    return [str(Plugin(**rule).file) for rule in rewards if isinstance(rule, Mapping) and rule.get("kind") == "plugin"]
