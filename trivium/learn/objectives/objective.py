"""The losses there are, and what each of them is.

`(Outputs, Batch) -> (loss, metrics)`: the loss is per token (B, L) or per group (G,), as `reduction` says, and never divided by
a count. `needs`: columns it reads; a batch without them is refused by name. A metric is a tuple of scalars that add up over
micro-batches and ranks, (sum, count) for a mean, and become one number at the end (`measure` in learn/reduce.py). A new loss adds its
name here, or in the union of its folder.
"""

from trivium.learn.objectives.cross_entropy import CrossEntropy
from trivium.learn.objectives.gkd import GKD
from trivium.learn.objectives.policy import PolicyLoss
from trivium.learn.objectives.preference import PreferenceLoss
from trivium.learn.objectives.process import Process
from trivium.learn.objectives.ranking import Ranking
from trivium.learn.objectives.value import Value

Objective = CrossEntropy | GKD | PolicyLoss | PreferenceLoss | Process | Ranking | Value
