"""Configuration: TOML and `a.b=c` become typed, frozen, checked objects; every mistake is one line that names the option.

A component is its own configuration (`DPO(beta=0.1)` is what the file says and what is called). The choices of a field
are the union in its annotation, told apart by `kind`; nothing in a file can name code to import.
"""

import dataclasses
import json
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast, dataclass_transform, get_args, get_origin, get_type_hints

import tomli_w
from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass
from pydantic.fields import FieldInfo

from trivium.core.errors import ConfigError, did_you_mean

T = TypeVar("T")
Options = dict[str, Any]
Texts = Annotated[tuple[str, ...], BeforeValidator(lambda value: _texts(value))]  # `sources=x` is a list of one
KEEPS_REST = "options that are not given stay as in the default of the field, not as in that of its class"  # for Annotated
FIRST_IS_USUAL = "options without a kind are those of the first class of the union"  # for Annotated
UNKNOWN = ("unexpected_keyword_argument", "extra_forbidden")  # what pydantic calls an option that does not exist


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(Field,))
def component(cls: type[T]) -> type[T]:
    """A frozen, keyword-only dataclass whose fields are checked, numbers for being finite too, and whose unknown keys are errors.

    Made in Python, a wrong value raises ConfigError too: `DPO(beta=0)` says what beta may be.
    """
    checked = pydantic_dataclass(cls, frozen=True, kw_only=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
    original: Callable[..., None] = checked.__init__

    def __init__(self: Any, **options: Any) -> None:
        try:
            original(self, **options)
        except ValidationError as error:
            raise ConfigError(f"{cls.__name__}: {_explain(error, checked, options)}") from None

    checked.__init__ = __init__  # type: ignore[method-assign]
    return cast(type[T], checked)


def build(cls: type[T], options: Mapping[str, Any], *, where: str = "") -> T:
    """Make a `cls` from plain values. Raises ConfigError: unknown option, wrong type or kind, out of range, missing."""
    try:
        return TypeAdapter(cls).validate_json(json.dumps(_with_kinds(cls, options), default=str), strict=True)
    except ValidationError as error:
        raise ConfigError(f"{where}: {_explain(error, cls, options)}" if where else _explain(error, cls, options)) from None


def plain(value: Any) -> Any:
    """The opposite of `build`: components become dicts, paths strings; options that are None are left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        named = {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {name: option for name, option in named.items() if option is not None}
    if isinstance(value, Mapping):
        return {str(name): plain(option) for name, option in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(option) for option in value]
    return str(value) if isinstance(value, Path) else value


def default_of(option: dataclasses.Field[Any]) -> Any:
    """The default of a field of a component; pydantic keeps its own description of some fields in its place."""
    return option.default.default if isinstance(option.default, FieldInfo) else option.default


def is_set(owner: Any, name: str) -> bool:
    """Whether an option of a component is another than its default: where nobody would read it, that is worth an error."""
    [option] = [field for field in dataclasses.fields(owner) if field.name == name]
    return getattr(owner, name) != default_of(option)


def read_toml(path: Path) -> Options:
    """Parse a TOML file. Raises ConfigError naming the file and the line."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: is a folder; a recipe is a TOML file") from None
    except (PermissionError, ValueError, RecursionError) as error:  # broken TOML, not UTF-8, a number or nesting beyond limits
        raise ConfigError(f"{path}: not readable as TOML: {error}") from None


def write_toml(options: Mapping[str, Any]) -> str:
    """TOML text of plain values."""
    return tomli_w.dumps(options, multiline_strings=True)


def parse_overrides(words: Sequence[str]) -> Options:
    """Turn `a.b=c` words into nested options, left to right.

    Values are TOML (1e-3, true, [1, 2], "x"), or a list of bare words ([piqa, boolq]); anything else is text.
    """
    options: Options = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not re.fullmatch(r"[\w-]+(\.[\w-]+)*", name):
            raise ConfigError(f"'{word}' is not an option; write name=value, for example steps=100")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except (ValueError, RecursionError):  # not TOML, or beyond its limits
            words_in = re.fullmatch(r"\[([^\[\]{}\"']+)\]", text)
            value = [part.strip() for part in words_in[1].split(",") if part.strip()] if words_in else text
        nested: Any = value
        for part in reversed(name.split(".")):
            nested = {part: nested}
        options = merge(options, nested)
    return options


def merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> Options:
    """Options of `high` over options of `low`; tables are merged unless their `kind` differs."""
    merged = dict(low)
    for name, value in high.items():
        old = merged.get(name)
        if isinstance(old, str) and isinstance(value, Mapping):
            old = {"kind": old}  # `objective=ipo` and then `objective.beta=0.2`
        same_kind = isinstance(value, Mapping) and isinstance(old, Mapping) and value.get("kind", old.get("kind")) == old.get("kind")
        merged[name] = merge(old, value) if same_kind else value
    return merged


def _texts(value: Any) -> Any:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


def _with_kinds(cls: Any, options: Any) -> Any:
    """Fill in what a union needs: `objective=ipo` means its kind, and `objective.beta=0.2` keeps the default kind."""
    members = _members(cls)
    if isinstance(options, str) and str not in members and _is_union_of_kinds(cls):
        return {"kind": options}
    if len(members) > 1 and isinstance(options, Mapping):
        members = [member for member in members if dataclasses.is_dataclass(member) and _kind(member) == options.get("kind")] or members
    cls = members[0]
    if get_origin(cls) is dict and isinstance(options, Mapping):
        return {name: _with_kinds(get_args(cls)[1], value) for name, value in options.items()}
    if get_origin(cls) in (list, tuple) and isinstance(options, list):
        return [_with_kinds(get_args(cls)[0], value) for value in options]
    if not dataclasses.is_dataclass(cls) or not isinstance(options, Mapping):
        return options
    hints, completed = get_type_hints(cls, include_extras=True), dict(options)
    for option in dataclasses.fields(cls):
        value, default = options.get(option.name), option.default
        if isinstance(value, Mapping) and _is_union_of_kinds(hints[option.name]) and dataclasses.is_dataclass(default):
            completed[option.name] = {"kind": _kind(default), **value}
        elif isinstance(value, Mapping) and FIRST_IS_USUAL in get_args(hints[option.name]):
            completed[option.name] = {"kind": _kind(_members(hints[option.name])[0]), **value}
        elif isinstance(value, Mapping) and KEEPS_REST in get_args(hints[option.name]):
            completed[option.name] = {**plain(default), **value}
    return {name: _with_kinds(hints[name], value) if name in hints else value for name, value in completed.items()}


def _is_union_of_kinds(annotation: Any) -> bool:
    return any(dataclasses.is_dataclass(member) and _kind(member) for member in _members(annotation))


def _explain(error: ValidationError, cls: Any, options: Any) -> str:
    """The first problem of a pydantic error, in our words."""
    problems = error.errors(include_url=False)
    problem = next((problem for problem in problems if problem["type"] in UNKNOWN), problems[0])  # `step=3` explains a missing `steps`
    kind, context = problem["type"], problem.get("ctx", {})
    path, owner = _walk(cls, options, problem["loc"])
    name = ".".join(path)
    given = problem.get("input")
    if kind in UNKNOWN:
        return f"unknown option '{name}'{did_you_mean_at(path, owner)}"
    if kind in ("missing", "missing_keyword_only_argument", "missing_argument"):
        return f"'{name}' is missing; it has no default"
    if kind == "union_tag_invalid":
        return f"'{name}' is {context['tag']!r}; its kind is one of: {context['expected_tags']}"
    if kind == "union_tag_not_found":
        return f"'{name}' needs a kind, for example {name}.kind=..."
    if kind == "literal_error":
        return f"'{name}' is {given!r}; it is one of: {context['expected']}"
    if kind == "value_error" and "error" in context:
        return f"'{name}': {context['error']}" if name else str(context["error"])
    return f"'{name}' is {given!r}: {problem['msg'][0].lower()}{problem['msg'][1:]}"


def did_you_mean_at(path: Sequence[str], owner: Any) -> str:
    """Suggest an option that exists where `path` points."""
    names = [field.name for field in dataclasses.fields(owner)] if dataclasses.is_dataclass(owner) else []
    prefix = "".join(f"{name}." for name in path[:-1])
    return did_you_mean(".".join(path), [prefix + name for name in names])


def _walk(cls: Any, options: Any, location: Sequence[int | str]) -> tuple[list[str], Any]:
    """The option path of a pydantic location (union tags left out), and the class that owns its last name."""
    path: list[str] = []
    owner = cls
    for step in location:
        members = _members(cls)
        tagged = [member for member in members if dataclasses.is_dataclass(member) and _kind(member) == step]
        if tagged:
            cls = tagged[0]
            continue
        path.append(str(step))
        cls = members[0] if len(members) == 1 else cls
        owner = cls
        if dataclasses.is_dataclass(cls):
            cls = get_type_hints(cls, include_extras=True).get(str(step), Any)
        elif get_origin(cls) in (dict, list, tuple):
            cls = get_args(cls)[-1] if get_origin(cls) is dict else get_args(cls)[0]
    return path, owner


def _members(annotation: Any) -> list[Any]:
    """The alternatives of an annotation, None left out."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (dict, list, tuple) or not get_args(annotation):
        return [annotation]
    return [leaf for member in get_args(annotation) if member is not type(None) for leaf in _members(member)]


def _kind(cls: Any) -> str | None:
    default = {field.name: field.default for field in dataclasses.fields(cls)}.get("kind")
    return default if isinstance(default, str) else None
