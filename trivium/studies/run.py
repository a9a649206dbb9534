"""Running a study: on the run folders that the user names, or on one that its own recipe makes."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trivium.core.errors import ConfigError, did_you_mean
from trivium.stages.pipeline import execute
from trivium.stages.recipe import load_recipe
from trivium.studies import magpie, overoptimisation
from trivium.studies.finding import Finding

STUDIES: dict[str, tuple[str, Callable[[Sequence[Path]], Finding]]] = {
    overoptimisation.RECIPE: (overoptimisation.QUESTION, overoptimisation.study),
    magpie.RECIPE: (magpie.QUESTION, magpie.study),
}  # name, which is also that of its recipe -> what it asks, and how it is answered from run folders


def run_study(
    name: str, folders: Sequence[Path], options: Mapping[str, Any], out: Path | None, *, quiet: bool = False
) -> tuple[Finding, Path]:
    """What the study finds, and the page it wrote to OUT/study-NAME (default: beside the first run).

    Without run folders its recipe, with these options over it, makes one: runs/NAME, or `out`. Raises ConfigError for an unknown name.
    """
    if name not in STUDIES:
        raise ConfigError(f"there is no study '{name}'{did_you_mean(name, STUDIES)}; there are: {', '.join(STUDIES)}")
    if folders and options:
        raise ConfigError("options change the study's own run; with run folders of yours there is nothing to set")
    _, answer = STUDIES[name]
    if not folders:
        folder = out or Path("runs") / name
        execute(load_recipe(name, options), folder, quiet=quiet)
        folders = [folder]
    finding = answer(folders)
    return finding, finding.write((out or folders[0]) / f"study-{name}")
