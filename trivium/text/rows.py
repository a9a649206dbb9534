"""Rows: one shape for every file format. What a row means is decided in `text/records`."""

import csv
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.parquet as pq

from trivium.core.errors import DamagedError, DataError
from trivium.core.regular import regular
from trivium.text import strict_json
from trivium.text.html_pages import extractor
from trivium.text.lines import MAX_LINE_BYTES, OnSkip, lines, whole_text

HTML = (".html", ".htm", ".xhtml")
_COMPRESSED = (".gz", ".zst")
_BATCH_BYTES = 16 << 20  # of a parquet file, about


@dataclass(frozen=True, slots=True)
class Row:
    """Fields by name; `where` is the file and line that every complaint begins with."""

    path: Path
    number: int
    unit: str
    values: Mapping[str, Any]

    @property
    def where(self) -> str:
        """The file and the line or row in it."""
        return f"{self.path} {self.unit} {self.number}" if self.unit else str(self.path)

    def fail(self, problem: str) -> NoReturn:
        """Raise the DataError of this row."""
        raise DataError(f"{self.where}: {problem}")

    def missing(self, field: str) -> NoReturn:
        """Raise the DataError of a field that is not there."""
        self.fail(f"{field} is missing (found: {', '.join(self.values) or 'nothing'})")

    def text(self, field: str) -> str:
        """The text of a field. Raises DataError: missing, null, another type, not valid Unicode."""
        if field not in self.values:
            self.missing(f"'{field}'")
        return self.check_text(self.values[field], field)

    def filled(self, field: str, what: str) -> list[Any]:
        """The list of a field, which has an entry at least. Raises DataError that says what is expected."""
        value = self.values[field]
        if not isinstance(value, list) or not value:
            self.fail(f"'{field}' is {type_name(value) if value else 'empty'}; {what} is expected")
        return value

    def finite(self, field: str) -> float:
        """The finite number of a field; a CSV holds it as text. Raises DataError: missing, anything else."""
        if field not in self.values:
            self.missing(f"'{field}'")
        value = self.values[field]
        try:
            number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
        except (ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            self.fail(f"'{field}' is {value!r}; a number is expected")
        return number

    def check_text(self, value: Any, name: str) -> str:
        """`value`, if it is text that can be encoded."""
        if not isinstance(value, str):
            self.fail(f"'{name}' is {type_name(value)}; text is expected")
        try:
            value.encode()  # JSON can spell half of a surrogate pair
        except UnicodeEncodeError:
            self.fail(f"'{name}' holds a lone surrogate, which is not valid Unicode")
        return value

    def rest(self, *used: str) -> dict[str, Any]:
        """Every field that was not used; an object named `meta` is merged in."""
        rest = {name: value for name, value in self.values.items() if name not in used}
        inner = rest.pop("meta", None)
        if isinstance(inner, Mapping):
            return {**inner, **rest}
        return rest if inner is None else {**rest, "meta": inner}


def type_name(value: Any) -> str:
    """What a JSON value is, in words."""
    if value is None:
        return "null"
    names = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "an object"}
    return names.get(type(value), f"a {type(value).__name__}")


def rows(path: Path, on_skip: OnSkip | None = None) -> Iterator[Row]:
    """The rows of one file, streamed; its format is told by its name. Raises DataError, also when there is no row.

    on_skip: called with the error of a line of .jsonl that is no row, and reading goes on. What is no line of .jsonl has no place to go on
    from: it is called with a DamagedError, and the rows end there.
    """
    reader = _READERS.get(format_of(path))
    if reader is None:
        raise DataError(f"{path}: its format is not known by its name; it is one of: {', '.join(_READERS)}, also with .gz or .zst")
    empty = True
    try:
        for row in reader(path, on_skip):
            empty = False
            yield row
    except DataError as error:
        if on_skip is None:
            raise
        on_skip(DamagedError(f"{error}; the file is read up to there"))
    if empty and on_skip is None:
        raise DataError(f"{path}: is empty")


def format_of(path: Path) -> str:
    """The ending that tells the format, compression left out."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def is_known(path: Path) -> bool:
    """Whether the name tells a format that can be read."""
    return format_of(path) in _READERS


def _jsonl(path: Path, on_skip: OnSkip | None) -> Iterator[Row]:
    for number, line in lines(path, on_skip):
        if not line.strip():
            continue
        try:
            row = _object(path, number, strict_json.parse(line, f"{path} line {number}"))
        except DataError as error:
            if on_skip is None:
                raise
            on_skip(error)
            continue
        yield row


def _json(path: Path, on_skip: OnSkip | None) -> Iterator[Row]:
    for number, value in strict_json.values(path):
        yield _object(path, number, value)


def _object(path: Path, number: int, value: Any) -> Row:
    if not isinstance(value, dict):
        raise DataError(f"{path} line {number}: is {type_name(value)}; an object with fields is expected")
    return Row(path, number, "line", value)


def _text(path: Path, on_skip: OnSkip | None) -> Iterator[Row]:
    if text := whole_text(path):
        yield Row(path, 1, "", {"text": text})


def _html(path: Path, on_skip: OnSkip | None) -> Iterator[Row]:
    text = extractor()(whole_text(path), str(path))
    yield Row(path, 1, "", {"text": text})  # a page without main text is an empty document, which filters count


def _csv(path: Path, on_skip: OnSkip | None) -> Iterator[Row]:
    csv.field_size_limit(MAX_LINE_BYTES)  # the module's own limit of 128 KiB is below many documents; it has no other place to set it
    reader = csv.reader((f"{line}\n" for _, line in lines(path)), strict=True)
    try:
        header = next(reader, [])
        if len(set(header)) < len(header):
            raise DataError(f"{path} line 1: a column is named twice ({', '.join(header)})")
        for cells in reader:
            if len(cells) != len(header):
                raise DataError(f"{path} line {reader.line_num}: has {len(cells)} cells, the header has {len(header)}")
            yield Row(path, reader.line_num, "line", dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        raise DataError(f"{path} line {reader.line_num}: is not CSV ({error})") from None


def _parquet(path: Path, on_skip: OnSkip | None) -> Iterator[Row]:
    try:
        with pq.ParquetFile(regular(path)) as file:
            number = 0
            meta = file.metadata
            size = sum(meta.row_group(group).total_byte_size for group in range(meta.num_row_groups)) / max(1, meta.num_rows)
            for batch in file.iter_batches(batch_size=max(1, min(256, int(_BATCH_BYTES / max(1.0, size))))):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(path, number, "row", values)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file") from None
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: is not parquet, or damaged ({error})") from None


_READERS: dict[str, Callable[[Path, OnSkip | None], Iterator[Row]]] = {
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".parquet": _parquet,
    ".txt": _text,
    ".md": _text,
    **dict.fromkeys(HTML, _html),
}
