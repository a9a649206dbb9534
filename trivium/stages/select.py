"""By what the model of a fine-tuning run is chosen among those that it was on the way."""

from typing import Annotated, Literal

from pydantic import Field

from trivium.core.config import component
from trivium.generate.sampling import Sampling


@component
class ByLoss:
    """The lowest loss on held-out conversations."""

    kind: Literal["loss"] = "loss"


@component
class ByReward:
    """The highest mean score of a reward model on the model's own answers to held-out prompts.

    Ouyang et al. 2022, arXiv:2203.02155, section 3.5: the score goes on rising, with what people prefer, after the loss on held-out data
    has begun to. Every measurement draws with the same random numbers, so that they differ by their weights only.
    """

    kind: Literal["reward"] = "reward"
    reward_model: str
    prompts: str
    sampling: Sampling = Sampling(max_new_tokens=40)


Select = Annotated[ByLoss | ByReward, Field(discriminator="kind")]
