"""What a row says of its answers beside their order: scores, how sure people were, and which of them ended by themselves."""

from typing import Any

from trivium.core.types import Preference
from trivium.text.records.ranks import is_number
from trivium.text.rows import Row


def check_judgements(row: Row, found: Preference) -> None:
    """Raise DataError for a field of `meta` that training reads and could not use; null is as if it were not there.

    scores: a finite number for each response; what is no list is something else, and stays as it is. margin: a finite number from 0. prob:
    a number from 0 to 1. stopped: true or false for each response.
    """
    meta, count = found.meta, len(found.responses)
    scores, stopped = meta.get("scores"), meta.get("stopped")
    if isinstance(scores, list) and not _is_each(scores, count, is_number):
        row.fail(f"'scores' is {_shown(scores)}; {count} finite numbers are expected, one for each response")
    if stopped is not None and not _is_each(stopped, count, lambda value: isinstance(value, bool)):
        row.fail(f"'stopped' is {_shown(stopped)}; a list with true or false for each of the {count} responses is expected")
    for name, high in (("margin", float("inf")), ("prob", 1.0)):
        value = meta.get(name)
        if value is not None and not (is_number(value) and 0 <= value <= high):
            row.fail(f"'{name}' is {_shown(value)}; a number from 0{' to 1' if high == 1 else ''} is expected")


def _is_each(values: Any, count: int, is_one: Any) -> bool:
    return isinstance(values, list) and len(values) == count and all(map(is_one, values))


def _shown(value: Any) -> str:
    return str(value)[:40]
