"""Where a model comes from: the stages of run folders that it went through, back to the text of its pre-training."""

import os
from collections.abc import Iterator
from pathlib import Path

from trivium.core.errors import ConfigError
from trivium.stages.base import Stage, located
from trivium.stages.demonstrate import Demonstrate
from trivium.stages.pretrain import Pretrain
from trivium.stages.proxy import Proxy
from trivium.stages.recipe import load_recipe
from trivium.stages.use.tracing import Trace


def stages_behind(model: Path) -> Iterator[tuple[Path, str, Stage]]:
    """(run folder, name, options) of the stage that made a model directory, of those of what it began as or is made of, and so on."""
    seen, ahead = set[Path](), [model]
    while ahead:
        model = Path(os.path.abspath(ahead.pop(0)))
        run, name = model.parent.parent, model.parent.name
        if model in seen or not (run / "run.toml").is_file():
            continue
        seen.add(model)
        stage = load_recipe(str(run / "run.toml"), {}).stages.get(name)
        if stage is not None:
            yield run, name, stage
            made_of = stage.parts.values() if isinstance(stage, Proxy) else [vars(stage).get("model")]
            ahead += [located(run, reference) for reference in made_of if reference]


def texts_behind(model: Path) -> Iterator[Trace]:
    """The text of each pre-training that a model went through, the last one first. Raises ConfigError if none is known."""
    found = [(run, name) for run, name, stage in stages_behind(model) if isinstance(stage, Pretrain)]
    if not found:
        raise ConfigError(f"{model}: its pre-training is in no run folder here, so what it was trained on is not known")
    for run, name in found:
        yield Trace.open(run, name)


def was_taught_single_turns(model: Path) -> bool:
    """Whether the run that made a model has demonstrations of its own, which are one question and one answer each."""
    return any(
        isinstance(stage, Demonstrate)
        for run, _, _ in stages_behind(model)
        for stage in load_recipe(str(run / "run.toml"), {}).stages.values()
    )
