"""trivium from Python: the words of the command line as functions.

    trivium.run("quickstart", out="runs/small", seed=7, pretrain={"steps": 100})
    trivium.finetune(model="runs/small/pretrain/model", data="chat.jsonl", steps=100, out="runs/mine")

Each runs to its end, or goes on where it was, and returns the run folder. Mistakes raise the errors of `core/errors.py`.
"""

from pathlib import Path
from typing import Any

from trivium.core.config import plain
from trivium.stages.pipeline import execute
from trivium.stages.recipe import load_recipe, single
from trivium.studies.run import run_study


def run(
    recipe: str | Path, *, out: str | Path | None = None, quiet: bool = False, plugin: str | Path | None = None, **options: Any
) -> Path:
    """Run a recipe, a shipped name or a TOML file; options are tables by stage, and `seed` and `machine`. plugin: see docs/rewards.md."""
    resolved = load_recipe(str(recipe), plain(options))
    folder = Path(out) if out is not None else Path("runs") / resolved.name
    execute(resolved, folder, quiet=quiet, plugins=_files(plugin))
    return folder


def study(
    name: str, *folders: str | Path, out: str | Path | None = None, preset: str = "laptop", quiet: bool = False, **options: Any
) -> dict[str, Any]:
    """What a study finds in these run folders, or in runs that it makes: verdict, outcome, controls, table; the page is below OUT."""
    place = Path(out) if out is not None else None
    facts, _ = run_study(name, [Path(folder) for folder in folders], plain(options), place, preset=preset, quiet=quiet)
    return facts


def stage(kind: str, *, out: str | Path | None = None, quiet: bool = False, plugin: str | Path | None = None, **options: Any) -> Path:
    """Run one stage; options as `trivium KIND --help` lists them, and `seed` and `machine`."""
    recipe = single(kind, plain(options))
    folder = Path(out) if out is not None else Path("runs") / kind
    execute(recipe, folder, quiet=quiet, plugins=_files(plugin))
    return folder


def _files(plugin: str | Path | None) -> list[Path]:
    return [] if plugin is None else [Path(plugin)]
