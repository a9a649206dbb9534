"""Credit rules: who deserves the reward. One rule a file; each is its own configuration."""

from trivium.learn.credit.gae import GAE, whiten
from trivium.learn.credit.group_mean import GroupMean

__all__ = ["GAE", "GroupMean", "whiten"]
