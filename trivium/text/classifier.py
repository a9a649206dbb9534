"""A classifier of documents: logistic regression over hashed words and pairs of words, trained in NumPy within seconds.

What fastText does for one label (Joulin et al. 2016, arXiv:1607.01759): the words of a document in any case and their neighbours fall into
2^18 buckets of one weight each, and the weights are averaged. Differences: the sum is divided by the root of the number of features instead
of the number, because a long text says more; there is no hidden layer, which with two classes adds nothing; both classes weigh the same.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from trivium.core.commit import commit, read_manifest, verify
from trivium.core.errors import ConfigError, DataError
from trivium.core.seeds import generator
from trivium.core.types import Document
from trivium.text.judge import batches
from trivium.text.signals import Signals
from trivium.text.words import ngrams

BITS = 18
EPOCHS, BATCH_DOCUMENTS, RATE = 5, 64, 0.3
HELDOUT_SHARE, MIN_DOCUMENTS = 0.1, 20  # of each class
_KIND, _WEIGHTS, _FACTS = "classifier", "weights.safetensors", "classifier.json"


@dataclass(frozen=True, slots=True)
class Features:
    """Buckets of all documents, end to end: bucket_F, int32; those of document d are bucket_F[first_D[d] : first_D[d + 1]]."""

    bucket_F: np.ndarray
    first_D: np.ndarray

    def of(self, document_X: np.ndarray) -> "Features":
        """Those of some documents, in this order."""
        size = np.diff(self.first_D)[document_X]
        first = np.append(0, np.cumsum(size))
        place = np.repeat(self.first_D[document_X] - first[:-1], size) + np.arange(first[-1])
        return Features(self.bucket_F[place], first)


@dataclass(frozen=True, slots=True)
class Classifier:
    """weights: (2^BITS + 1,) float32, the last one the bias."""

    weights: np.ndarray

    def scores(self, signals: Signals) -> np.ndarray:
        """The probability that each document is a good one, (D,) float64."""
        return self.scores_of(features(signals))

    def scores_of(self, given: Features) -> np.ndarray:
        """The same from features."""
        with np.errstate(over="ignore"):  # exp of a large number is infinite, and its score 0
            return 1 / (1 + np.exp(-_margins(self.weights, given)))


@dataclass(frozen=True, slots=True)
class HeldOut:
    """How good a classifier is on documents that it was not trained on: the shares of either class that it puts right."""

    good: float
    other: float
    num_good: int
    num_other: int

    @property
    def accuracy(self) -> float:
        """The mean of both: one half is chance, however many there are of each."""
        return (self.good + self.other) / 2


def features(signals: Signals) -> Features:
    """Words and pairs of words of each document of a batch."""
    words, hash_W = signals.bare_words
    pair_G, first_G = ngrams(hash_W, words, 2)
    hashes = np.concatenate([hash_W, pair_G])
    document = np.concatenate([words.document_W, words.document_W[first_G]])
    order = np.argsort(document, kind="stable")
    bucket = (hashes[order] >> np.uint64(64 - BITS)).astype(np.int32)
    return Features(bucket, np.append(0, np.cumsum(np.bincount(document, minlength=len(signals)))))


def train(good: Iterable[Document], other: Iterable[Document], *, seed: int = 1) -> tuple[Classifier, HeldOut]:
    """A classifier that tells good documents from others, and how well it does on a tenth of each that it has not seen.

    The features of all documents are held in memory, 4 bytes each, about two a word. Raises DataError with fewer than 20 of a class.
    """
    classes = [_joined([features(Signals(batch)) for batch in batches(documents)]) for documents in (good, other)]
    counts = [len(given.first_D) - 1 for given in classes]
    for name, count in zip(("good", "other"), counts, strict=True):
        if count < MIN_DOCUMENTS:
            raise DataError(
                f"the {name} texts are {count} documents; a classifier needs at least {MIN_DOCUMENTS}, and is better with thousands"
            )
    given = _joined(classes)
    is_good = np.arange(sum(counts)) < counts[0]
    heldout = np.concatenate(
        [start + generator(seed, "hold out", start).permutation(count)[: max(1, round(count * HELDOUT_SHARE))]
         for start, count in zip((0, counts[0]), counts, strict=True)]
    )  # fmt: skip
    classifier = Classifier(_fit(given, is_good, np.setdiff1d(np.arange(len(is_good)), heldout), seed))
    is_right = (classifier.scores_of(given.of(heldout)) >= 0.5) == is_good[heldout]
    right, wrong = is_right[is_good[heldout]], is_right[~is_good[heldout]]
    return classifier, HeldOut(float(right.mean()), float(wrong.mean()), len(right), len(wrong))


def save_classifier(path: Path, classifier: Classifier, held_out: HeldOut) -> None:
    """A committed folder: the weights, and what is known about them as JSON."""
    facts = {"bits": BITS, "held_out": {name: getattr(held_out, name) for name in HeldOut.__slots__}}

    def write(folder: Path) -> None:
        save_file({"weights": classifier.weights}, folder / _WEIGHTS)
        (folder / _FACTS).write_text(json.dumps(facts, indent=1))

    commit(path, write, kind=_KIND, meta=facts)


def check_classifier(path: str) -> None:
    """Raise ConfigError or ArtefactError unless there is a classifier in this folder."""
    if not Path(path).is_dir():
        raise ConfigError(f"{path}: there is no such folder; `trivium quality GOOD OTHER {path}` makes a classifier")
    read_manifest(Path(path), kind=_KIND)


def load_classifier(path: str) -> Classifier:
    """The classifier of a folder, read once. Raises ArtefactError if it is damaged."""
    return _load(path, read_manifest(Path(path), kind=_KIND)["seal"])


@cache
def _load(path: str, seal: str) -> Classifier:
    verify(Path(path), kind=_KIND)
    return Classifier(load_file(Path(path) / _WEIGHTS)["weights"])


def _joined(parts: list[Features]) -> Features:
    if not parts:
        return Features(np.zeros(0, np.int32), np.zeros(1, np.int64))
    size = np.concatenate([np.diff(part.first_D) for part in parts])
    return Features(np.concatenate([part.bucket_F for part in parts]), np.append(0, np.cumsum(size)))


def _margins(weights: np.ndarray, given: Features) -> np.ndarray:
    """The log of the odds, (D,) float64."""
    sums = np.append(0, np.cumsum(weights[given.bucket_F], dtype=np.float64))
    size = np.diff(given.first_D)
    return np.diff(sums[given.first_D]) / np.sqrt(np.maximum(size, 1)) + float(weights[-1])


def _fit(given: Features, is_good: np.ndarray, chosen: np.ndarray, seed: int) -> np.ndarray:
    """AdaGrad (Duchi, Hazan, Singer 2011, fig. 1, diagonal) on the log loss, in random order; the bias is a feature that all have."""
    weights, squares = np.zeros((1 << BITS) + 1, np.float32), np.full((1 << BITS) + 1, 1e-8)
    share = is_good[chosen].mean()
    class_weight = np.where(is_good, 0.5 / share, 0.5 / (1 - share))
    for epoch in range(EPOCHS):
        order = generator(seed, "order of documents", epoch).permutation(chosen)
        for start in range(0, len(order), BATCH_DOCUMENTS):
            batch = order[start : start + BATCH_DOCUMENTS]
            part = given.of(batch)
            size = np.diff(part.first_D)
            error = (Classifier(weights).scores_of(part) - is_good[batch]) * class_weight[batch] / len(batch)
            bucket = np.append(part.bucket_F, len(weights) - 1)
            share_F = np.append(np.repeat(error / np.sqrt(np.maximum(size, 1)), size), error.sum())
            touched, which = np.unique(bucket, return_inverse=True)
            gradient = np.bincount(which, share_F)
            squares[touched] += gradient**2
            weights[touched] -= (RATE * gradient / np.sqrt(squares[touched])).astype(np.float32)
    return weights
