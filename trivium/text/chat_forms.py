"""Chat formats by name, as published recipes wrote their prompts: data in chat_forms.toml."""

from functools import cache
from pathlib import Path
from typing import Any, Literal

from trivium.core.config import build, read_toml
from trivium.text.chat import ChatFormat

Form = Literal["alpaca", "dolly", "hh"]
_END = "{end}"


@cache
def forms() -> dict[str, dict[str, Any]]:
    """Name -> options of a ChatFormat, but for its control tokens."""
    return read_toml(Path(__file__).with_name("chat_forms.toml"))


def form(name: Form, *, start: str, end: str) -> ChatFormat:
    """The format with a model's control tokens. start: what its texts begin with; that is left out if it is the one that ends them."""
    options = dict(forms()[name])
    first = "" if start == end else start
    options["closing"] = {role: text.replace(_END, end) for role, text in options["closing"].items()}
    return build(ChatFormat, {**options, "control": [one for one in (first, end) if one], "start": first})
