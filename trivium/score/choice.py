"""Multiple choice: what a model says by how likely it finds each of a few options, which is more than the word it would choose.

N questions, K options.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from trivium.core.types import Message

GRADES = tuple(f" {grade}" for grade in range(1, 11))


@dataclass(frozen=True, slots=True)
class Question:
    """Turns that wait for an answer, and how it begins; the option comes next."""

    messages: tuple[Message, ...]
    opening: str


Choose = Callable[[Sequence[Question], Sequence[str]], np.ndarray]  # log-probs of the options as they follow each question; (N, K)


def exclusive(logprobs_NK: np.ndarray, options: Sequence[Sequence[int]]) -> np.ndarray:
    """Log-probs of options, given as ids, of which none is counted in another: that of `1` is what is left of it without `10`."""
    shares_NK = np.exp(np.asarray(logprobs_NK, np.float64))
    left_NK = shares_NK.copy()
    for place, ids in enumerate(options):
        longer = [other for other in options if _begins(ids, other)]
        nearest = [k for k, other in enumerate(options) if other in longer and not any(_begins(between, other) for between in longer)]
        left_NK[:, place] -= shares_NK[:, nearest].sum(1)
    with np.errstate(divide="ignore"):
        return np.log(np.maximum(left_NK, 0.0))


def among(logprobs_NK: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(probability of each option among them, (N, K); what they have together of all that the model might say, (N,))."""
    most_N1 = logprobs_NK.max(1, keepdims=True)
    shares_NK = np.exp(logprobs_NK - np.where(np.isfinite(most_N1), most_N1, 0.0))
    total_N1 = shares_NK.sum(1, keepdims=True)
    even = np.full_like(shares_NK, 1 / shares_NK.shape[1])  # where none is possible at all
    return np.where(total_N1 > 0, shares_NK / np.where(total_N1 > 0, total_N1, 1.0), even), np.exp(logprobs_NK).sum(1)


def expected_grade(probs_NK: np.ndarray) -> np.ndarray:
    """The mean of grades from 1 to K, as a number from -1 (all on 1) to 1 (all on K); (N,).

    Direct RLAIF: Lee et al. 2023, arXiv:2309.00267, section 3.2.2.
    """
    K = probs_NK.shape[1]
    mean_N = probs_NK @ np.arange(1.0, K + 1)
    return (mean_N - (K + 1) / 2) / ((K - 1) / 2)


def _begins(short: Sequence[int], long: Sequence[int]) -> bool:
    return len(short) < len(long) and list(long[: len(short)]) == list(short)
