"""The order of training as an object: which tokens a step sees, and which steps see given tokens.

Biderman et al. 2023 (Pythia), arXiv:2304.01373, section 3, fixed the order of one corpus by storing all its rows in it. Here it is a
function and its inverse: it takes no space, and it does not know of ranks, micro-batches, workers, prefetching or resumption.
"""

import hashlib

import numpy as np

from trivium.data.digest import digest_of
from trivium.data.ngrams import occurrences
from trivium.data.sources import Span, TextSource


class TrainingOrder:
    """Rows and steps of a source, numbered from 0 in the order of training."""

    def __init__(self, source: TextSource) -> None:
        self.source = source

    def row(self, place: int) -> np.ndarray:
        """Token ids of the row at a place, (seq_len,) int32: row place % rows_per_step of step place // rows_per_step."""
        return self.source.row(int(self.source.rows_at(place, 1)[0])).tokens

    def batch(self, step: int) -> np.ndarray:
        """Token ids of a step, (rows_per_step, seq_len) int32."""
        return np.stack([item.tokens for group in self.source(step) for item in group])

    def digest(self, step: int) -> str:
        """What `fit` writes into metrics.jsonl for a step."""
        return digest_of(self.source(step))

    def sha256(self, first: int, last: int) -> str:
        """sha256 of the token ids of steps first .. last - 1, one row after the other, as little-endian int32."""
        running = hashlib.sha256()
        for step in range(first, last):
            running.update(np.ascontiguousarray(self.batch(step), "<i4").data)
        return running.hexdigest()

    def places_with(self, span: Span, num_steps: int, *, is_whole: bool = False) -> np.ndarray:
        """The places in the first num_steps steps that hold a token of a span or, with is_whole, all of it next to each other."""
        rows = self.source.rows_with(span)
        if is_whole:
            rows = np.array([row for row in rows if any(_holds(part, span) for part in self.source.spans(int(row)))], np.int64)
        return self.source.places_of(rows, num_steps * self.source.rows_per_step)

    def find(self, phrase: np.ndarray, num_steps: int) -> np.ndarray:
        """The places in the first num_steps steps whose row holds this phrase of token ids in one piece, ascending.

        Cost: one pass over the text (data/ngrams.py).
        """
        spans = [
            Span(int(start), len(phrase), number)
            for number, tokens in enumerate(self.source.streams)
            for start in occurrences(tokens, phrase)
        ]
        found = [self.places_with(span, num_steps, is_whole=True) for span in spans]
        return np.unique(np.concatenate([np.empty(0, np.int64), *found]))


def _holds(part: Span, span: Span) -> bool:
    return part.stream == span.stream and part.start <= span.start and span.end <= part.end
