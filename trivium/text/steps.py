"""Where the steps of an answer end, in its tokens: what a process reward model is trained at and read at."""

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np

from trivium.core.types import Example
from trivium.text.tokenizer import Tokenizer


def step_ends(answers: Sequence[Example], tokenizer: Tokenizer, separator: str) -> list[np.ndarray]:
    """For each answer the index of the token that ends each of its steps, ascending and at least one.

    A step ends at the token with the last character of the separator behind it, so nothing that follows is seen there; the last step at
    the last token that counts. Blank steps are none. An answer is the last unbroken run of tokens that count. Whatever the tokenizer
    merged or cut, a separator is found: one that shares a token with other text, and one that takes several. Costs for each step as many
    decodings of the answer as its length can be halved.
    """
    spans = [answer_span(answer.loss_mask) for answer in answers]
    return [
        span.start + np.array(_ends(answer.tokens[span], tokenizer, separator), np.int64)
        for answer, span in zip(answers, spans, strict=True)
    ]


def _ends(tokens: np.ndarray, tokenizer: Tokenizer, separator: str) -> list[int]:
    text, last = tokenizer.decode(tokens), len(tokens) - 1

    def token_at(length: int) -> int:
        """The first token with which so much of the text is there; a letter may be cut between tokens."""
        return bisect_left(range(last), True, key=lambda index: tokenizer.decode(tokens[: index + 1]).startswith(text[:length]))

    ends, start = [], 0
    while (at := text.find(separator, start)) >= 0:
        if text[start:at].strip():
            ends.append(token_at(at + len(separator)))
        start = at + len(separator)
    if text[start:].strip() or not ends:
        ends.append(last)
    return sorted(set(ends))


def answer_span(loss_mask: np.ndarray) -> slice:
    """Where the last unbroken run of tokens that count is."""
    counted = np.flatnonzero(loss_mask)
    breaks = np.flatnonzero(np.diff(counted) > 1)
    return slice(int(counted[breaks[-1] + 1] if len(breaks) else counted[0]), int(counted[-1]) + 1)
