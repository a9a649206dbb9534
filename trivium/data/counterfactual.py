"""The same rows in the same order with other words from some step on: what would the model be, had the text been different?

Biderman et al. 2023, arXiv:2304.01373, section 4.1, changed the pronouns of the last 7 % of Pythia's training. Words are changed in the
text of a row and only they are tokenized again, so a row keeps its place and its other tokens. A row that became longer is cut, one
that became shorter is filled with tokens that do not count; how many is counted.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from trivium.core.errors import DataError
from trivium.core.types import Example, Group
from trivium.data.sources import TextSource
from trivium.text.pronouns import Edit
from trivium.text.tokenizer import Tokenizer

Edits = Callable[[str], Sequence[Edit]]
_LONGEST_CHARACTER = 4  # bytes, so tokens that one character can be spread over


class Counterfactual:
    """A source whose rows are edited from step `first_step` (from 0) on; which rows, and what they are made of, is as in `source`.

    changed, fitted: of the step that was asked for last, the share of tokens that are new, and tokens that were cut off or filled in.
    """

    def __init__(self, source: TextSource, tokenizer: Tokenizer, edits: Edits, *, first_step: int) -> None:
        self.source, self.tokenizer, self.edits, self.first_step = source, tokenizer, edits, first_step
        self.seq_len, self.rows_per_step, self.num_rows = source.seq_len, source.rows_per_step, source.num_rows
        self.filled, self.streams, self.row, self.spans = source.filled, source.streams, source.row, source.spans  # as they were
        self.rows_at, self.places_of, self.rows_with = source.rows_at, source.places_of, source.rows_with
        self.changed, self.fitted = 0.0, 0
        self._controls = np.array(sorted(tokenizer.special.values()), np.int64)

    def __call__(self, step: int) -> list[Group]:
        """The groups of step n."""
        groups = self.source(step)
        self.changed, self.fitted = 0.0, 0
        if step < self.first_step:
            return list(groups)
        return [tuple(self._edited(item) for item in group) for group in groups]

    def _edited(self, item: Example) -> Example:
        """A row with other words, of the same length."""
        tokens, mask, at = list[np.ndarray](), list[np.ndarray](), 0
        for start, end, new in self._windows(item.tokens):
            tokens += [item.tokens[at:start], new]
            mask += [item.loss_mask[at:start], np.full(len(new), item.loss_mask[start:end].max(), np.float32)]
            self.changed += len(new) / (len(item.tokens) * self.rows_per_step)
            at = end
        if not tokens:
            return item
        long, counts = np.concatenate([*tokens, item.tokens[at:]]), np.concatenate([*mask, item.loss_mask[at:]])
        missing = len(item.tokens) - len(long)
        self.fitted += abs(missing)
        if missing > 0:
            long, counts = np.pad(long, (0, missing), mode="edge"), np.pad(counts, (0, missing))
        counts[0] = 0
        return Example(long[: len(item.tokens)].astype(np.int32), counts[: len(item.tokens)])

    def _windows(self, tokens: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
        """Tokens start .. end - 1 and what comes in their place, from left to right; between control tokens, which stay."""
        start = 0
        for end in [*np.flatnonzero(np.isin(tokens, self._controls)).tolist(), len(tokens)]:
            run = tokens[start:end]
            text = self.tokenizer.decode(run) if len(run) else ""
            # a word at the edge of a row may be the rest, or the beginning, of a longer one
            at_edges = (0 if start == 0 else -1, len(text) if end == len(tokens) else -1)
            edits = [edit for edit in self.edits(text) if edit.start != at_edges[0] and edit.end != at_edges[1]]
            if edits:
                for first, last, new in self._in_tokens(run, text, edits):
                    yield start + first, start + last, new
            start = end + 1

    def _in_tokens(self, run: np.ndarray, text: str, edits: Sequence[Edit]) -> Iterator[tuple[int, int, np.ndarray]]:
        """The edits of a text by its tokens; those that share a token together."""
        atoms, bounds = self._atoms(run)
        offsets = np.cumsum([0, *map(len, atoms)])
        if "".join(atoms) != text:
            raise DataError("this tokenizer writes a token alone otherwise than in a text; a counterfactual needs a byte-level one")
        spans = [(int(np.searchsorted(offsets, edit.start, "right")) - 1, int(np.searchsorted(offsets, edit.end))) for edit in edits]
        while spans:
            count = 1
            while count < len(spans) and spans[count][0] < spans[count - 1][1]:
                count += 1
            first, last = spans[0][0], spans[count - 1][1]
            old, shift = text[offsets[first] : offsets[last]], offsets[first]
            for edit in reversed(edits[:count]):
                old = old[: edit.start - shift] + edit.new + old[edit.end - shift :]
            if "\ufffd" not in old:  # a word beside a character that the end of the row cuts stays
                yield bounds[first], bounds[last], self.tokenizer.encode(old)
            spans, edits = spans[count:], edits[count:]

    def _atoms(self, run: np.ndarray) -> tuple[list[str], list[int]]:
        """The text of the tokens, those that share a character together, and where each begins in the run, with its end."""
        texts, bounds, start = list[str](), [0], 0
        for end in range(1, len(run) + 1):
            text = self.tokenizer.decode(run[start:end])
            if not text.endswith("\ufffd") or end - start == _LONGEST_CHARACTER or end == len(run):
                texts.append(text)
                bounds.append(end)
                start = end
        return texts, bounds
