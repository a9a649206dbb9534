"""What a recipe leaves open, filled in before it runs: its dials, for the vocabulary that it will have and the machine it is on.

A function of the recipe and of the machine's ceiling, which stands in run.toml once it was measured; so a start that goes on
derives the same values again.
"""

from dataclasses import replace

from trivium.stages.base import Foresight
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
            stages[name], derived = stage.settled(stage.vocab_size(known), recipe.machine.work_within)
            lines += [f"{name}: {line}" for line in derived]
    return replace(recipe, stages=stages), lines
