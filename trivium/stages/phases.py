"""What a phase of on-policy data asks, and which weights its answers come from."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from trivium.core.types import Example
from trivium.data.order import epoch_rows


class PhaseOptions(Protocol):
    """How many prompts a phase asks, and how often each."""

    @property
    def prompts_per_phase(self) -> int: ...
    @property
    def answers(self) -> int: ...


def rows_of(options: PhaseOptions, num_prompts: int, seed: int, phase: int) -> list[int]:
    """The prompts that a phase asks, by their place in the list."""
    return epoch_rows(phase * options.prompts_per_phase, options.prompts_per_phase, num_prompts, seed, "prompts").tolist()


def prompts_of(options: PhaseOptions, prompts: Sequence[np.ndarray], seed: int, phase: int) -> list[np.ndarray]:
    """The prompt of every answer that a phase asks for first."""
    return [prompts[row] for row in rows_of(options, len(prompts), seed, phase) for _ in range(options.answers)]


def versions(answer: Example, phase: int) -> np.ndarray:
    """The weights that each token that counts comes from, in phases; those of now where the engine has no others."""
    column = answer.columns.get("policy_step")
    return np.full(len(answer.response), phase) if column is None else column[answer.loss_mask > 0]


def lag(answers: Sequence[Example], phase: int) -> dict[str, float]:
    """By how many phases the weights that tokens come from are behind on average, if it is said."""
    if not all("policy_step" in answer.columns for answer in answers):
        return {}
    return {"policy_lag": float(phase - np.concatenate([versions(answer, phase) for answer in answers]).mean())}
