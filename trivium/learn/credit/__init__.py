"""Credit rules: who deserves the reward. One rule a file; each is its own configuration."""

from typing import Annotated

from pydantic import Field

from trivium.learn.credit.answers import Answers, Credit
from trivium.learn.credit.batch_mean import BatchMean
from trivium.learn.credit.distillation import Distillation
from trivium.learn.credit.gae import GAE, whiten
from trivium.learn.credit.greedy_baseline import GreedyBaseline
from trivium.learn.credit.group_mean import GroupMean
from trivium.learn.credit.leave_one_out import LeaveOneOut
from trivium.learn.credit.overlong import overlong
from trivium.learn.credit.versus import Versus

CreditRule = Annotated[GAE | GroupMean | LeaveOneOut | BatchMean | GreedyBaseline | Versus | Distillation, Field(discriminator="kind")]

__all__ = [
    "GAE",
    "Answers",
    "BatchMean",
    "Credit",
    "CreditRule",
    "Distillation",
    "GreedyBaseline",
    "GroupMean",
    "LeaveOneOut",
    "Versus",
    "overlong",
    "whiten",
]
