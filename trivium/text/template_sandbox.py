"""A program that runs one foreign chat template on a few conversations: `python template_sandbox.py`, JSON in, JSON out.

A template is a program (Jinja). It runs in Jinja's immutable sandbox, which keeps it from the interpreter, and in a process of its
own with a limit on memory and processor time, which keeps it from everything else. Nothing of trivium is imported here.
in: {template, tokens: {bos_token, ...}, probes: [[messages, add_generation_prompt], ...]}. out: for each probe the text, or null
where the template failed.
"""

import json
import resource
import sys
from contextlib import suppress
from typing import Any, NoReturn

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

MEMORY_BYTES, SECONDS, MAX_CHARACTERS = 1 << 29, 2, 1 << 20


def _refuse(message: str) -> NoReturn:
    """The function that templates call for conversations they do not take."""
    raise TemplateError(str(message))


def _tojson(value: Any, indent: int | None = None) -> str:
    """JSON as it is: Jinja's own filter escapes for HTML."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _render(template: Any, tokens: dict[str, str], messages: list[dict[str, str]], opens: bool) -> str | None:
    try:
        text = template.render(
            messages=messages, add_generation_prompt=opens, raise_exception=_refuse, tools=None, documents=None, **tokens
        )
    except Exception:  # a program that comes from anywhere fails in any way
        return None
    return text if len(text) <= MAX_CHARACTERS else None


def main() -> None:
    """Answer the request on standard input."""
    request = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    with suppress(ValueError, OSError):  # macOS does not limit the address space; there the time is the limit
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    # the two options and the loop controls are what transformers gives a template
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    environment.filters["tojson"] = _tojson
    try:
        template = environment.from_string(request["template"])
    except (TemplateError, RecursionError, MemoryError, ValueError):
        json.dump([None] * len(request["probes"]), sys.stdout)
        return
    json.dump([_render(template, request["tokens"], messages, opens) for messages, opens in request["probes"]], sys.stdout)


if __name__ == "__main__":
    main()
