"""Credit rules: who deserves the reward. One rule a file; each is its own configuration."""

from typing import Annotated

from pydantic import Field

from trivium.learn.credit.answers import Answers, Credit
from trivium.learn.credit.batch_mean import BatchMean
from trivium.learn.credit.gae import GAE, whiten
from trivium.learn.credit.greedy_baseline import GreedyBaseline
from trivium.learn.credit.group_mean import GroupMean
from trivium.learn.credit.leave_one_out import LeaveOneOut
from trivium.learn.credit.overlong import overlong

CreditRule = Annotated[GAE | GroupMean | LeaveOneOut | BatchMean | GreedyBaseline, Field(discriminator="kind")]

__all__ = ["GAE", "Answers", "BatchMean", "Credit", "CreditRule", "GreedyBaseline", "GroupMean", "LeaveOneOut", "overlong", "whiten"]
