"""Rules that say which of the sampled answers are kept, and as what. One rule a file; each is its own configuration.

Called with what all answers got, a rule gives what chooses among the answers to one prompt. makes: what its records are.
"""

from typing import Annotated

from pydantic import Field

from trivium.score.keep.against import Against
from trivium.score.keep.best import Best
from trivium.score.keep.hindsight import Hindsight
from trivium.score.keep.pairs import Pairs
from trivium.score.keep.ranking import All
from trivium.score.keep.rule import Choose, Kept, Pool, Scored, usable
from trivium.score.keep.steps import Steps
from trivium.score.keep.threshold import Threshold
from trivium.score.keep.top import Top

AnyKeep = Annotated[Best | Threshold | Top | Pairs | All | Against | Hindsight | Steps, Field(discriminator="kind")]

__all__ = [
    "Against", "All", "AnyKeep", "Best", "Choose", "Hindsight", "Kept", "Pairs", "Pool", "Scored", "Steps", "Threshold", "Top",
    "usable",
]  # fmt: skip
