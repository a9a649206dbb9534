"""The fields of one config.json, each checked when it is read: the file may come from anywhere."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from trivium.core.errors import ArtefactError, did_you_mean
from trivium.nn.io.table import Field, Kind

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
    "relu2": "relu2",
}


class Fields:
    """What config.json says; whatever is wrong is an ArtefactError that names file and field."""

    def __init__(self, values: Mapping[str, Any], file: Path) -> None:
        self.values, self.file = values, file

    def get(self, name: str) -> Any:
        """A field as it is; None if it is missing."""
        return self.values.get(name)

    def option(self, option: str, field: Field) -> Any:
        """The value of our option; None only if the field may be off or derived."""
        value = self.values.get(field.name)
        if value is None and not (field.is_optional and field.name in self.values):
            value = field.default
        if value is None and field.is_optional:
            return None
        return self.checked(option, field.name, field.kind, value)

    def checked(self, option: str, name: str, kind: Kind, value: Any) -> Any:
        """The value, if it is of this kind and not absurd."""
        largest = LARGEST.get(option, LARGEST_COUNT)
        if kind == "count" and (type(value) is not int or not 0 < value <= largest):
            self.fail(name, f"it must be a whole number from 1 to {largest:,}", value)
        if kind == "number" and (type(value) not in (int, float) or not 0 < value < LARGEST_NUMBER):
            self.fail(name, "it must be a number above 0", value)
        if kind == "flag" and type(value) is not bool:
            self.fail(name, "it must be true or false", value)
        if kind == "activation":
            if not isinstance(value, str) or value not in ACTIVATIONS:
                self.fail(name, did_you_mean(str(value), ACTIVATIONS).removeprefix("; "), value)
            return ACTIVATIONS[value]
        return value

    def fail(self, name: str, allowed: str, value: Any = None) -> NoReturn:
        """Raise ArtefactError: what the field is, and what is allowed."""
        value = self.values.get(name) if value is None else value
        raise ArtefactError(f"{self.file}: {name} is {str(value)[:80] if value is not None else 'missing'}; {allowed}")
