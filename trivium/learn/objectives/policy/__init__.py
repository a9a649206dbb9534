"""Policy losses: tokens with an advantage become more likely. One loss a file; what the ratio and its bound are is theirs to say."""

from typing import Annotated

from pydantic import Field

from trivium.learn.objectives.policy.cispo import CISPO
from trivium.learn.objectives.policy.policy_gradient import PolicyGradient
from trivium.learn.objectives.policy.reinforce import REINFORCE
from trivium.learn.objectives.policy.sapo import SAPO

PolicyLoss = PolicyGradient | CISPO | SAPO | REINFORCE
PolicyObjective = Annotated[PolicyLoss, Field(discriminator="kind")]

__all__ = ["CISPO", "REINFORCE", "SAPO", "PolicyGradient", "PolicyLoss", "PolicyObjective"]
