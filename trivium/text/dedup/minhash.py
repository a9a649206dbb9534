"""MinHash signatures: a few numbers a document, of which two documents share about as many as of their shingles.

Left out: weights (a shingle counts once, however often it occurs) and exact Jaccard similarities.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from trivium.core.errors import ConfigError
from trivium.core.seeds import generator, mix
from trivium.text.words import Words, hash_words, lay_out, ngrams, split_at_punctuation

EMPTY = 0xFFFFFFFF  # of a bin that holds nothing; after densification only documents without a letter have it, in all bins
BATCH_CHARS = 1 << 16  # what is computed at once stays in the processor's cache
_SHORT_CHARS = 5
_LEAST_CHARS = 256  # that a document counts: its signature takes room too
_DENSE_ROWS = 2048  # densified at once
_DENSE_STEPS = 8  # of densification over whole batches: after them hardly a bin is empty, unless a text is short
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, kw_only=True, slots=True)
class MinHash:
    """One-permutation MinHash with optimal densification: texts -> signatures (D, num_bins) uint32.

    Li, Owen, Zhang 2012, arXiv:1208.1259: one hash of every shingle, its high bits choose a bin, its low bits compete for the
    smallest there. Shrivastava 2017, arXiv:1703.04664, algorithm 1: an empty bin copies the first full one of its own fixed random
    sequence of bins. Difference: that sequence is a permutation, so it ends. The share of equal entries of two signatures is an
    unbiased estimate of the Jaccard similarity J of the sets of shingles, with variance J (1 - J) / num_bins for large sets and
    1.4 times that (measured) where the shingles are fewer than the bins.

    Shingles are runs of `ngram` words (letters, digits, underscores; case does not matter). A text with fewer words has its
    runs of 5 characters, words joined by single spaces, filled up with spaces; one without a word matches nothing. A text just
    below and one just above that limit share nothing.

    num_bins: a power of two; more bins, smaller error (0.035 at J = 0.8 with 128). ngram: 5 for prose, fewer for short answers.
    """

    num_bins: int = 128
    ngram: int = 5

    def __post_init__(self) -> None:
        if self.num_bins not in (32, 64, 128, 256, 512, 1024):
            raise ConfigError(f"num_bins is {self.num_bins}; it is a power of two from 32 to 1024")
        if not 1 <= self.ngram <= 50:
            raise ConfigError(f"ngram is {self.ngram}; shingles have 1 to 50 words")

    def __call__(self, texts: Iterable[str]) -> np.ndarray:
        """Signatures of texts in order, (D, num_bins) uint32. For a corpus, give some thousand texts at a time."""
        parts = [self._batch(batch) if len(batch[0]) <= BATCH_CHARS else self._long(batch[0]) for batch in batches(texts)]
        signature_DK = np.concatenate(parts) if parts else np.zeros((0, self.num_bins), np.uint32)
        for start in range(0, len(signature_DK), _DENSE_ROWS):
            densify(signature_DK[start : start + _DENSE_ROWS])
        return signature_DK

    def _batch(self, texts: Sequence[str]) -> np.ndarray:
        text = lay_out(texts)
        words = split_at_punctuation(text)
        shingles, first = ngrams(hash_words(text, words), words, self.ngram)
        signature_DK = self._smallest(shingles, words.document_W.take(first), len(texts))
        num_words = np.diff(words.first_D)
        short = np.flatnonzero((num_words < self.ngram) & (num_words > 0))
        if len(short):
            grams, document = _character_grams([_spelled(texts[index]) for index in short.tolist()])
            signature_DK[short] = self._smallest(grams, document, len(short))
        return signature_DK

    def _long(self, text: str, window_chars: int = BATCH_CHARS) -> np.ndarray:
        """The signature of one text, (1, num_bins), in memory of a window; the same for windows of any size."""
        signature_1K, num_words = np.full((1, self.num_bins), EMPTY, np.uint32), 0
        before = np.zeros(0, np.uint64)  # the last words of the windows before, which shingles of this one begin with
        for hash_W in _word_windows(text, window_chars):
            num_words += len(hash_W)
            run = np.concatenate([before, hash_W])
            shingles, _ = ngrams(run, Words(run, run, np.array([0, len(run)])), self.ngram)
            np.minimum(signature_1K, self._smallest(shingles, np.zeros(len(shingles), np.int64), 1), out=signature_1K)
            before = run[max(0, len(run) - self.ngram + 1) :]
        if 0 < num_words < self.ngram:
            spelled = _spelled(text)
            for start in range(0, len(spelled) - _SHORT_CHARS + 1, window_chars):
                grams, document = _character_grams([spelled[start : start + window_chars + _SHORT_CHARS - 1]])
                np.minimum(signature_1K, self._smallest(grams, document, 1), out=signature_1K)
        return signature_1K

    def _smallest(self, shingles: np.ndarray, document: np.ndarray, num_documents: int) -> np.ndarray:
        bits = self.num_bins.bit_length() - 1
        signature = np.full(num_documents * self.num_bins, EMPTY, np.uint32)
        cell = document << bits
        cell += (shingles >> np.uint64(64 - bits)).astype(np.int64)
        np.minimum.at(signature, cell, np.minimum(shingles.astype(np.uint32), np.uint32(EMPTY - 1)))
        return signature.reshape(num_documents, self.num_bins)


def densify(signature_DK: np.ndarray) -> np.ndarray:
    """Fill empty bins from full ones, in place; rows without any stay as they are. O(K) steps over what is still empty."""
    is_empty = signature_DK == EMPTY
    wanting_D = np.flatnonzero(is_empty.any(axis=1) & ~is_empty.all(axis=1))
    if len(wanting_D):
        signature_DK[wanting_D] = _densified(signature_DK[wanting_D])
    return signature_DK


def _densified(signature_DK: np.ndarray) -> np.ndarray:
    sparse, sequences = signature_DK.copy(), _sequences(signature_DK.shape[1])  # sparse: copies are not copied again
    for probe in sequences[:_DENSE_STEPS]:
        np.copyto(signature_DK, sparse.take(probe, axis=1), where=signature_DK == EMPTY)
    document, wanting = np.nonzero(signature_DK == EMPTY)
    for probe in sequences[_DENSE_STEPS:]:
        if not len(document):
            break
        values = sparse[document, probe.take(wanting)]
        signature_DK[document, wanting] = values
        left = np.flatnonzero(values == EMPTY)
        document, wanting = document.take(left), wanting.take(left)
    return signature_DK


def similarity(one_NK: np.ndarray, other_NK: np.ndarray) -> np.ndarray:
    """Estimated Jaccard similarity of each pair of rows, (N,) float64; 0 where a document has no word."""
    same = np.count_nonzero(one_NK == other_NK, axis=1) / one_NK.shape[1]
    return np.where(one_NK[:, 0] == EMPTY, 0.0, same)


def batches(texts: Iterable[str], num_chars: int = BATCH_CHARS) -> Iterator[list[str]]:
    """Texts in order, in lists of about so many characters; a longer one is alone, and many empty ones are no small list."""
    batch: list[str] = []
    size = 0
    for text in texts:
        weight = max(len(text), _LEAST_CHARS)
        if batch and size + weight > num_chars:
            yield batch
            batch, size = [], 0
        batch.append(text)
        size += weight
    if batch:
        yield batch


def _word_windows(text: str, window_chars: int) -> Iterator[np.ndarray]:
    """Hashes of the words of a text in order, (W,) uint64, of about so many characters at a time; a longer word is hashed in one."""
    start, size = 0, window_chars
    while start < len(text):
        window = lay_out([text[start : start + size]])
        words = split_at_punctuation(window)
        num_words, end = len(words.end_W), min(start + size, len(text))
        if end < len(text) and num_words and words.end_W[-1] == size:  # the last one may go on
            num_words, end = num_words - 1, start + int(words.start_W[-1])
        if end == start:
            size *= 2
            continue
        yield hash_words(window, Words(words.start_W[:num_words], words.end_W[:num_words], np.array([0, num_words])))
        start, size = end, window_chars


def _spelled(text: str) -> str:
    """Its words joined by single spaces, filled up to one run of characters."""
    return " ".join(_WORD.findall(text)).ljust(_SHORT_CHARS)


def _character_grams(spelled: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of all runs of 5 characters of short texts, and the text of each."""
    text = lay_out(spelled)
    lengths = text.end_D - text.start_D
    place = np.arange(lengths.sum()) + np.repeat(np.arange(len(spelled)), lengths)  # without separators
    letters = Words(place, place + 1, np.concatenate([[0], np.cumsum(lengths)]))
    grams, first = ngrams(hash_words(text, letters), letters, _SHORT_CHARS)
    return mix(grams), letters.document_W.take(first)  # once more: five letters are no five words


@cache
def _sequences(num_bins: int) -> np.ndarray:
    """(K, K) int64: entry [t, i] is the bin that bin i looks at in its step t; each column is a permutation."""
    return generator(0, "bins of MinHash").random((num_bins, num_bins)).argsort(axis=0)
