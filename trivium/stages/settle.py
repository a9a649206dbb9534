"""What a recipe leaves open, filled in before it runs: its dials, for the vocabulary that it will have and the machine it is on.

A function of the recipe and of the machine's ceiling, which stands in run.toml once it was measured; so a start that goes on
derives the same values again.
"""

from dataclasses import replace

from trivium.core.config import plain
from trivium.stages.base import Foresight, known_model
from trivium.stages.pretrain import Pretrain
from trivium.stages.recipe import Recipe
from trivium.stages.tokenize import Tokenize


def settle(recipe: Recipe) -> tuple[Recipe, list[str]]:
    """The recipe with no dial left open, and a line for each value that was derived; its machine must be measured."""
    stages, known, lines = dict(recipe.stages), Foresight(), []
    for name, stage in recipe.stages.items():
        if isinstance(stage, Tokenize):
            stage.foresee(name, known)
        if isinstance(stage, Pretrain):
            start = known_model(known, stage.model) if stage.model else None
            settled, derived = stage.settled(stage.vocab_size(known), recipe.machine.work_within, start)
            stages[name] = settled
            known.models[name] = start or settled.shape_at(settled.depth, settled.vocab_size(known))
            lines += [f"{name}: {line}" for line in derived]
        elif (of := str(plain(stage).get("model", ""))).startswith("@") and of[1:].split("/")[0] in known.models:
            known.models[name] = known_model(known, of)  # it leaves a model of the shape that it takes
    return replace(recipe, stages=stages), lines
