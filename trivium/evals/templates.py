"""Templates of tasks: Jinja in its sandbox, over the fields of one record. A mistake in one is one line that names it and the record.

A template gives text; an expression (`choices`, `answerKey == 'A'`) gives what it says, a list for example. Both know the fields by
name, all of them as `record`, and besides Jinja's filters `regex_replace(pattern, new)` and `lettered`.
"""

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from jinja2 import StrictUndefined, TemplateError, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from trivium.core.errors import ConfigError, DataError

_LETTER = re.compile(r"\s*([A-Z])[.)](?:\s+|$)")


def lettered(text: str) -> list[str]:
    """The options of a text such as "A. bank\\nB. library", in order. A line that does not begin with the next letter goes on with one."""
    options: list[str] = []
    first = 0
    for line in text.strip().splitlines():
        mark = _LETTER.match(line)
        letter = ord(mark[1]) if mark else 0
        if mark and (not options or letter == first + len(options)):
            first = first or letter
            options.append(line[mark.end() :])
        elif options:
            options[-1] += f"\n{line}"
    return [option.strip() for option in options]


def render(template: str, fields: Mapping[str, Any], where: str) -> str:
    """The text of a template for one record. where: names the template in errors. Raises DataError: a field is missing, it fails."""
    return str(_evaluated(_compiled(template, False, where), fields, where))


def evaluate(expression: str, fields: Mapping[str, Any], where: str) -> Any:
    """What an expression says of one record. Raises DataError as `render` does."""
    return _evaluated(_compiled(expression, True, where), fields, where)


@cache
def _compiled(source: str, is_expression: bool, where: str) -> Callable[..., Any]:
    """Raises ConfigError if it is no template."""
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
    environment.filters["regex_replace"] = lambda text, pattern, new: re.sub(pattern, new, text)
    environment.filters["lettered"] = lettered
    try:
        if is_expression:
            return environment.compile_expression(source, undefined_to_none=False)
        return environment.from_string(source).render
    except TemplateError as error:
        raise ConfigError(f"{where}: {source[:80]!r} is no template ({error})") from None


def _evaluated(compiled: Callable[..., Any], fields: Mapping[str, Any], where: str) -> Any:
    try:
        value = compiled({**fields, "record": fields})
        if isinstance(value, Undefined):
            str(value)  # which is its error
    except Exception as error:  # a template calls what its author likes
        there = ", ".join(map(str, fields)) or "none"
        raise DataError(f"{where}: {str(error) or type(error).__name__} (fields of the record: {there[:200]})") from None
    return value
