"""The template of the instruction synthesizer: texts and their pairs to ids, and what it writes back to pairs.

    <s> <CON> {text} </CON>\\n\\n<QUE> {question} <ANS> {answer} </END>\\n\\n<QUE> {question} <ANS> {answer} </END></s>

Cheng et al. 2024, arXiv:2406.14491, as in the code published with it (github.com/microsoft/LMOps, instruction_pretrain). Difference: there
the markers are text, which a corpus can spell; here they are control tokens, whose ids text never becomes and generated ids are parsed by.
<s> and </s> are the tokens that begin the model's texts and end its answers; one that it lacks is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from trivium.text.chat import ChatFormat, Rendered, start_ids
from trivium.text.records.readings import Pair, Reading
from trivium.text.tokenizer import Tokenizer

MARKERS = ("<CON>", "</CON>", "<QUE>", "<ANS>", "</END>")
CUT_OFF, REPEATED = "cut off", "a question asked before"
_REPLACEMENT = "\ufffd"  # what bytes that are no text decode to


@dataclass(frozen=True, slots=True)
class Dropped:
    """A part of what the synthesizer wrote that is no pair, and why."""

    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class Template:
    """start: ids before each text. end: closes the pairs of a text, and generation. markers: ids in the order of MARKERS."""

    tokenizer: Tokenizer
    start: tuple[int, ...]
    end: int
    markers: tuple[int, ...]

    @staticmethod
    def of(tokenizer: Tokenizer, chat: ChatFormat) -> Template:
        """The template in a model's tokens. Raises ArtefactError if its tokenizer lacks the markers."""
        return Template(tokenizer, start_ids(tokenizer, chat), tokenizer.id_of(chat.end), tuple(map(tokenizer.id_of, MARKERS)))

    def prompt(self, shots: Sequence[Reading], text: str) -> np.ndarray:
        """Ids up to where the synthesizer begins to write, (L,) int32; it has seen the shots with their pairs."""
        return np.concatenate([*(part for shot in shots for part in (self._text(shot.context), self._pairs(shot))), self._text(text)])

    def example(self, readings: Sequence[Reading]) -> Rendered:
        """Readings one after another; the pairs, with what ends them, count in the loss."""
        parts = [part for reading in readings for part in (self._text(reading.context), self._pairs(reading))]
        mask = [np.full(len(part), number % 2, np.float32) for number, part in enumerate(parts)]
        return Rendered(np.concatenate(parts), np.concatenate(mask))

    def parse(self, ids: Sequence[int] | np.ndarray) -> tuple[tuple[Pair, ...], tuple[Dropped, ...]]:
        """The pairs in generated ids, and what is left out.

        A pair is <QUE> text <ANS> text </END>, without any other control token; questions that differ only in capitals are one.
        What follows the last </END>, unless it is nothing but the closing token, was cut off.
        """
        *pieces, rest = self._pieces(np.asarray(ids, np.int32))
        found: dict[str, Pair] = {}
        dropped = []
        for piece in pieces:
            pair = self._pair(piece)
            if isinstance(pair, Pair) and found.setdefault(pair.question.casefold(), pair) is not pair:
                pair = REPEATED
            if isinstance(pair, str):
                dropped.append(Dropped(pair, self._shown(piece)))
        if self._shown(rest[rest != self.end]).strip():
            dropped.append(Dropped(CUT_OFF, self._shown(rest)))
        return tuple(found.values()), tuple(dropped)

    def _text(self, text: str) -> np.ndarray:
        opening, closing, *_ = self.markers
        return self._joined([*self.start, " ", opening, f" {text} ", closing, "\n\n"])

    def _pairs(self, reading: Reading) -> np.ndarray:
        _, _, question, answer, end = self.markers
        spans: list[int | str] = []
        for pair in reading.pairs:
            spans += [question, f" {pair.question} ", answer, f" {pair.answer} ", end, "\n\n"]
        return self._joined([*spans[:-1], self.end])

    def _joined(self, spans: Sequence[int | str]) -> np.ndarray:
        """Ids of control tokens, which are numbers, and of the text between them."""
        encoded = iter(self.tokenizer.encode_batch([span for span in spans if isinstance(span, str)]))
        return np.concatenate([next(encoded) if isinstance(span, str) else [span] for span in spans]).astype(np.int32)

    def _pieces(self, ids: np.ndarray) -> Iterator[np.ndarray]:
        """What stands before each </END>, and what is left after the last."""
        start = 0
        for end in np.flatnonzero(ids == self.markers[4]):
            yield ids[start:end]
            start = end + 1
        yield ids[start:]

    def _pair(self, piece: np.ndarray) -> Pair | str:
        """The pair that a piece is, or why it is none."""
        _, _, question, answer, _ = self.markers
        places = np.flatnonzero(np.isin(piece, list(self.tokenizer.special.values())))
        said = piece[places].tolist()
        if said != [question, answer]:
            if not {*said} <= {question, answer}:
                return "another control token inside"
            return "not one question and one answer after it"
        before, asked, answered = (self.tokenizer.decode(part).strip() for part in np.split(piece, places))
        if before:
            return "text before the question"
        if not asked or not answered:
            return f"an empty {'answer' if asked else 'question'}"
        return "bytes that are no text" if _REPLACEMENT in asked + answered else Pair(asked, answered)

    def _shown(self, ids: np.ndarray) -> str:
        return self.tokenizer.decode(ids, skip_special=False)
