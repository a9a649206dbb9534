"""Objectives: what is wanted. One loss a file; each is its own configuration and never divides by a count."""

from trivium.learn.objectives.cross_entropy import CrossEntropy
from trivium.learn.objectives.gkd import GKD
from trivium.learn.objectives.objective import Objective
from trivium.learn.objectives.process import Process
from trivium.learn.objectives.ranking import Ranking
from trivium.learn.objectives.value import Value

__all__ = ["GKD", "CrossEntropy", "Objective", "Process", "Ranking", "Value"]
