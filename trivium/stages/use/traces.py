"""What looking back at a run finds: records that read as lines for people, and as JSON for programs."""

import re
from dataclasses import dataclass

_CONTEXT = 40  # characters on each side of what was found


@dataclass(frozen=True, slots=True)
class Step:
    """The data of a step as one. digest: computed now; logged: when it was trained on, "" if it was not yet."""

    step: int
    rows: int
    seq_len: int
    digest: str
    logged: str

    def __str__(self) -> str:
        said = {self.digest: "as logged", "": "not logged"}.get(self.logged, f"but {self.logged} was logged: other data")
        return f"step {self.step}: {self.rows} rows of {self.seq_len} tokens, digest {self.digest}, {said}"


@dataclass(frozen=True, slots=True)
class Shown:
    """A part of a document in a row: its tokens first .. last (from 0) of `num_tokens`, and their text."""

    step: int
    row: int
    document: str
    part: str
    source: str
    first: int
    last: int
    num_tokens: int
    text: str

    def __str__(self) -> str:
        name = f"'{printable(self.document)}' ({', '.join(printable(word) for word in (self.part, self.source) if word) or 'no source'})"
        text = "\n".join(f"    {line}" for line in printable(self.text).splitlines())
        return f"row {self.row}: document {name}, tokens {self.first:,} to {self.last:,} of {self.num_tokens:,}\n{text}"


@dataclass(frozen=True, slots=True)
class Origin:
    """A document that was looked for, and how many rows so far held some of it."""

    document: str
    source: str
    part: str
    num_tokens: int
    num_bytes: int
    num_rows: int

    def __str__(self) -> str:
        where = ", ".join(printable(word) for word in (self.part, self.source) if word) or "no source"
        size = f"{self.num_tokens:,} tokens, {self.num_bytes:,} bytes"
        return f"document '{printable(self.document)}' ({where}): {size}, in {self.num_rows:,} rows so far"


@dataclass(frozen=True, slots=True)
class Seen:
    """A row that held tokens first .. last (from 0) of a document."""

    step: int
    row: int
    document: str
    first: int
    last: int

    def __str__(self) -> str:
        return f"step {self.step:>6} row {self.row:>4}: its tokens {self.first:,} to {self.last:,}"


@dataclass(frozen=True, slots=True)
class Found:
    """A row with a term in one of its documents: how often, and the first time with what stands around it."""

    step: int
    row: int
    document: str
    part: str
    count: int
    text: str

    def __str__(self) -> str:
        return f"step {self.step:>6} row {self.row:>4}: {self.count} in document '{printable(self.document)}': {one_line(self.text)}"


@dataclass(frozen=True, slots=True)
class Verified:
    """All recorded steps have the data that was logged. sha256: of all their tokens in order, as little-endian int32."""

    stage: str
    steps: int
    rows: int
    tokens: int
    sha256: str

    def __str__(self) -> str:
        size = f"{self.steps:,} steps, {self.rows:,} rows, {self.tokens:,} tokens"
        return f"{self.stage}: {size}: each step as it was logged\nsha256 {self.sha256}"


@dataclass(frozen=True, slots=True)
class Phrase:
    """A phrase that the training text has `count` times; where: (document, source, its first token in it, steps that saw it whole)."""

    text: str
    tokens: int
    count: int
    part: str
    where: tuple[tuple[str, str, int, list[int]], ...]

    def __str__(self) -> str:
        times = "once" if self.count == 1 else f"{self.count:,} times"
        lines = [f"{self.tokens} tokens, {times}{f' in {self.part}' if self.part else ''}: {one_line(self.text)}"]
        for document, source, first, steps in self.where:
            seen = f"seen at step {', '.join(map(str, steps))}" if steps else "not seen whole in one row so far"
            lines.append(f"    document '{printable(document)}' ({printable(source) or 'no source'}) from token {first:,}: {seen}")
        more = self.count - len(self.where)
        return "\n".join(lines + [f"    and at {more:,} more places"] * bool(more > 0))


def pattern_of(term: str, *, is_exact: bool) -> re.Pattern[str]:
    """What finds a term in text; is_exact: not inside of a longer word, nor of a longer number with its points and commas."""
    if not is_exact:
        return re.compile(re.escape(term))
    before = r"(?<!\w)" + (r"(?<!\d[.,])" if term[0].isdigit() else "")
    after = r"(?!\w)" + (r"(?![.,]\d)" if term[-1].isdigit() else "")
    return re.compile(before + re.escape(term) + after)


def snippet(text: str, span: tuple[int, int]) -> str:
    """A part of a text with some of what stands before and after it."""
    return text[max(0, span[0] - _CONTEXT) : span[1] + _CONTEXT]


def printable(text: str) -> str:
    """Text for a terminal: lines stay, what could move its cursor or change its colours does not."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "\ufffd" for letter in text)


def one_line(text: str) -> str:
    """The same in one line."""
    return " ".join(printable(text).split())
