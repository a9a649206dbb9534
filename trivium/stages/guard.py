"""What ends reinforcement learning before a reward is over-optimised, and says why."""

import math

from pydantic import Field

from trivium.core.config import Texts, component, is_set


@component
class Guard:
    """Stops a run, whose model is then saved as it is, when one of these is passed; metrics are those of the phases.

    max_kl: nats an answer from the starting model. models: reward models that the policy is not trained on; when their mean score has
    fallen `patience` phases in a row below its best by more than `slack`, the run ends (Gao et al. 2022, arXiv:2210.10760: the proxy rises
    on while what it stands for falls). min_stop_rate, min_entropy_share: the share of answers that end by themselves, and of the first
    phase's entropy, below which the policy has collapsed.
    """

    max_kl: float = Field(default=math.inf, gt=0, allow_inf_nan=True)
    models: Texts = ()
    patience: int = Field(default=2, ge=1)
    slack: float = Field(default=0.0, ge=0)
    min_stop_rate: float = Field(default=0.0, ge=0, le=1)
    min_entropy_share: float = Field(default=0.05, ge=0, lt=1)

    def __post_init__(self) -> None:
        if not self.models and (is_set(self, "patience") or is_set(self, "slack")):
            raise ValueError("patience and slack are of the score by guard.models, and none is named; leave them out")
