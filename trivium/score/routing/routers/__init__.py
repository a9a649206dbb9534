"""Routers by kind: from a prompt to how strong each model is on it. What they learn is arrays, which `score/routing/store.py` keeps."""

from typing import Annotated

from pydantic import Field

from trivium.score.routing.routers.classifier import Classifier
from trivium.score.routing.routers.language_model import LanguageModel
from trivium.score.routing.routers.lesson import CHECK_SHARE, Arrays, Lesson, gaps
from trivium.score.routing.routers.matrix import Matrix
from trivium.score.routing.routers.preference import Preference
from trivium.score.routing.routers.random import Random
from trivium.score.routing.routers.similarity import Similarity

LearnedRouter = Random | Similarity | Matrix | Classifier | Preference
AnyRouter = Annotated[LearnedRouter | LanguageModel, Field(discriminator="kind")]

__all__ = [
    "AnyRouter", "Arrays", "CHECK_SHARE", "Classifier", "LanguageModel", "LearnedRouter", "Lesson", "Matrix", "Preference", "Random",
    "Similarity", "gaps",
]  # fmt: skip
