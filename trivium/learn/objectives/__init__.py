"""Objectives: what is wanted. One loss a file; each is its own configuration and never divides by a count."""

from trivium.learn.objectives.cross_entropy import CrossEntropy
from trivium.learn.objectives.dpo import DPO
from trivium.learn.objectives.ipo import IPO
from trivium.learn.objectives.objective import Objective, PreferenceObjective
from trivium.learn.objectives.policy_gradient import PolicyGradient
from trivium.learn.objectives.ranking import Ranking
from trivium.learn.objectives.value import Value

__all__ = ["DPO", "IPO", "CrossEntropy", "Objective", "PolicyGradient", "PreferenceObjective", "Ranking", "Value"]
