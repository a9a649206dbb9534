"""Against: a demonstration is preferred to the model's own answers (SPIN)."""

from typing import ClassVar, Literal

from trivium.core.config import component
from trivium.score.keep.rule import Choose, Kept, Makes, Pool, Scored


@component
class Against:
    """The answer that the prompt's record has over each different answer of the model; scores are not needed.

    SPIN (Chen et al. 2024, arXiv:2401.01335, algorithm 1), whose loss is DPO with the model that gave the answers as reference, in
    rounds: sample, prefer, sample again. The paper takes one answer to a prompt.
    """

    makes: ClassVar[Makes] = "preferences"
    kind: Literal["against"] = "against"

    def __call__(self, pool: Pool) -> Choose:
        """The same for each prompt, whatever the others got."""
        return _against


def _against(asked: Scored) -> Kept:
    places = [place for place, text in enumerate(asked.responses) if text != asked.demonstration and text not in asked.responses[:place]]
    records = [
        {
            "prompt": asked.turns,
            "chosen": asked.demonstration,
            "rejected": asked.responses[place],
            "stopped": [True, bool(asked.is_stopped[place])],
        }
        for place in places
    ]
    return Kept(records, places, "" if records else "every answer is the demonstration")
