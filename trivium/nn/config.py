"""The shape of a transformer: about twenty numbers and words that tell Llama, Qwen3 and GPT-NeoX apart."""

from typing import Literal

from pydantic import Field

from trivium.core.config import component

Family = Literal["llama", "qwen3", "gpt_neox"]


@component
class ModelConfig:
    """Architecture of a decoder-only transformer. Sizes are in the field's words; what families share has one name.

    rotary_share is the part of each head that is rotated (1 for Llama, 0.25 for Pythia). A parallel block adds attention
    and MLP of the same input (GPT-NeoX); a gated MLP is `down(act(gate(x)) * up(x))`.
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
    rope_theta: float = Field(default=10_000.0, gt=0)
    rotary_share: float = Field(default=1.0, gt=0, le=1)
    norm: Literal["rms", "layer"] = "rms"
    norm_eps: float = Field(default=1e-5, gt=0)
    activation: Literal["silu", "gelu", "gelu_tanh"] = "silu"
    is_gated: bool = True
    is_parallel: bool = False
    has_qk_norm: bool = False
    has_attention_bias: bool = False
    has_output_bias: bool = False
    has_mlp_bias: bool = False
    tie_head: bool = False

    def __post_init__(self) -> None:
        if self.num_heads % self.num_kv_heads:
            raise ValueError(f"num_heads ({self.num_heads}) must be a multiple of num_kv_heads ({self.num_kv_heads})")
        if self.rotary_dim % 2:
            raise ValueError(f"the rotated part of a head has {self.rotary_dim} dimensions; it must be even")

    @property
    def rotary_dim(self) -> int:
        """Dimensions of a head that are rotated."""
        return int(self.head_dim * self.rotary_share)


def llama(*, vocab_size: int, depth: int, width: int, max_seq_len: int, has_qk_norm: bool = True) -> ModelConfig:
    """A Llama-like shape from two numbers: 64-wide heads, gated MLP of 8/3 width in multiples of 64.

    With has_qk_norm it is exactly Qwen3's architecture, which holds up under larger learning rates.
    """
    return ModelConfig(
        family="qwen3" if has_qk_norm else "llama", vocab_size=vocab_size, hidden_size=width, num_layers=depth,
        num_heads=max(1, width // 64), num_kv_heads=max(1, width // 64), head_dim=min(64, width),
        intermediate_size=64 * round(width * 8 / 3 / 64), max_seq_len=max_seq_len, has_qk_norm=has_qk_norm, norm_eps=1e-6,
    )  # fmt: skip
