"""config.json to ModelConfig and back, by the table of the family. No torch: a dry run reads it before anything is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from trivium.core.config import plain
from trivium.core.errors import ArtefactError, ConfigError, did_you_mean
from trivium.nn.config import ModelConfig
from trivium.nn.io.families import FAMILIES
from trivium.nn.io.json_file import read_json
from trivium.nn.io.table import FamilyTable, Field, Kind

FILE = "config.json"
SPEAKS, JUDGES = "ForCausalLM", "ForSequenceClassification"
LARGEST = {"num_layers": 4096, "max_seq_len": 1 << 20}  # beyond any model; everything else at most:
LARGEST_COUNT, LARGEST_NUMBER = 1 << 24, 1e15

ACTIVATIONS = {  # theirs -> ours; the first of each of ours is the one we write
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
}


@dataclass(frozen=True, slots=True)
class Architecture:
    """What config.json says: the shape, and whether a scalar head stands where the language head would."""

    config: ModelConfig
    has_scalar: bool


def read_config(path: Path) -> ModelConfig:
    """The shape of the model in a directory. Raises ArtefactError naming file and field."""
    return read_architecture(path).config


def read_architecture(path: Path) -> Architecture:
    """Shape and kind of the model in a directory. Raises ArtefactError naming file and field."""
    file = path / FILE
    return _Reader(read_json(file), file).architecture()


def to_json(config: ModelConfig, *, has_scalar: bool = False) -> dict[str, Any]:
    """The fields of config.json that describe the shape, for transformers 4 and 5.

    Raises ConfigError if the family has no words for an option that is set.
    """
    table = FAMILIES[config.family]
    options, written = plain(config), {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}
    fields: dict[str, Any] = {
        "architectures": [table.architecture + (JUDGES if has_scalar else SPEAKS)],
        "model_type": table.model_type,
        **{key: value for key, value in table.assumed.items() if value is not None},
    }
    for option, field in table.fields.items():
        fields[field.name] = written[options[option]] if field.kind == "activation" else options[option]
    fields |= {rope.old: options[option] for option, rope in table.rope.items()}
    fields["rope_parameters"] = {"rope_type": "default"} | {rope.new: options[option] for option, rope in table.rope.items()}
    _refuse_loss(config, fields, table)
    return fields


def _refuse_loss(config: ModelConfig, fields: Mapping[str, Any], table: FamilyTable) -> None:
    """What is written must be read back as the same shape."""
    read = plain(_Reader(fields, Path(FILE)).architecture().config)
    for option, value in plain(config).items():
        if read[option] != value:
            raise ConfigError(f"{option} = {value} cannot be written as {table.model_type}, which would read it as {read[option]}")
    if table.heads_divide_width and config.hidden_size % config.num_heads:
        raise ConfigError(f"hidden_size ({config.hidden_size}) must be a multiple of num_heads ({config.num_heads}) for {table.model_type}")


class _Reader:
    """The fields of one config.json."""

    def __init__(self, fields: Mapping[str, Any], file: Path) -> None:
        self.fields, self.file = fields, file

    def architecture(self) -> Architecture:
        table = self._table()
        has_scalar = self._has_scalar(table)
        self._refuse_what_is_not_built(table)
        options: dict[str, Any] = {"family": table.model_type, **table.fixed}
        for option, field in table.fields.items():
            options[option] = self._value(option, field)
        options |= self._rope(table)
        if options.get("num_kv_heads") is None:
            options["num_kv_heads"] = options["num_heads"]
        if options.get("head_dim") is None:
            options["head_dim"] = options["hidden_size"] // options["num_heads"]
        try:
            return Architecture(ModelConfig(**options), has_scalar)
        except ConfigError as error:
            raise ArtefactError(f"{self.file}: {error}") from None

    def _table(self) -> FamilyTable:
        family = self.fields.get("model_type")
        if not isinstance(family, str) or family not in FAMILIES:
            self._fail("model_type", did_you_mean(str(family), FAMILIES).removeprefix("; "))
        return FAMILIES[family]

    def _has_scalar(self, table: FamilyTable) -> bool:
        classes = {table.architecture + SPEAKS: False, table.architecture + JUDGES: True}
        named = self.fields.get("architectures") or [table.architecture + SPEAKS]
        if not isinstance(named, list) or len(named) != 1 or str(named[0]) not in classes:
            self._fail("architectures", f"it is one of: {', '.join(classes)}")
        return classes[str(named[0])]

    def _refuse_what_is_not_built(self, table: FamilyTable) -> None:
        for name, value in {"quantization_config": None, **table.assumed}.items():
            if self.fields.get(name) not in (None, value):
                self._fail(name, f"only {value} is supported")
        kinds = self.fields.get("layer_types") or []
        if not isinstance(kinds, list) or any(kind != "full_attention" for kind in kinds):
            self._fail("layer_types", "only full_attention is supported")

    def _rope(self, table: FamilyTable) -> dict[str, float]:
        """Options of rotary positions. transformers 5 keeps them in `rope_parameters`; older releases beside the others."""
        merged: dict[str, Any] = {}
        for name in ("rope_parameters", "rope_scaling"):
            nested = self.fields.get(name) or {}
            if not isinstance(nested, dict) or any(isinstance(value, dict) for value in nested.values()):
                self._fail(name, "one object of numbers for all layers is supported")
            kind = nested.get("rope_type", nested.get("type", "default"))
            if kind != "default":
                raise ArtefactError(f"{self.file}: {name} asks for rope type {kind!r}; only 'default' is supported")
            merged |= nested
        if "partial_rotary_factor" in merged and "rotary_share" not in table.rope and merged["partial_rotary_factor"] != 1:
            raise ArtefactError(f"{self.file}: rope_parameters.partial_rotary_factor must be 1 for {table.model_type}")
        chosen = {option: merged.get(rope.new, self.fields.get(rope.old)) for option, rope in table.rope.items()}
        return {
            option: self._checked(option, rope.new, "number", rope.default if chosen[option] is None else chosen[option])
            for option, rope in table.rope.items()
        }

    def _value(self, option: str, field: Field) -> Any:
        value = self.fields.get(field.name)
        if value is None:
            value = field.default
        if value is None and option in ("num_kv_heads", "head_dim"):
            return None
        return self._checked(option, field.name, field.kind, value)

    def _checked(self, option: str, name: str, kind: Kind, value: Any) -> Any:
        largest = LARGEST.get(option, LARGEST_COUNT)
        if kind == "count" and (type(value) is not int or not 0 < value <= largest):
            self._fail(name, f"it must be a whole number from 1 to {largest:,}", value)
        if kind == "number" and (type(value) not in (int, float) or not 0 < value < LARGEST_NUMBER):
            self._fail(name, "it must be a number above 0", value)
        if kind == "flag" and type(value) is not bool:
            self._fail(name, "it must be true or false", value)
        if kind == "activation":
            if not isinstance(value, str) or value not in ACTIVATIONS:
                self._fail(name, did_you_mean(str(value), ACTIVATIONS).removeprefix("; "), value)
            return ACTIVATIONS[value]
        return value

    def _fail(self, name: str, allowed: str, value: Any = None) -> NoReturn:
        value = self.fields.get(name) if value is None else value
        raise ArtefactError(f"{self.file}: {name} is {str(value)[:80] if value is not None else 'missing'}; {allowed}")
