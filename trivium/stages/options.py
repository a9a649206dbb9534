"""The options of a stage as text for --help: name, type, default."""

import dataclasses
from typing import Any, get_args, get_origin, get_type_hints

from pydantic_core import PydanticUndefined

from trivium.core.config import default_of, plain
from trivium.stages.catalogue import RANKED, STAGES


def describe(kind: str, summary: str) -> str:
    """Help text of one stage: what it does, then every option with its type and default."""
    stage = STAGES[kind]
    ranks = " [--ranks N] [--exact]" if kind in RANKED else ""
    lines = [f"Usage: trivium {kind} [key=value]... [--out FOLDER] [--dry-run] [--quiet]{ranks}", "", f"{kind}: {summary}", ""]
    lines += [line.strip() for line in (stage.__doc__ or "").strip().splitlines()] + ["", "Options:"]
    hints = get_type_hints(stage)
    for option in dataclasses.fields(stage):
        if option.name != "kind":
            lines.append(f"  {option.name:<22} {_type(hints[option.name]):<28} {_default(option)}")
    return "\n".join(lines)


def _type(annotation: Any) -> str:
    if get_origin(annotation) is None:
        return annotation.__name__ if isinstance(annotation, type) else str(annotation)
    members = [_type(member) for member in get_args(annotation) if member not in (type(None), Ellipsis)]
    if get_origin(annotation) in (tuple, dict):
        return f"{get_origin(annotation).__name__} of {members[-1]}"
    return " | ".join(repr(member) if isinstance(member, str) and not member.isidentifier() else member for member in members)


def _default(option: Any) -> str:
    default = default_of(option)
    if default is dataclasses.MISSING or default is PydanticUndefined or default is ...:
        has_factory = option.default_factory is not dataclasses.MISSING or getattr(option.default, "default_factory", None) is not None
        return "" if has_factory else "(required)"
    if isinstance(default, tuple) and default and all(map(dataclasses.is_dataclass, default)):
        return " ".join(member.kind for member in default)
    if dataclasses.is_dataclass(default):
        return " ".join(f"{name}={value}" for name, value in plain(default).items())
    return "" if default is None else str(default)
