"""Tokens to text as they come: whole characters only, and nothing of a text that ends the answer."""

from collections.abc import Sequence

from trivium.text.tokenizer import Tokenizer

_REPLACEMENT = "\ufffd"  # what bytes that are no character, or not yet one, are decoded to
_CHARACTER_TOKENS = 4  # a character has at most four bytes, so after so many tokens it is whole or never will be


class Writer:
    """The text of one answer. stop: texts that end it, which are not part of it."""

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = ()) -> None:
        self._tokenizer, self._stop = tokenizer, stop
        self._ids: list[int] = []
        self._before, self._written = 0, 0  # tokens from which on is decoded, and those whose text was given
        self._held = ""
        self.size = 0  # characters of the text so far, those that are held back included; nothing of what ends it once it is over
        self.is_over = False

    def add(self, token: int) -> str:
        """The text that is sure now; it may be empty."""
        self._ids.append(token)
        new = self._decoded()
        if new.endswith(_REPLACEMENT) and len(self._ids) - self._written < _CHARACTER_TOKENS:
            return ""
        return self._write(new)

    def rest(self) -> str:
        """What was held back, when the answer has ended."""
        given = self._write(self._decoded())
        held, self._held = self._held, ""
        return given if self.is_over else given + held

    def _decoded(self) -> str:
        """The text of the tokens since the last whole character; those before it say whether a space belongs to it."""
        known = self._tokenizer.decode(self._ids[self._before : self._written])
        return self._tokenizer.decode(self._ids[self._before :])[len(known) :]

    def _write(self, new: str) -> str:
        self._before, self._written = self._written, len(self._ids)
        if self.is_over:
            return ""
        text = self._held + new
        self.size += len(new)
        found = [place for place in (text.find(stop) for stop in self._stop) if place >= 0]
        if found:
            self.size += min(found) - len(text)
            self.is_over, self._held = True, ""
            return text[: min(found)]
        longest = max((_begun(text, stop) for stop in self._stop), default=0)
        self._held = text[len(text) - longest :]
        return text[: len(text) - longest]


def _begun(text: str, stop: str) -> int:
    """How many characters at the end of a text may be the beginning of the one that ends it."""
    return next((size for size in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:size])), 0)
