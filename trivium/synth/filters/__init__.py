"""Filters of conversations: which of them are worth learning from. One rule a file; each is its own configuration."""

from typing import Annotated

from pydantic import Field

from trivium.synth.filters.judged import Judged
from trivium.synth.filters.language import Language
from trivium.synth.filters.length import Length
from trivium.synth.filters.longest import Longest
from trivium.synth.filters.near_duplicates import NearDuplicates
from trivium.synth.filters.repetition import Repetition
from trivium.synth.filters.reward import Reward
from trivium.synth.filters.rule import Measured
from trivium.synth.filters.valid import Valid

ReadingFilter = Valid | Length | Language | Repetition
ChatFilter = Annotated[Valid | Length | Language | Repetition | NearDuplicates | Reward | Judged | Longest, Field(discriminator="kind")]

__all__ = [
    "ChatFilter", "Judged", "Language", "Length", "Longest", "Measured", "NearDuplicates", "ReadingFilter", "Repetition", "Reward", "Valid",
]  # fmt: skip
