"""Rotary positions in config.json.

transformers 5 keeps them in `rope_parameters`, as one object or as one for each kind of layer; older releases keep the base
beside the other fields and what stretches it in `rope_scaling`. Both are read, both are written.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from trivium.core.config import plain
from trivium.core.errors import ArtefactError, ConfigError
from trivium.nn.config import LinearScaling, Llama3Scaling, ModelConfig, RopeScaling, YarnScaling
from trivium.nn.io.fields import Fields
from trivium.nn.io.table import FamilyTable

SCALINGS: dict[str, type[RopeScaling]] = {"linear": LinearScaling, "llama3": Llama3Scaling, "yarn": YarnScaling}
THEIRS = {"original_max_seq_len": "original_max_position_embeddings"}  # what has another name there
ASSUMED = {"truncate": True}  # of `yarn`


def read_rope(fields: Fields, table: FamilyTable, max_seq_len: int) -> dict[str, Any]:
    """Our rotary options. Raises ArtefactError naming the field."""
    if not table.rope:
        return {}
    stretched = table.rope["rope_theta"].section
    given = _sections(fields, stretched, {rope.section for rope in table.rope.values()})
    for section, values in given.items():
        if section != stretched and values.get("rope_type", "default") != "default":
            raise ArtefactError(f"{fields.file}: {section} asks for rope type {values['rope_type']!r}; only 'default' is supported")
        if values.get("partial_rotary_factor", 1) != 1 and "rotary_share" not in table.rope:
            raise ArtefactError(f"{fields.file}: rope_parameters.partial_rotary_factor must be 1 for {table.model_type}")
    options: dict[str, Any] = {"rope_scaling": _scaling(fields, given[stretched], max_seq_len)}
    for option, rope in table.rope.items():
        value = given[rope.section].get(rope.new, fields.get(rope.old))
        options[option] = fields.checked(option, rope.new, "number", rope.default if value is None else value)
    return options


def write_rope(config: ModelConfig, table: FamilyTable) -> dict[str, Any]:
    """The fields that `read_rope` reads, for transformers 4 and 5."""
    options = plain(config)
    scaling = {THEIRS.get(name, name): value for name, value in options.get("rope_scaling", {}).items()}
    if scaling:
        scaling["rope_type"] = scaling.pop("kind")
    sections: dict[str, dict[str, Any]] = {}
    for option, rope in table.rope.items():
        sections.setdefault(rope.section, {"rope_type": "default"})[rope.new] = options.get(option)
    if not sections:
        return {}
    sections[table.rope["rope_theta"].section] |= scaling
    old = {rope.old: options.get(option) for option, rope in table.rope.items()}
    return old | {"rope_parameters": sections.get("", sections)} | ({"rope_scaling": scaling} if scaling else {})


def _sections(fields: Fields, stretched: str, known: set[str]) -> dict[str, dict[str, Any]]:
    """The objects of each kind of layer; a single one belongs to the layers that may be stretched."""
    merged: dict[str, dict[str, Any]] = {section: {} for section in known}
    for name in ("rope_parameters", "rope_scaling"):
        value = fields.get(name) or {}
        nested = value if isinstance(value, dict) and known & value.keys() else {stretched: value}
        if not known.issuperset(nested) or not all(_is_flat(part) for part in nested.values()):
            fields.fail(name, "one object of numbers for all layers is supported" if known == {""} else f"an object for {sorted(known)}")
        for section, part in nested.items():
            kind = {"rope_type": part.get("rope_type", part.get("type", "default"))} if part else {}
            merged[section] |= {key: entry for key, entry in part.items() if key != "type"} | kind
    return merged


def _is_flat(part: Any) -> bool:
    return isinstance(part, dict) and not any(isinstance(value, dict) for value in part.values())


def _scaling(fields: Fields, given: Mapping[str, Any], max_seq_len: int) -> RopeScaling | None:
    kind = given.get("rope_type", "default")
    if kind == "default":
        return None
    if not isinstance(kind, str) or kind not in SCALINGS:
        raise ArtefactError(f"{fields.file}: asks for rope type {str(kind)[:80]!r}; it is one of: default, {', '.join(SCALINGS)}")
    ours = [field.name for field in dataclasses.fields(SCALINGS[kind]) if field.name != "kind"]
    names = {THEIRS.get(option, option): option for option in ours}
    for name, value in given.items():
        if name not in {*names, "rope_type", "rope_theta", "partial_rotary_factor"} and value not in (None, ASSUMED.get(name)):
            raise ArtefactError(f"{fields.file}: {name} = {str(value)[:80]} is not supported for rope type {kind!r}")
    options: dict[str, Any] = {"original_max_seq_len": max_seq_len} if "original_max_seq_len" in ours else {}
    for theirs, option in names.items():
        if given.get(theirs) is not None:
            counted = "count" if option == "original_max_seq_len" else "number"
            options[option] = fields.checked(option, theirs, counted, given[theirs])
    try:
        return SCALINGS[kind](**options)
    except ConfigError as error:
        raise ArtefactError(f"{fields.file}: {error}") from None
