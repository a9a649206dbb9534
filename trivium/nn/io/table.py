"""What differs between families on disk: names of tensors and names of fields. A family is one such table."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["count", "number", "flag", "activation"]


@dataclass(frozen=True, slots=True)
class Field:
    """A field of config.json. default: what transformers takes when it is missing; None: it is required, or derived from others."""

    name: str
    kind: Kind = "count"
    default: Any = None


@dataclass(frozen=True, slots=True)
class Rope:
    """A rotary option: its name beside the others (transformers 4) and its name in `rope_parameters` (transformers 5)."""

    old: str
    new: str
    default: float


@dataclass(frozen=True, kw_only=True)
class FamilyTable:
    """A family: `model_type` and what Hugging Face calls everything.

    architecture: beginning of the class names ("Llama": LlamaForCausalLM).
    fields, rope: our option -> theirs. fixed: our options that this family never changes and that are not our defaults.
    assumed: fields that must be missing or have this value, because we compute nothing else.
    modules: their module -> ours, "{}" is the layer. Several of ours are rows of one matrix, laid out [heads, parts, head_dim].
    ignored: endings of tensors that old releases wrote although they follow from the configuration.
    heads_divide_width: transformers refuses a hidden_size that is no multiple of num_heads.
    """

    model_type: str
    architecture: str
    fields: Mapping[str, Field]
    rope: Mapping[str, Rope]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    assumed: Mapping[str, Any] = field(default_factory=dict)
    modules: Mapping[str, tuple[str, ...]]
    ignored: tuple[str, ...] = ()
    heads_divide_width: bool = False
