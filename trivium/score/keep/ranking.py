"""All: the answers to a prompt, all of them, become one ranking."""

from typing import ClassVar, Literal

from trivium.core.config import component
from trivium.score.keep.rule import Choose, Kept, Makes, Pool, Scored


@component
class All:
    """Every answer with its score, for losses that compare more than two: a reward model, RRHF, SPPO, ODPO.

    Equal scores stay ties. Prompts whose answers all score the same are left out and counted.
    """

    makes: ClassVar[Makes] = "preferences"
    kind: Literal["all"] = "all"

    def __call__(self, pool: Pool) -> Choose:
        """The same for each prompt, whatever the others got."""
        return _ranking


def _ranking(asked: Scored) -> Kept:
    if asked.scores.min() == asked.scores.max():
        return Kept(why_none="all answers score the same")
    record = {
        "prompt": asked.turns,
        "responses": list(asked.responses),
        "scores": asked.scores.tolist(),
        "stopped": asked.is_stopped.tolist(),
    }
    return Kept([record], range(len(asked.responses)))
