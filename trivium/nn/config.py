"""The shape of a transformer: about thirty numbers and words that tell the families apart. What a family does not use is off."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from trivium.core.config import component

Family = Literal[
    "llama", "mistral", "smollm3", "qwen2", "qwen3", "olmo2", "gemma2", "gemma3_text", "gpt_neox", "gpt2", "trivium", "guest", "proxy"
]
LayerKind = Literal["full", "sliding", "unrotated"]


@component
class LinearScaling:
    """Every position divided by factor (Chen et al. 2023, arXiv:2306.15595, eq. 4)."""

    kind: Literal["linear"] = "linear"
    factor: float = Field(gt=0)


@component
class Llama3Scaling:
    """Slow rotations divided by factor, fast ones kept, those between blended (Llama 3.1; Grattafiori et al. 2024, arXiv:2407.21783).

    A rotation is slow if it turns less than low_freq_factor times in original_max_seq_len positions, fast above high_freq_factor.
    """

    kind: Literal["llama3"] = "llama3"
    factor: float = Field(gt=0)
    low_freq_factor: float = Field(default=1.0, gt=0)
    high_freq_factor: float = Field(default=4.0, gt=0)
    original_max_seq_len: int = Field(gt=0)

    def __post_init__(self) -> None:
        if self.high_freq_factor <= self.low_freq_factor:
            raise ValueError(f"high_freq_factor ({self.high_freq_factor}) must be above low_freq_factor ({self.low_freq_factor})")


@component
class YarnScaling:
    """The same by dimension instead of by rate, and sharper attention (Peng et al. 2023, arXiv:2309.00071, section 3).

    Dimensions that turn more than beta_fast times in original_max_seq_len positions are kept, those below beta_slow divided by factor.
    attention_factor multiplies cos and sin; None: 0.1 ln(factor) + 1.
    """

    kind: Literal["yarn"] = "yarn"
    factor: float = Field(gt=0)
    original_max_seq_len: int = Field(gt=0)
    beta_fast: float = Field(default=32.0, gt=0)
    beta_slow: float = Field(default=1.0, gt=0)
    attention_factor: float | None = Field(default=None, gt=0)


RopeScaling = LinearScaling | Llama3Scaling | YarnScaling


LARGEST_ROTATION = 1 << 28  # positions x dimensions whose angles are kept: 1,048,576 positions of 256


@dataclass(frozen=True, slots=True)
class Layer:
    """What tells one layer from the next. window: how many positions a query sees, itself included (None: all before it).

    has_values: whether its values have an embedding of the token added.
    """

    window: int | None
    rope: Literal["global", "local"] | None
    has_values: bool = False


@component
class ModelConfig:
    """Architecture of a decoder-only transformer. Sizes are in the field's words; what families share has one name.

    rotary_share is the part of each head that is rotated (1 for Llama, 0.25 for Pythia). A parallel block adds attention
    and MLP of the same input (GPT-NeoX); a gated MLP is `down(act(gate(x)) * up(x))`.

    positions: rotary (with rope_theta, and rope_local_theta in sliding layers if it is given) or learned (GPT-2).
    layer_kinds: one word a layer; "sliding" sees the last sliding_window positions, "full" all, "unrotated" all without
    rotary positions (SmolLM3). Empty: all layers slide if sliding_window is given, else all are full.
    norm: "rms_plus_one" multiplies by 1 + weight (Gemma). norm_place: of what goes into attention and MLP, of what comes out
    (OLMo 2), or both (Gemma). qk_norm_over: of each head, or of all heads together (OLMo 2).
    query_pre_attn_scalar: scores are divided by its root (None: head_dim). A softcap c bounds scores or logits: c tanh(x / c).
    has_scaled_embedding: embeddings are multiplied by the root of hidden_size (Gemma).
    activation "relu2" is relu(x)^2 (So et al. 2021, arXiv:2109.08668, section 4.1), usually in a plain MLP of four times the width.

    What no other tool reads (family "trivium"): has_value_embeddings adds a second embedding of the token to the values of every
    other layer, the last one among them (`transformer.ValueEmbedding`). has_residual_scalars: a layer reads r x + s x0, x the stream
    and x0 the normed embedding, with numbers r and s of its own that are learned (modded-nanogpt, nanochat).
    """

    family: Family = "llama"
    vocab_size: int = Field(gt=0)
    hidden_size: int = Field(gt=0)
    num_layers: int = Field(gt=0)
    num_heads: int = Field(gt=0)
    num_kv_heads: int = Field(gt=0)
    head_dim: int = Field(gt=0)
    intermediate_size: int = Field(gt=0)
    max_seq_len: int = Field(default=2048, gt=0)
    positions: Literal["rotary", "learned"] = "rotary"
    rope_theta: float = Field(default=10_000.0, ge=1)
    rope_local_theta: float | None = Field(default=None, ge=1)
    rope_scaling: Annotated[RopeScaling, Field(discriminator="kind")] | None = None
    rotary_share: float = Field(default=1.0, gt=0, le=1)
    sliding_window: int | None = Field(default=None, gt=0)
    layer_kinds: tuple[LayerKind, ...] = ()
    norm: Literal["rms", "rms_plus_one", "layer"] = "rms"
    norm_eps: float = Field(default=1e-5, ge=1e-30)  # fp32 has nothing smaller
    norm_place: Literal["before", "after", "both"] = "before"
    activation: Literal["silu", "gelu", "gelu_tanh", "relu2"] = "silu"
    is_gated: bool = True
    is_parallel: bool = False
    has_qk_norm: bool = False
    qk_norm_over: Literal["head", "width"] = "head"
    query_pre_attn_scalar: int | None = Field(default=None, gt=0)
    attention_softcap: float | None = Field(default=None, gt=0)
    logit_softcap: float | None = Field(default=None, gt=0)
    has_scaled_embedding: bool = False
    has_value_embeddings: bool = False
    has_residual_scalars: bool = False
    has_attention_bias: bool = False
    has_output_bias: bool = False
    has_mlp_bias: bool = False
    tie_head: bool = False

    def __post_init__(self) -> None:
        if self.num_heads % self.num_kv_heads:
            raise ValueError(f"num_heads ({self.num_heads}) must be a multiple of num_kv_heads ({self.num_kv_heads})")
        if self.rotary_dim % 2:
            raise ValueError(f"the rotated part of a head has {self.rotary_dim} dimensions; it must be even")
        if self.positions == "rotary" and self.max_seq_len * self.rotary_dim > LARGEST_ROTATION:
            raise ValueError(
                f"max_seq_len ({self.max_seq_len:,}) x the {self.rotary_dim:,} rotated dimensions of a head is above {LARGEST_ROTATION:,}"
            )
        if isinstance(self.rope_scaling, YarnScaling) and self.rope_theta == 1:
            raise ValueError("yarn divides by the logarithm of rope_theta, so it must be above 1")
        if self.layer_kinds and len(self.layer_kinds) != self.num_layers:
            raise ValueError(f"layer_kinds has {len(self.layer_kinds)} words for num_layers = {self.num_layers}")
        if "sliding" in self.layer_kinds and self.sliding_window is None:
            raise ValueError("layer_kinds has sliding layers, which need sliding_window: how many positions they see")

    @property
    def rotary_dim(self) -> int:
        """Dimensions of a head that are rotated."""
        return int(self.head_dim * self.rotary_share)

    def layer(self, number: int) -> Layer:
        """What tells this layer from the others; the first is 0."""
        uniform = "full" if self.sliding_window is None else "sliding"
        kind = self.layer_kinds[number] if self.layer_kinds else uniform
        window = self.sliding_window if kind == "sliding" else None
        has_values = self.has_value_embeddings and (self.num_layers - number) % 2 == 1
        if self.positions == "learned" or kind == "unrotated":
            return Layer(window, None, has_values)
        return Layer(window, "local" if kind == "sliding" and self.rope_local_theta is not None else "global", has_values)


def llama(
    *, vocab_size: int, depth: int, width: int, max_seq_len: int, has_qk_norm: bool = True, head_dim: int | None = None
) -> ModelConfig:
    """A Llama-like shape from two numbers: gated MLP of 8/3 width in multiples of 64, and heads as wide as head_dim (64).

    With has_qk_norm it is exactly Qwen3's architecture, which holds up under larger learning rates.
    """
    size = head_dim or min(64, width)
    return ModelConfig(
        family="qwen3" if has_qk_norm else "llama", vocab_size=vocab_size, hidden_size=width, num_layers=depth,
        num_heads=max(1, width // size), num_kv_heads=max(1, width // size), head_dim=size,
        intermediate_size=64 * round(width * 8 / 3 / 64), max_seq_len=max_seq_len, has_qk_norm=has_qk_norm, norm_eps=1e-6,
    )  # fmt: skip
