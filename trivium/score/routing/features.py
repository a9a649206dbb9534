"""Prompts as numbers: what a model's hidden states say of them, or their words where there is no model, on few axes.

P prompts, R raw features, D axes. Axes are those along which the training prompts differ most, after each raw feature was centred (of
hidden states also divided by its deviation, since a few of their dimensions are a hundred times as large as the others). Hashed words:
Weinberger et al. 2009, arXiv:0902.2206; weighted by how rare they are, on axes that is latent semantic indexing (Deerwester et al. 1990).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from trivium.core.errors import DataError
from trivium.core.types import Document, Message
from trivium.text.classifier import Features, features
from trivium.text.judge import batches
from trivium.text.signals import Signals

BUCKETS = 1024
_BUCKET_BITS = 10
Turns = tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class PromptSpace:
    """From raw features to axes: (raw * scale_R - mean_R) @ axes_RD, so that the mean square of a training prompt's coordinates is 1."""

    scale_R: np.ndarray
    mean_R: np.ndarray
    axes_RD: np.ndarray

    @staticmethod
    def of(raw_PR: np.ndarray, dim: int, *, is_words: bool) -> "PromptSpace":
        """The `dim` axes of training prompts, fewer if there are not so many. Raises DataError for fewer than two prompts."""
        if len(raw_PR) < 2:
            raise DataError("there are fewer than two prompts to learn from")
        raw = np.asarray(raw_PR, np.float64)
        scale_R = _rareness(raw) if is_words else 1 / np.maximum(raw.std(0), 1e-6)
        scaled = raw * scale_R
        mean_R = scaled.mean(0)
        axes = _main_axes(scaled - mean_R, dim)
        size = float(np.sqrt((((scaled - mean_R) @ axes) ** 2).mean())) or 1.0
        return PromptSpace(scale_R, mean_R, axes / size)

    def __call__(self, raw_PR: np.ndarray) -> np.ndarray:
        """Coordinates of prompts, (P, D) float64."""
        return (np.asarray(raw_PR, np.float64) * self.scale_R - self.mean_R) @ self.axes_RD

    @property
    def dim(self) -> int:
        """D."""
        return self.axes_RD.shape[1]


def with_one(coordinates_PD: np.ndarray) -> np.ndarray:
    """A first column of ones, for what a model is worth whatever the prompt."""
    return np.concatenate([np.ones((len(coordinates_PD), 1)), coordinates_PD], axis=1)


def hashed_words(prompts: Sequence[Turns]) -> np.ndarray:
    """Words and pairs of words of prompts in 1,024 signed buckets, each prompt of length 1; (P, R) float64."""
    found, place = np.zeros((len(prompts), BUCKETS)), 0
    for batch in batches(_documents(prompts)):
        given: Features = features(Signals(batch))
        row_F = np.repeat(np.arange(len(batch)), np.diff(given.first_D))
        sign_F = np.where(given.bucket_F >> _BUCKET_BITS & 1, 1.0, -1.0)
        np.add.at(found, (place + row_F, given.bucket_F & (BUCKETS - 1)), sign_F)
        place += len(batch)
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)


def text_of(prompt: Turns) -> str:
    """All turns of a prompt, one below the other."""
    return "\n".join(turn.content for turn in prompt)


def _documents(prompts: Iterable[Turns]) -> Iterable[Document]:
    return (Document(text_of(prompt)) for prompt in prompts)


def _main_axes(centred_PR: np.ndarray, dim: int) -> np.ndarray:
    """The directions of largest variance, (R, D), each with its largest entry above 0; by the smaller of both squares of the matrix."""
    is_tall = len(centred_PR) >= centred_PR.shape[1]
    values, vectors = np.linalg.eigh(centred_PR.T @ centred_PR if is_tall else centred_PR @ centred_PR.T)
    order = np.argsort(-values, kind="stable")[:dim]
    order = order[values[order] > 1e-9 * values.max()] if values.max() > 0 else order[:1]
    axes_RD = vectors[:, order] if is_tall else centred_PR.T @ vectors[:, order] / np.sqrt(np.maximum(values[order], 1e-30))
    largest_D = axes_RD[np.abs(axes_RD).argmax(0), np.arange(len(order))]
    return axes_RD * np.where(largest_D < 0, -1, 1)


def _rareness(raw_PR: np.ndarray) -> np.ndarray:
    """log((1 + P) / (1 + prompts that have it)): what stands everywhere says nothing (Sparck Jones 1972)."""
    return np.log((1 + len(raw_PR)) / (1 + (raw_PR != 0).sum(0)))
