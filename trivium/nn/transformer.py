"""One decoder-only transformer for every family: tokens in, hidden states out. The head is in heads.py, rotary positions in rope.py.

Weights are kept in the precision they were made in (fp32 when training) and used in `compute_dtype`.
Left out: dropout (every objective here needs the same network twice) and attention bias masks other than causal and block-diagonal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trivium.nn.cache import Cache
from trivium.nn.config import ModelConfig
from trivium.nn.kernels import Documents, Sight, attend_documents
from trivium.nn.noise import Dropout, dropped
from trivium.nn.pages import PagedCache
from trivium.nn.rope import rope_table, rotate
from trivium.nn.stretch import Stretch

ACTIVATIONS = {
    "silu": F.silu, "gelu": F.gelu, "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"), "relu2": lambda x: F.relu(x).square(),
}  # fmt: skip
SHORT = 256  # longest sequence whose attention scores are written out on a CPU

AnyCache = Cache | PagedCache
Keys = AnyCache | Stretch  # what gives queries more keys than their own
Mask = Tensor | Documents | None  # who may look where; None is plain causal
Rope = tuple[Tensor, Tensor]  # cos and sin at the positions of a batch, (B, L, R)


def widened(x: Tensor) -> Tensor:
    """In fp32, or in its own precision where that is higher: sums and exponentials lose too much in bf16."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def cast_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x W^T + bias over the last dimension, in the precision of x."""
    return F.linear(x, weight.to(x.dtype), None if bias is None else bias.to(x.dtype))


class Linear(nn.Linear):
    """A linear layer whose weights are cast to the precision of its input. `multiply` is replaced by nn/fp8.py."""

    multiply: Callable[[Tensor, Tensor, Tensor | None], Tensor] = staticmethod(cast_product)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (the name that nn.Linear gives it)
        """Apply it to the last dimension; the precision of input is kept."""
        return self.multiply(input, self.weight, self.bias)


class Norm(nn.Module):
    """RMSNorm (Zhang, Sennrich 2019) or LayerNorm over the last dimension, computed in fp32 or better.

    kind: "rms", "rms_plus_one", which multiplies by 1 + weight, or "layer".
    """

    def __init__(self, size: int, kind: str, eps: float) -> None:
        super().__init__()
        self.eps, self.size, self.offset = eps, size, float(kind == "rms_plus_one")
        self.weight = nn.Parameter(torch.full((size,), 1 - self.offset))
        self.bias = nn.Parameter(torch.zeros(size)) if kind == "layer" else None

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to the last dimension; the precision of x is kept."""
        wide = widened(x)
        weight = self.scale().to(wide.dtype)
        if self.bias is not None:
            return F.layer_norm(wide, (self.size,), weight, self.bias.to(wide.dtype), self.eps).to(x.dtype)
        return F.rms_norm(wide, (self.size,), weight, self.eps).to(x.dtype)

    def scale(self) -> Tensor:
        """What the normed numbers are multiplied by."""
        return self.weight + self.offset if self.offset else self.weight


class Scale(nn.Module):
    """Learned numbers that something is multiplied by."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))


class ValueEmbedding(nn.Module):
    """What a token adds to the values of one layer whatever stands before it: a row of a table, times a learned number for each head.

    From modded-nanogpt and nanochat, after value residuals (Zhou et al. 2024, arXiv:2410.17897, which add the first layer's values
    instead). Difference: nanochat's number is a gate that reads the stream. It costs memory, and next to no arithmetic.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.table = nn.Embedding(config.vocab_size, config.num_kv_heads * config.head_dim)
        self.scale = Scale(config.num_kv_heads)

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., KV * D) in fp32 for tokens (...)."""
        return (self.table(tokens).unflatten(-1, (len(self.scale.weight), -1)) * self.scale.weight[:, None]).flatten(-2)


def capped(x: Tensor, softcap: float | None) -> Tensor:
    """softcap tanh(x / softcap): as x near 0, never beyond softcap (Gemma 2; Bello et al. 2016, arXiv:1611.09940, section 5). None: x."""
    return x if softcap is None else softcap * (x / softcap).tanh()


def attend(
    query_BHLD: Tensor,
    key_BHMD: Tensor,
    value_BHMD: Tensor,
    mask: Mask,
    *,
    scale: float | None = None,
    softcap: float | None = None,
) -> Tensor:
    """softmax(Q K^T scale) V, causal if mask is None, within documents if it is those; (B, H, L, D). scale: 1/sqrt(D) if None; softcap
    bounds the scores.

    Short sequences on a CPU take the written-out product: there the fused kernel's backward pass is 5 times slower (LOG.md).
    So do bounded scores, which no fused kernel has: their memory grows with L^2.
    """
    if isinstance(mask, Documents):
        return attend_documents(query_BHLD, key_BHMD, value_BHMD, mask, scale)
    length, keys = query_BHLD.shape[2], key_BHMD.shape[2]
    if softcap is None and (length * keys > SHORT * SHORT or query_BHLD.device.type != "cpu"):
        return F.scaled_dot_product_attention(query_BHLD, key_BHMD, value_BHMD, attn_mask=mask, is_causal=mask is None, scale=scale)
    if mask is None:
        mask = torch.ones(length, keys, dtype=torch.bool, device=query_BHLD.device).tril()
    scores = widened((query_BHLD * (query_BHLD.shape[-1] ** -0.5 if scale is None else scale)) @ key_BHMD.mT)
    weights = capped(scores, softcap).masked_fill(~mask, float("-inf")).softmax(-1)
    return weights.to(value_BHMD.dtype) @ value_BHMD


class Attention(nn.Module):
    """Causal self-attention with grouped key/value heads."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.num_heads, self.num_kv_heads, self.head_dim = config.num_heads, config.num_kv_heads, config.head_dim
        width, bias = config.hidden_size, config.has_attention_bias
        self.query = Linear(width, self.num_heads * self.head_dim, bias=bias)
        self.key = Linear(width, self.num_kv_heads * self.head_dim, bias=bias)
        self.value = Linear(width, self.num_kv_heads * self.head_dim, bias=bias)
        self.out = Linear(self.num_heads * self.head_dim, width, bias=config.has_output_bias)
        self.query_norm = self._norm(config, self.num_heads) if config.has_qk_norm else None
        self.key_norm = self._norm(config, self.num_kv_heads) if config.has_qk_norm else None
        self.softcap = config.attention_softcap
        self.scale = None if config.query_pre_attn_scalar is None else config.query_pre_attn_scalar**-0.5

    def forward(
        self, x_BLD: Tensor, rope: Rope | None, mask: Mask, cache: Keys | None, layer: int, added_BLE: Tensor | None = None
    ) -> Tensor:
        """What it adds to the stream, (B, L, D); `layer` is its number, for the cache. added_BLE: is added to the values."""
        query = self._heads(self.query(x_BLD), self.query_norm)
        key = self._heads(self.key(x_BLD), self.key_norm)
        value = self._heads(self.value(x_BLD) if added_BLE is None else self.value(x_BLD) + added_BLE)
        if rope is not None:
            query, key = rotate(query, *rope), rotate(key, *rope)
        if cache is not None:
            key, value = cache.extend(layer, key, value)
        if cache is not None and query.shape[2] == 1:
            return self.out(self._attend_next(query, key, value, mask).flatten(1)[:, None])
        if self.num_heads != self.num_kv_heads:
            share = self.num_heads // self.num_kv_heads
            key, value = key.repeat_interleave(share, dim=1), value.repeat_interleave(share, dim=1)
        mixed = attend(query, key, value, mask, scale=self.scale, softcap=self.softcap)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _attend_next(self, query_BH1D: Tensor, key_BHMD: Tensor, value_BHMD: Tensor, mask: Mask) -> Tensor:
        """One query of each row: heads that share keys stand as rows of one, since repeating the keys would cost more than attention."""
        query_BHSD = query_BH1D.unflatten(1, (self.num_kv_heads, -1))[:, :, :, 0]
        mixed = attend(query_BHSD, key_BHMD, value_BHMD, mask, scale=self.scale, softcap=self.softcap)
        return mixed.flatten(1, 2)

    def _norm(self, config: ModelConfig, heads: int) -> Norm:
        return Norm(self.head_dim * (heads if config.qk_norm_over == "width" else 1), config.norm, config.norm_eps)

    def _heads(self, x_BLE: Tensor, norm: Norm | None = None) -> Tensor:
        """(B, H, L, D), normed: each head, or before they are cut apart."""
        if norm is not None and norm.size == x_BLE.shape[-1]:
            x_BLE, norm = norm(x_BLE), None
        x_BHLD = x_BLE.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
        return x_BHLD if norm is None else norm(x_BHLD)


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
    """Attention and MLP, normed before or after or both, added to the stream: one after the other, or side by side."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()

        def norm(place: str) -> nn.Module:
            return Norm(config.hidden_size, config.norm, config.norm_eps) if config.norm_place in (place, "both") else nn.Identity()

        self.attention_norm, self.attention_post_norm = norm("before"), norm("after")
        self.attention = Attention(config)
        self.mlp_norm, self.mlp_post_norm = norm("before"), norm("after")
        self.mlp = MLP(config)
        self.is_parallel = config.is_parallel

    def forward(
        self, x_BLD: Tensor, rope: Rope | None, mask: Mask, cache: Keys | None, layer: int, added_BLE: Tensor | None = None,
        dropout: Dropout | None = None,
    ) -> Tensor:  # fmt: skip
        """The stream after it, (B, L, D); `layer` is its number, for the cache. added_BLE: is added to the values."""
        seen_BLD = self.attention_post_norm(self.attention(self.attention_norm(x_BLD), rope, mask, cache, layer, added_BLE))
        mixed = x_BLD + dropped(seen_BLD, dropout, 2 * layer)
        found_BLD = self.mlp_post_norm(self.mlp(self.mlp_norm(x_BLD if self.is_parallel else mixed)))
        return mixed + dropped(found_BLD, dropout, 2 * layer + 1)


class Transformer(nn.Module):
    """Tokens to hidden states; `head` holds the (V, D) weights that heads.py turns them into log-probs with."""

    cos: Tensor
    sin: Tensor
    local_cos: Tensor
    local_sin: Tensor

    def __init__(self, config: ModelConfig, compute_dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.config, self.compute_dtype = config, compute_dtype
        self.embed = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embed = nn.Embedding(config.max_seq_len, config.hidden_size) if config.positions == "learned" else None
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.layers = [config.layer(number) for number in range(config.num_layers)]
        self.value_embeds = nn.ModuleDict({str(n): ValueEmbedding(config) for n, layer in enumerate(self.layers) if layer.has_values})
        self.stream_scale, self.embed_scale = (
            Scale(config.num_layers) if config.has_residual_scalars else None for _ in range(2)
        )  # one of each a layer
        self.final_norm = Norm(config.hidden_size, config.norm, config.norm_eps)
        self.head = Linear(config.hidden_size, config.vocab_size, bias=False)
        if config.tie_head:
            self.head.weight = self.embed.weight
        self.fill_tables()
        self.is_compiled = False
        self.has_hooks = False  # around each block, which gather its weights (train/parallel.py)
        self.twin: Twin | None = None  # the blocks in C++, see native/block.py

    def fill_tables(self) -> None:
        """Compute what no file holds, the tables of rotary positions; again if the model was made without memory."""
        config, used = self.config, {layer.rope for layer in self.layers}
        ropes = [("global", "", config.rope_theta, config.rope_scaling), ("local", "local_", config.rope_local_theta, None)]
        for name, prefix, theta, scaling in ropes:
            if name in used and theta is not None:
                # one more: the last token of a row of 2,049 is predicted by a model of 2,048 positions, and what stands at it is not used
                cos, sin = rope_table(config.max_seq_len + 1, config.rotary_dim, theta, scaling)
                self.register_buffer(f"{prefix}cos", cos, persistent=False)
                self.register_buffer(f"{prefix}sin", sin, persistent=False)

    def forward(
        self,
        tokens_BL: Tensor,
        position_BL: Tensor,
        mask: Mask | Sight = None,
        cache: Keys | None = None,
        noise_BLD: Tensor | None = None,
        dropout: Dropout | None = None,
    ) -> Tensor:
        """Hidden states after the last norm, (B, L, D) in compute_dtype, from our kernels in float32.

        mask: (B, 1, L, keys) bool, True where a query may look; or the documents of packed rows; or what our kernels read; None means
        plain causal. Positions must be below max_seq_len, rotary ones may be max_seq_len. noise_BLD: is added to the embeddings.
        dropout: leaves parts of what each layer adds to the stream out.
        """
        is_native = self.twin is not None and cache is None
        dtype = torch.float32 if is_native else self.compute_dtype
        x_BLD = self.embedded(tokens_BL, position_BL, dtype, noise_BLD)
        added = self.added_values(tokens_BL, dtype)
        if self.twin is not None and is_native:
            return self.final_norm(self.twin(self, x_BLD, position_BL, added, mask if isinstance(mask, Sight) else None, dropout))
        if isinstance(mask, Sight):
            raise RuntimeError("only our kernels read a Sight; give a mask")
        ropes = {name: self._rope(name, position_BL) for name in {layer.rope for layer in self.layers}}
        masks = {window: windowed(mask, window, position_BL, cache) for window in {layer.window for layer in self.layers}}
        first_BLD = x_BLD
        for number, (block, layer) in enumerate(zip(self.blocks, self.layers, strict=True)):
            # without gradients shapes vary (sampling, evaluation), and each would be compiled again
            call = block.forward if self.is_compiled and not self.has_hooks and not torch.is_grad_enabled() else block
            entering = self.entering(number, x_BLD, first_BLD)
            x_BLD = call(entering, ropes[layer.rope], masks[layer.window], cache, number, added[number], dropout)
        return self.final_norm(x_BLD)

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of every word from hidden states, (..., V): what heads.py computes in chunks."""
        return capped(self.head(hidden), self.config.logit_softcap)

    def embedded(self, tokens_BL: Tensor, position_BL: Tensor, dtype: torch.dtype, noise_BLD: Tensor | None = None) -> Tensor:
        """What goes into the first block. noise_BLD: is added to what the table of tokens holds."""
        x_BLD = self.embed(tokens_BL) if noise_BLD is None else self.embed(tokens_BL) + noise_BLD
        if self.config.has_scaled_embedding:
            x_BLD = x_BLD * self.config.hidden_size**0.5
        if self.position_embed is not None:
            x_BLD = x_BLD + self.position_embed(position_BL)
        if self.config.has_residual_scalars:
            x_BLD = F.rms_norm(x_BLD, (self.config.hidden_size,), eps=self.config.norm_eps)
        return x_BLD.to(dtype)

    def added_values(self, tokens: Tensor, dtype: torch.dtype) -> list[Tensor | None]:
        """What the tokens (...) add to the values of each layer, (..., KV * D); None where nothing."""
        numbers = map(str, range(len(self.layers)))
        return [self.value_embeds[name](tokens).to(dtype) if name in self.value_embeds else None for name in numbers]

    def entering(self, number: int, x: Tensor, first: Tensor) -> Tensor:
        """What layer `number` reads when the stream is x and the first one read `first`: with residual scalars a mixture of both."""
        if self.stream_scale is None or self.embed_scale is None:
            return x
        return self.stream_scale.weight[number] * x + self.embed_scale.weight[number] * first

    def _rope(self, name: str | None, position_BL: Tensor) -> Rope | None:
        """cos and sin at these positions, cast once and not in every layer."""
        table = self.rope_table(name)
        return None if table is None else (table[0][position_BL].to(self.compute_dtype), table[1][position_BL].to(self.compute_dtype))

    def rope_table(self, name: str | None) -> Rope | None:
        """cos and sin of every position, (positions, R), for the layers whose rope has this name."""
        if name is None:
            return None
        return (self.cos, self.sin) if name == "global" else (self.local_cos, self.local_sin)

    def compile_blocks(self) -> None:
        """Compile each block for training; every batch must then have the same shape. Takes 4 to 15 s on two cores, once."""
        for block in self.blocks:
            block.compile(dynamic=False)
        self.is_compiled = True


# stream, positions, what is added to values, who sees whom if it does not follow from the positions, which restart with every sequence,
# and what is dropped
Twin = Callable[[Transformer, Tensor, Tensor, Sequence[Tensor | None], Sight | None, Dropout | None], Tensor]


def why_not_compile(device: torch.device | str = "cpu") -> str | None:
    """Try the compiler on a small function; None if it works, else the reason in one line."""
    try:
        torch.compile(lambda x: x * 2 + 1)(torch.ones(8, device=device))
    except Exception as error:  # the compiler's own, the C++ compiler's and the loader's: any of them means no
        return " ".join(str(error).split())[:200] or type(error).__name__
    return None


def windowed(mask: Mask, window: int | None, position_BL: Tensor, cache: Keys | None) -> Mask:
    """The mask, (B, 1, L, keys) or (1, 1, L, keys), without what lies further back than `window` positions.

    Keys in a cache are at their positions; otherwise they are the row itself, in which positions of a sequence follow each other, and of
    which queries may be a stretch.
    """
    if isinstance(mask, Documents):  # which are made only for models whose layers see everything
        return mask
    num_keys = position_BL.shape[1] if mask is None else mask.shape[-1]
    if window is None or num_keys <= window:
        return mask
    keys = torch.arange(num_keys, device=position_BL.device)
    places_BL = keys[None] if cache is None else cache.places(keys.device)[None] if isinstance(cache, Stretch) else position_BL
    back_BLM = places_BL[:, :, None] - keys
    near = (back_BLM < window)[:, None]
    return near & (back_BLM >= 0)[:, None] if mask is None else near & mask


def block_diagonal(sequence_BL: Tensor) -> Tensor:
    """(B, 1, L, L) bool: a token sees itself and what comes before it in its own sequence."""
    same = sequence_BL[:, :, None] == sequence_BL[:, None, :]
    return same.tril()[:, None]
