"""One decoder-only transformer for Llama, Qwen3 and GPT-NeoX: tokens in, hidden states out. The head is in heads.py.

Weights are kept in the precision they were made in (fp32 when training) and used in `compute_dtype`.
Left out: dropout (every objective here needs the same network twice) and attention bias masks other than causal and block-diagonal.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trivium.nn.cache import Cache
from trivium.nn.config import ModelConfig

ACTIVATIONS = {"silu": F.silu, "gelu": F.gelu, "gelu_tanh": lambda x: F.gelu(x, approximate="tanh")}


def widened(x: Tensor) -> Tensor:
    """In fp32, or in its own precision where that is higher: sums and exponentials lose too much in bf16."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


SHORT = 256  # longest sequence whose attention scores are written out on a CPU


class Linear(nn.Linear):
    """A linear layer whose weights are cast to the precision of its input."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (the name that nn.Linear gives it)
        """Apply it to the last dimension; the precision of input is kept."""
        bias = None if self.bias is None else self.bias.to(input.dtype)
        return F.linear(input, self.weight.to(input.dtype), bias)


class Norm(nn.Module):
    """RMSNorm (Zhang, Sennrich 2019) or LayerNorm over the last dimension, computed in fp32 or better."""

    def __init__(self, size: int, kind: str, eps: float) -> None:
        super().__init__()
        self.eps, self.size = eps, size
        self.weight = nn.Parameter(torch.ones(size))
        self.bias = nn.Parameter(torch.zeros(size)) if kind == "layer" else None

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to the last dimension; the precision of x is kept."""
        wide = widened(x)
        weight = self.weight.to(wide.dtype)
        if self.bias is None:
            return F.rms_norm(wide, (self.size,), weight, self.eps).to(x.dtype)
        return F.layer_norm(wide, (self.size,), weight, self.bias.to(wide.dtype), self.eps).to(x.dtype)


def rope_table(positions: int, dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """cos and sin of every position, (positions, dim/2) fp32. Su et al. 2021, arXiv:2104.09864, eq. 34, halves instead of neighbours."""
    frequency = 1.0 / theta ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim)
    angle = torch.arange(positions, dtype=torch.float32)[:, None] * frequency
    return angle.cos(), angle.sin()


def rotate(x_BHLD: Tensor, cos_BLR: Tensor, sin_BLR: Tensor) -> Tensor:
    """Rotate the first 2R dimensions of each head by its position; dimension i pairs with i + R (Llama, NeoX)."""
    half = cos_BLR.shape[-1]
    cos, sin = cos_BLR[:, None].to(x_BHLD.dtype), sin_BLR[:, None].to(x_BHLD.dtype)
    first, second, rest = x_BHLD.split((half, half, x_BHLD.shape[-1] - 2 * half), dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin, rest), dim=-1)


def attend(query_BHLD: Tensor, key_BHMD: Tensor, value_BHMD: Tensor, mask: Tensor | None) -> Tensor:
    """softmax(Q K^T / sqrt(D)) V, causal if mask is None; (B, H, L, D).

    Short sequences on a CPU take the written-out product: there the fused kernel's backward pass is 5 times slower (LOG.md).
    """
    length, keys = query_BHLD.shape[2], key_BHMD.shape[2]
    if length * keys > SHORT * SHORT or query_BHLD.device.type != "cpu":
        return F.scaled_dot_product_attention(query_BHLD, key_BHMD, value_BHMD, attn_mask=mask, is_causal=mask is None)
    if mask is None:
        mask = torch.ones(length, keys, dtype=torch.bool).tril()
    scores = (query_BHLD * query_BHLD.shape[-1] ** -0.5) @ key_BHMD.mT
    weights = widened(scores).masked_fill(~mask, float("-inf")).softmax(-1)
    return weights.to(value_BHMD.dtype) @ value_BHMD


class Attention(nn.Module):
    """Causal self-attention with grouped key/value heads and rotary positions."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.num_heads, self.num_kv_heads, self.head_dim = config.num_heads, config.num_kv_heads, config.head_dim
        width, bias = config.hidden_size, config.has_attention_bias
        self.query = Linear(width, self.num_heads * self.head_dim, bias=bias)
        self.key = Linear(width, self.num_kv_heads * self.head_dim, bias=bias)
        self.value = Linear(width, self.num_kv_heads * self.head_dim, bias=bias)
        self.out = Linear(self.num_heads * self.head_dim, width, bias=config.has_output_bias)
        self.query_norm = Norm(self.head_dim, "rms", config.norm_eps) if config.has_qk_norm else None
        self.key_norm = Norm(self.head_dim, "rms", config.norm_eps) if config.has_qk_norm else None

    def forward(self, x_BLD: Tensor, rope: tuple[Tensor, Tensor], mask: Tensor | None, cache: Cache | None, layer: int) -> Tensor:
        """The stream after it, (B, L, D); `layer` is its number, for the cache."""
        query, key, value = self._heads(self.query(x_BLD)), self._heads(self.key(x_BLD)), self._heads(self.value(x_BLD))
        if self.query_norm is not None and self.key_norm is not None:
            query, key = self.query_norm(query), self.key_norm(key)
        query, key = rotate(query, *rope), rotate(key, *rope)
        if cache is not None:
            key, value = cache.extend(layer, key, value)
        if self.num_heads != self.num_kv_heads:
            share = self.num_heads // self.num_kv_heads
            key, value = key.repeat_interleave(share, dim=1), value.repeat_interleave(share, dim=1)
        mixed = attend(query, key, value, mask)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _heads(self, x_BLE: Tensor) -> Tensor:
        return x_BLE.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)


class MLP(nn.Module):
    """The position-wise network, gated (Shazeer 2020, arXiv:2002.05202) or plain."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, inner, bias = config.hidden_size, config.intermediate_size, config.has_mlp_bias
        self.gate = Linear(width, inner, bias=bias) if config.is_gated else None
        self.up = Linear(width, inner, bias=bias)
        self.down = Linear(inner, width, bias=bias)
        self.activation = ACTIVATIONS[config.activation]

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to the last dimension; the precision of x is kept."""
        if self.gate is None:
            return self.down(self.activation(self.up(x)))
        return self.down(self.activation(self.gate(x)) * self.up(x))


class Block(nn.Module):
    """Attention and MLP, each on a normed input and added to the stream: one after the other, or side by side."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention_norm = Norm(config.hidden_size, config.norm, config.norm_eps)
        self.attention = Attention(config)
        self.mlp_norm = Norm(config.hidden_size, config.norm, config.norm_eps)
        self.mlp = MLP(config)
        self.is_parallel = config.is_parallel

    def forward(self, x_BLD: Tensor, rope: tuple[Tensor, Tensor], mask: Tensor | None, cache: Cache | None, layer: int) -> Tensor:
        """The stream after it, (B, L, D); `layer` is its number, for the cache."""
        mixed = x_BLD + self.attention(self.attention_norm(x_BLD), rope, mask, cache, layer)
        return mixed + self.mlp(self.mlp_norm(x_BLD if self.is_parallel else mixed))


class Transformer(nn.Module):
    """Tokens to hidden states; `head` holds the (V, D) weights that heads.py turns them into log-probs with."""

    def __init__(self, config: ModelConfig, compute_dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.config, self.compute_dtype = config, compute_dtype
        self.embed = nn.Embedding(config.vocab_size, config.hidden_size)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.final_norm = Norm(config.hidden_size, config.norm, config.norm_eps)
        self.head = Linear(config.hidden_size, config.vocab_size, bias=False)
        if config.tie_head:
            self.head.weight = self.embed.weight
        cos, sin = rope_table(config.max_seq_len, config.rotary_dim, config.rope_theta)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.is_compiled = False

    def forward(self, tokens_BL: Tensor, position_BL: Tensor, mask: Tensor | None = None, cache: Cache | None = None) -> Tensor:
        """Hidden states after the last norm, (B, L, D) in compute_dtype.

        mask: (B, 1, L, keys) bool, True where a query may look; None means plain causal. Positions must be below max_seq_len.
        """
        x_BLD = self.embed(tokens_BL).to(self.compute_dtype)
        rope = (self.cos[position_BL].to(self.compute_dtype), self.sin[position_BL].to(self.compute_dtype))  # cast once, not in every layer
        for layer, block in enumerate(self.blocks):
            # without gradients shapes vary (sampling, evaluation), and each would be compiled again
            call = block.forward if self.is_compiled and not torch.is_grad_enabled() else block
            x_BLD = call(x_BLD, rope, mask, cache, layer)
        return self.final_norm(x_BLD)

    def compile_blocks(self) -> None:
        """Compile each block for training; every batch must then have the same shape. Takes 4 to 15 s on two cores, once."""
        for block in self.blocks:
            block.compile(dynamic=False)
        self.is_compiled = True


def why_not_compile() -> str | None:
    """Try the compiler on a small function; None if it works, else the reason in one line."""
    try:
        torch.compile(lambda x: x * 2 + 1)(torch.ones(8))
    except Exception as error:  # the compiler's own, the C++ compiler's and the loader's: any of them means no
        return " ".join(str(error).split())[:200] or type(error).__name__
    return None


def block_diagonal(sequence_BL: Tensor) -> Tensor:
    """(B, 1, L, L) bool: a token sees itself and what comes before it in its own sequence."""
    same = sequence_BL[:, :, None] == sequence_BL[:, None, :]
    return same.tril()[:, None]
