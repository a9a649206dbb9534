"""Lists that a user gives to a filter: a text file with an entry a line; blank lines and lines that begin with # do not count."""

from functools import cache
from pathlib import Path

from trivium.core.errors import ConfigError, DataError
from trivium.text.lines import lines


def entries(path: str) -> tuple[str, ...]:
    """The entries in small letters, in order. Raises ConfigError if there is no such file or nothing in it, DataError if it is no text."""
    file = Path(path)
    if not file.is_file():
        raise ConfigError(f"{path}: there is no such file; it is a list with an entry a line")
    return _entries(file, file.stat().st_mtime_ns)


@cache
def _entries(file: Path, modified_ns: int) -> tuple[str, ...]:
    """Read once for all batches, and again when the file was changed."""
    found = tuple(line.strip().lower() for _, line in lines(file) if line.strip() and not line.lstrip().startswith("#"))
    if not found:
        raise ConfigError(f"{file}: holds no entry")
    if spaced := next((entry for entry in found if len(entry.split()) > 1), None):
        raise DataError(f"{file}: '{spaced[:60]}' is more than one word; an entry is one word or one domain")
    return found
