"""JSON as the standard has it: no NaN, no duplicate field, no endless nesting; values one by one from files of any size."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from trivium.core.errors import DataError
from trivium.text.lines import MAX_LINE_BYTES, chunks

_WHITE = " \t\r\n"


class _RefusedError(ValueError):
    """Valid for the library, not for us."""


def parse(text: str, where: str) -> Any:
    """One JSON value. Raises DataError that begins with `where`."""
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise DataError(f"{where}: is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: is not JSON ({_said(error)} at column {error.colno})") from None
    except ValueError as error:
        raise DataError(f"{where}: {_problem(error)}") from None


def _said(error: json.JSONDecodeError) -> str:
    return error.msg.removesuffix(" at")


def _problem(error: ValueError) -> str:
    """What is wrong with a value: in our own words, or that an integer is too long for Python."""
    return "a number has more than 4,300 digits" if "int_max_str_digits" in str(error) else str(error)


def values(path: Path) -> Iterator[tuple[int, Any]]:
    """The elements of a JSON list, or JSON values written one after another, each with the line it starts in.

    Memory is bounded by the largest element (64 Mi characters at most). Raises DataError naming file and line.
    """
    scanner = _Scanner(path)
    is_list = scanner.peek() == "["
    if is_list:
        scanner.at += 1
        if scanner.peek() == "]":
            scanner.at += 1
            is_list = False
    while scanner.peek():
        yield scanner.value()
        if is_list:
            separator = scanner.peek()
            if separator not in (",", "]"):
                scanner.fail("is not JSON (',' or ']' is expected; is the file cut off?)")
            scanner.at += 1
            if separator == "]":
                break
            if not scanner.peek():
                scanner.fail("is not JSON (the list has no end; is the file cut off?)")
    if scanner.peek():
        scanner.fail("is not JSON (text after the end of the list)")


class _Scanner:
    """A window on the text of a file that grows to the right as values need it."""

    def __init__(self, path: Path) -> None:
        self.at = 0
        self._path, self._chunks, self._text, self._lines_before = path, chunks(path), "", 0

    @property
    def line(self) -> int:
        """Line of the next character, from 1."""
        return self._lines_before + self._text.count("\n", 0, self.at) + 1

    def peek(self) -> str:
        """The next character that is not white space; nothing at the end."""
        while True:
            while self.at < len(self._text) and self._text[self.at] in _WHITE:
                self.at += 1
            if self.at < len(self._text):
                return self._text[self.at]
            if not self._grow():
                return ""

    def value(self) -> tuple[int, Any]:
        """Read one value; returns the line it starts in, and the value."""
        line = self.line
        while True:
            try:
                value, self.at = _DECODER.raw_decode(self._text, self.at)
                return line, value
            except RecursionError:
                self.fail("is nested too deeply")
            except json.JSONDecodeError as error:
                place = self._lines_before + error.lineno
                # the text may only be cut off here: look again with twice as much of it
                if self._text[self.at] != "{" or not self._grow():
                    raise DataError(f"{self._path} line {place}: is not JSON ({_said(error)})") from None
            except ValueError as error:
                self.fail(_problem(error))

    def fail(self, problem: str) -> NoReturn:
        """Raise the DataError of this place."""
        raise DataError(f"{self._path} line {self.line}: {problem}")

    def _grow(self) -> bool:
        """Drop what was read and at least double the rest; False at the end of the file or at the limit."""
        self._lines_before = self.line - 1
        self._text, self.at = self._text[self.at :], 0
        parts, size = [self._text], len(self._text)
        if size > MAX_LINE_BYTES:
            return False
        wanted = 2 * size
        for chunk in self._chunks:
            parts.append(chunk)
            size += len(chunk)
            if size >= wanted:
                break
        grown = len(parts) > 1
        self._text = "".join(parts)
        return grown


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        raise _RefusedError(f"'{next(name for name in names if names.count(name) > 1)}' is given twice")
    return fields


def _no_constant(name: str) -> NoReturn:
    raise _RefusedError(f"{name} is not a JSON number")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)
