"""What the page sends when somebody has said which of two answers is better."""

from collections.abc import Collection
from typing import Literal

from pydantic import Field

from trivium.core.types import Match
from trivium.serve.asked import RefusedError, Strict, Turn

_SCORES = {"a": 1.0, "b": 0.0, "tie": 0.5}


class Vote(Strict):
    """The body of /votes: which of two answers to a prompt was better."""

    models: list[str] = Field(min_length=2, max_length=2)
    winner: Literal["a", "b", "tie"]
    prompt: list[Turn] = Field(min_length=1, max_length=1024)
    answers: list[str] = Field(min_length=2, max_length=2)

    def match(self, known: Collection[str]) -> Match:
        """The vote as a match. Raises RefusedError if the models are not two of those that are served."""
        first, second = self.models
        if first == second or not {first, second} <= set(known):
            raise RefusedError("'models': two different models that are served here are needed", "models", 404)
        prompt = tuple(turn.message() for turn in self.prompt)
        if not prompt[-1].role == "user":
            raise RefusedError("'prompt': the last turn must be the user's", "prompt")
        return Match((first, second), _SCORES[self.winner], prompt, (self.answers[0], self.answers[1]))
