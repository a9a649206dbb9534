"""What differs between families on disk: names of tensors and names of fields. A family is one such table."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from trivium.nn.config import LayerKind

Kind = Literal["count", "number", "flag", "activation"]


@dataclass(frozen=True, slots=True)
class Field:
    """A field of config.json. default: what transformers takes when it is missing; None: it is required, or derived from others.

    is_optional: null there means None here, which is off or derived; elsewhere null means missing.
    """

    name: str
    kind: Kind = "count"
    default: Any = None
    is_optional: bool = False


@dataclass(frozen=True, slots=True)
class Rope:
    """A rotary option: its name beside the others (transformers 4) and its name in `rope_parameters` (transformers 5).

    section: the kind of layer whose parameters these are, if `rope_parameters` has an object for each kind.
    """

    old: str
    new: str
    default: float
    section: str = ""


@dataclass(frozen=True, slots=True)
class Pattern:
    """The list that says of what kind each layer is: their words and ours, the usual kind first.

    Where it is missing, every n-th layer is of the other kind: n is the field `period`, or `every`.
    """

    name: str
    words: Mapping[Any, LayerKind]
    period: str
    every: int


@dataclass(frozen=True, kw_only=True)
class FamilyTable:
    """A family: `model_type` and what Hugging Face calls everything.

    architecture: beginning of the class names ("Llama": LlamaForCausalLM); speaks, judges: their ends.
    fields, rope: our option -> theirs. fixed: our options that this family never changes and that are not our defaults.
    assumed: fields that must be missing or have this value, because we compute nothing else. written: fields that we write and ignore.
    layer_kinds: where the kinds of layers are, if they are not all alike.
    modules: their module -> ours, "{}" is the layer. Several of ours are rows of one matrix.
    transposed: endings of modules whose matrix has a row for each input. is_interleaved: shared matrices are laid out
    [heads, parts, head_dim], otherwise one part after the other.
    ignored: endings of tensors that old releases wrote although they follow from the configuration.
    heads_divide_width: transformers refuses a hidden_size that is no multiple of num_heads.
    """

    model_type: str
    architecture: str
    speaks: str = "ForCausalLM"
    judges: str = "ForSequenceClassification"
    fields: Mapping[str, Field]
    rope: Mapping[str, Rope] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    assumed: Mapping[str, Any] = field(default_factory=dict)
    written: Mapping[str, Any] = field(default_factory=dict)
    layer_kinds: Pattern | None = None
    modules: Mapping[str, tuple[str, ...]]
    transposed: tuple[str, ...] = ()
    is_interleaved: bool = False
    ignored: tuple[str, ...] = ()
    heads_divide_width: bool = False
