"""config.json to ModelConfig and back, by the table of the family. No torch: a dry run reads it before anything is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trivium.core.commit import MANIFEST, read_manifest
from trivium.core.config import plain
from trivium.core.errors import ArtefactError, ConfigError, did_you_mean
from trivium.nn.config import ModelConfig
from trivium.nn.io.families import FAMILIES
from trivium.nn.io.fields import ACTIVATIONS, Fields
from trivium.nn.io.json_file import read_json
from trivium.nn.io.rope_json import read_rope, write_rope
from trivium.nn.io.table import FamilyTable, Field, Pattern

FILE, GUEST = "config.json", "guest"


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


def is_guest(path: Path) -> bool:
    """Whether a directory of ours holds a guest (nn/foreign.py). A foreign one never does: somebody says so when it is imported."""
    return (path / MANIFEST).exists() and read_manifest(path)["meta"].get("family") == GUEST


def to_json(config: ModelConfig, *, has_scalar: bool = False) -> dict[str, Any]:
    """The fields of config.json that describe the shape, for transformers 4 and 5.

    Raises ConfigError if the family has no words for an option that is set.
    """
    table = FAMILIES[config.family]
    options, written = plain(config), {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}
    fields: dict[str, Any] = {
        "architectures": [table.architecture + (table.judges if has_scalar else table.speaks)],
        "model_type": table.model_type,
        **{key: value for key, value in table.assumed.items() if value is not None},
        **table.written,
    }
    for option, field in table.fields.items():
        fields[field.name] = written[options[option]] if field.kind == "activation" else options.get(option)
    if table.layer_kinds is not None:
        fields |= _written_kinds(config, table.layer_kinds)
    fields |= write_rope(config, table)
    _refuse_loss(config, fields, table)
    return fields


def _written_kinds(config: ModelConfig, pattern: Pattern) -> dict[str, Any]:
    words: dict[str, Any] = {ours: theirs for theirs, ours in pattern.words.items()}
    kinds = config.layer_kinds or ["full" if config.sliding_window is None else "sliding"] * config.num_layers
    for kind in kinds:
        if kind not in words:
            raise ConfigError(f"a layer of kind {kind!r} cannot be written as {config.family}, which has: {', '.join(words)}")
    return {pattern.name: [words[kind] for kind in kinds]}


def _refuse_loss(config: ModelConfig, fields: Mapping[str, Any], table: FamilyTable) -> None:
    """What is written must be read back as the same shape."""
    ours, read = plain(config), plain(_Reader(fields, Path(FILE)).architecture().config)
    for option in sorted({*ours, *read}):
        if ours.get(option) != read.get(option):
            raise ConfigError(
                f"{option} = {ours.get(option)} cannot be written as {table.model_type}, which would read it as {read.get(option)}"
            )
    if table.heads_divide_width and config.hidden_size % config.num_heads:
        raise ConfigError(f"hidden_size ({config.hidden_size}) must be a multiple of num_heads ({config.num_heads}) for {table.model_type}")


class _Reader:
    """One config.json by the table of its family."""

    def __init__(self, values: Mapping[str, Any], file: Path) -> None:
        self.fields = Fields(values, file)

    def architecture(self) -> Architecture:
        table = self._table()
        has_scalar = self._has_scalar(table)
        self._refuse_what_is_not_built(table)
        options: dict[str, Any] = {"family": table.model_type, **table.fixed}
        options |= {option: self.fields.option(option, field) for option, field in table.fields.items()}
        derived = {
            "num_kv_heads": options["num_heads"],
            "head_dim": options["hidden_size"] // options["num_heads"],
            "intermediate_size": 4 * options["hidden_size"],
        }
        options |= {option: value for option, value in derived.items() if options.get(option) is None}
        options |= read_rope(self.fields, table, options["max_seq_len"])
        if table.layer_kinds is not None:
            options |= self._layer_kinds(table.layer_kinds, options["num_layers"])
        try:
            return Architecture(ModelConfig(**options), has_scalar)
        except ConfigError as error:
            raise ArtefactError(f"{self.fields.file}: {error}") from None

    def _table(self) -> FamilyTable:
        family = self.fields.get("model_type")
        if not isinstance(family, str) or family not in FAMILIES:
            near = did_you_mean(str(family), FAMILIES).removeprefix("; ")
            self.fields.fail("model_type", f"{near}; transformers runs any other: trivium import {self.fields.file.parent} FOLDER --guest")
        return FAMILIES[family]

    def _has_scalar(self, table: FamilyTable) -> bool:
        classes = {table.architecture + table.speaks: False, table.architecture + table.judges: True}
        named = self.fields.get("architectures") or [table.architecture + table.speaks]
        if not isinstance(named, list) or len(named) != 1 or str(named[0]) not in classes:
            self.fields.fail("architectures", f"it is one of: {', '.join(classes)}")
        labels = self.fields.get("id2label")
        if classes[str(named[0])] and isinstance(labels, dict) and len(labels) != 1:
            self.fields.fail("id2label", f"it has {len(labels)} labels; a reward model has one, whose logit is the score")
        return classes[str(named[0])]

    def _refuse_what_is_not_built(self, table: FamilyTable) -> None:
        for name, value in {"quantization_config": None, **table.assumed}.items():
            if self.fields.get(name) not in (None, value):
                self.fields.fail(name, f"only {value} is supported")
        kinds = self.fields.get("layer_types") or []
        is_read = table.layer_kinds is not None and table.layer_kinds.name == "layer_types"
        if not is_read and (not isinstance(kinds, list) or any(kind != "full_attention" for kind in kinds)):
            self.fields.fail("layer_types", "only full_attention is supported")

    def _layer_kinds(self, pattern: Pattern, num_layers: int) -> dict[str, Any]:
        """The kinds of layers, left out if they are all alike; a window that no layer uses is left out too."""
        given = self.fields.get(pattern.name)
        if given is None:
            period = self.fields.option(pattern.period, Field(pattern.period, default=pattern.every))
            usual, other = pattern.words
            given = [usual if number % period else other for number in range(1, num_layers + 1)]
        words = {str(theirs): ours for theirs, ours in pattern.words.items()}
        if not isinstance(given, list) or len(given) < num_layers or not words.keys() >= set(map(str, given)):
            self.fields.fail(pattern.name, f"it must be a list of {num_layers} of: {', '.join(words)}")
        kinds = tuple(words[str(word)] for word in given[:num_layers])
        if set(kinds) == {"full"}:
            return {"sliding_window": None}
        return {} if set(kinds) == {"sliding"} else {"layer_kinds": kinds}
