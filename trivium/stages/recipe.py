"""Recipes: a TOML file, or the name of a shipped one, that says which stages run and with which options."""

import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import Field

from trivium.core.config import build, component, merge, plain, read_toml, write_toml
from trivium.core.errors import ConfigError, did_you_mean
from trivium.stages.base import references
from trivium.stages.catalogue import STAGES, AnyStage
from trivium.stages.machine import Machine
from trivium.stages.methods import with_method
from trivium.train.mesh import Parallel

ABOVE = ("seed", "machine", "parallel", "save_every_s")  # of every recipe, beside its stages


@component
class Recipe:
    """name and about are for people. stages: in order; a stage may refer to earlier ones as `@NAME/...`.

    save_every_s: seconds of training between checkpoints, which is what a kill can cost; results do not depend on it. parallel: what
    several ranks share (docs/parallelism.md), and how much of a block is computed again.
    """

    name: str
    about: str = ""
    seed: int = Field(default=1, ge=0)
    machine: Machine = Machine()
    parallel: Parallel = Parallel()
    save_every_s: float = Field(default=60.0, ge=0)
    stages: dict[str, AnyStage]


def shipped() -> dict[str, Path]:
    """Name -> file of every recipe that comes with the package, the quickstart first."""
    folder = Path(str(resources.files("trivium"))) / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.toml"), key=lambda path: (path.stem != "quickstart", path))}


def load_recipe(name: str, options: Mapping[str, Any]) -> Recipe:
    """Read a recipe by name or path and put options over it: tables by stage, and `seed` and the like. Raises ConfigError in one line."""
    path = shipped().get(name) or Path(name)
    if not path.exists():
        raise ConfigError(f"there is no recipe '{name}'{did_you_mean(name, shipped())}")
    written = read_toml(path)
    stages = written.get("stages")
    if not isinstance(stages, Mapping) or not stages or not all(isinstance(stage, Mapping) for stage in stages.values()):
        raise ConfigError(f"{path}: a recipe has a table [stages.NAME] for each stage, and at least one")
    return recipe_of(merge(written, _below_stages(options, stages)))


def single(kind: str, options: Mapping[str, Any]) -> Recipe:
    """The recipe of one stage; `seed` and the like stand beside its own options."""
    above = {name: options[name] for name in ABOVE if name in options}
    below = {name: value for name, value in options.items() if name not in above}
    return recipe_of({"name": kind, **above, "stages": {kind: {"kind": kind, **below}}})


def recipe_of(options: Mapping[str, Any]) -> Recipe:
    """Check plain options stage by stage, so that a mistake is named as `stage.option`."""
    stages: dict[str, Any] = {}
    for name in (*([str(options["name"])] if "name" in options else []), *options["stages"]):
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name):
            raise ConfigError(f"'{name}' names a folder: 1 to 64 letters, digits, '-' and '_', the first a letter or digit")
    for name, values in options["stages"].items():
        kind = values.get("kind", name)
        if kind not in STAGES:
            raise ConfigError(f"stage '{name}': its kind is '{kind}'{did_you_mean(str(kind), STAGES)}")
        stages[name] = build(STAGES[kind], with_method(kind, {"kind": kind, **values}), where="" if len(options["stages"]) == 1 else name)
        _check_references(name, stages)
    plain_stages = {name: plain(stage) for name, stage in stages.items()}
    return build(Recipe, {**options, "stages": plain_stages})


def recipe_toml(recipe: Recipe) -> str:
    """The resolved recipe, every option written out; running it repeats the run."""
    return write_toml(plain(recipe))


def _below_stages(options: Mapping[str, Any], stages: Mapping[str, Any]) -> dict[str, Any]:
    """`pretrain.steps=10` means `stages.pretrain.steps=10`; a first name that is neither a stage nor a recipe option is refused."""
    known = {"name", "about", *ABOVE}
    for name in options:
        if name not in known and name not in stages and name != "stages":
            raise ConfigError(f"unknown option '{name}'{did_you_mean(name, [*known, *stages])}")
    below = {name: value for name, value in options.items() if name in stages}
    above = {name: value for name, value in options.items() if name in known}
    return {**above, "stages": merge(options.get("stages", {}), below)}


def _check_references(name: str, stages: Mapping[str, Any]) -> None:
    earlier = list(stages)[:-1]
    for reference in references(plain(stages[name])):
        target = reference[1:].split("/")[0]
        if target not in earlier:
            raise ConfigError(
                f"{name}: '{reference}' points to stage '{target}', which does not come before it{did_you_mean(target, earlier)}"
            )
