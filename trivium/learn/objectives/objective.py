"""The losses there are, and what each of them is.

`(Outputs, Batch) -> (loss, metrics)`: the loss is per token (B, L) or per group (G,), as `reduction` says, and never divided by
a count. `needs`: columns it reads; a batch without them is refused by name. `reads_entropy`: whether `out.entropy_BL` must be
computed. A metric is a (sum, count) pair of scalars, which adds up over micro-batches and ranks. A new loss adds its name here.
"""

from typing import Annotated

from pydantic import Field

from trivium.learn.objectives.cross_entropy import CrossEntropy
from trivium.learn.objectives.dpo import DPO
from trivium.learn.objectives.ipo import IPO
from trivium.learn.objectives.policy_gradient import PolicyGradient
from trivium.learn.objectives.ranking import Ranking
from trivium.learn.objectives.value import Value

PreferenceObjective = Annotated[DPO | IPO, Field(discriminator="kind")]  # what `prefer objective=...` may be
Objective = CrossEntropy | DPO | IPO | PolicyGradient | Ranking | Value
