"""Near duplicates: drops conversations whose query is close to an earlier one, by the distance of their embeddings."""

from typing import Literal

from pydantic import Field

from trivium.core.config import component
from trivium.synth.filters.rule import Measured
from trivium.text.signals import Reasons, first_of


@component
class NearDuplicates:
    """Minimum neighbour distance: 1 - cosine of the embeddings of a query and of the nearest earlier one, 0 to 2, is at least min_distance.

    Xu et al. 2024, arXiv:2406.08464, section 3: a query is dropped if an earlier one is closer, whether that is dropped itself or not.
    Differences: the nearest neighbour is exact (synth/neighbours.py); the embedding is the mean of the last hidden states of `model`
    over the query, less the mean of all queries (synth/embedding.py), so that distances are of another scale than the published 0.05 of
    all-mpnet-base-v2. docs/magpie.md says what the default was chosen by.
    """

    kind: Literal["near_duplicates"] = "near_duplicates"
    model: str
    min_distance: float = Field(default=0.1, ge=0, le=2)

    def why_not(self, found: Measured) -> Reasons:
        """The reason to drop each conversation, or None. found: distance, of the query to the nearest earlier one."""
        return first_of(("too close to an earlier query", found["distance"] < self.min_distance))
