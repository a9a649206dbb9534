"""Parameters, work and memory of a model from its shape alone. No torch: a dry run prints them before it is loaded.

Left out: norms, biases, rotations and softmax in the count of work (under 1 % of it), and what the allocator adds to the memory.
"""

from typing import Literal

from trivium.nn.config import ModelConfig

SHORT = 256  # nn/transformer.py: longest sequence whose attention weights are written out, and kept
HEAD_CHUNK = 512  # nn/heads.py: positions whose fp32 logits exist at one time,
HEAD_KEEP_WORDS, HEAD_KEEP_BYTES = 1 << 14, 128 << 20  # and the vocabulary and size up to which those of all positions are kept


def num_parameters(config: ModelConfig) -> int:
    """Trainable numbers of a model without scalar head; a tied head counts once. Equal to the built model's."""
    in_norms = config.num_layers * (_num_block_norms(config) * config.hidden_size + _qk_norm_size(config)) + config.hidden_size
    per_layer = _layer_matrices(config) + _layer_biases(config) + 2 * config.has_residual_scalars
    scales = _num_value_embeddings(config) * config.num_kv_heads
    return config.num_layers * per_layer + in_norms * (2 if config.norm == "layer" else 1) + scales + num_embedding_parameters(config)


def num_embedding_parameters(config: ModelConfig) -> int:
    """Numbers of the embeddings, and of the head if it is not the same matrix. The rest is what scaling laws call N."""
    positions = config.max_seq_len * (config.positions == "learned")
    return config.hidden_size * (config.vocab_size * (1 if config.tie_head else 2) + positions) + num_value_parameters(config)


def num_layer_parameters(config: ModelConfig) -> int:
    """Numbers of one layer, the mean of all; the last norm of the model is left out."""
    last_norm = config.hidden_size * (2 if config.norm == "layer" else 1)
    return (num_parameters(config) - num_embedding_parameters(config) - last_norm) // config.num_layers


def num_value_parameters(config: ModelConfig) -> int:
    """Numbers in the tables of the value embeddings, which are read and never multiplied."""
    return _num_value_embeddings(config) * config.vocab_size * config.num_kv_heads * config.head_dim


def flops_per_token(config: ModelConfig, seq_len: int) -> int:
    """Floating-point operations that training spends on a token, averaged over a sequence of seq_len tokens.

    6 a weight of every matrix that is multiplied, the head among them and the embedding not (Kaplan et al. 2020,
    arXiv:2001.08361, section 2.1: 2 forward, 4 backward), and for attention 12 * heads * head_dim for each key that a query
    meets: PaLM's 12 * L * H * Q * T (Chowdhery et al. 2022, arXiv:2204.02311, appendix B) counts positions that a causal mask
    hides; here it is (seq_len + 1) / 2 keys, or fewer in a window. Of packed rows, give the length of a sequence. A forward
    pass is a third.
    """
    matrices = config.num_layers * _layer_matrices(config) + config.vocab_size * config.hidden_size
    windows = [min(config.layer(number).window or seq_len, seq_len) for number in range(config.num_layers)]
    pairs = sum(window * (window + 1) // 2 + (seq_len - window) * window for window in windows)
    return 6 * matrices + 12 * config.num_heads * config.head_dim * pairs // seq_len


def training_memory_bytes(
    config: ModelConfig,
    rows: int,
    length: int,
    optimizer: Literal["adamw", "muon"],
    *,
    compute_bytes: Literal[2, 4] = 4,
    is_packed: bool = False,
) -> int:
    """Estimate of what one process holds at the end of a forward pass over a micro-batch of rows x length tokens.

    Weights, gradients and optimizer state in fp32 (AdamW: two numbers a weight; Muon: one for the matrices of the blocks),
    what the backward pass needs of every layer without recomputation (counted on nn/transformer.py in eager mode), and the
    head. compute_bytes: 2 for bf16, which keeps a cast copy of the weights. is_packed: every layer keeps its mask too.
    On a GPU the head may hold more, up to half a gigabyte a copy and a sixteenth of the memory (nn/heads.py).
    """
    tokens, parameters, matrices = rows * length, num_parameters(config), config.num_layers * _layer_matrices(config)
    states = 16 * parameters - (4 * matrices if optimizer == "muon" else 0)
    casts = compute_bytes * (matrices + config.vocab_size * config.hidden_size) if compute_bytes < 4 else 0
    in_attention = sum(_kept_in_attention(config, number, length, compute_bytes) for number in range(config.num_layers))
    kept = config.num_layers * _kept_outside_of_attention(config, compute_bytes) + in_attention
    kept += 4 * _num_value_embeddings(config) * config.num_kv_heads * config.head_dim
    masks = _mask_bytes(config, rows if is_packed else 1, length, compute_bytes, is_packed)
    return states + casts + tokens * kept + masks + _head_bytes(config, tokens, compute_bytes)


def _num_value_embeddings(config: ModelConfig) -> int:
    return sum(config.layer(number).has_values for number in range(config.num_layers))


def _num_block_norms(config: ModelConfig) -> int:
    return 4 if config.norm_place == "both" else 2


def _qk_norm_size(config: ModelConfig) -> int:
    heads = config.num_heads + config.num_kv_heads if config.qk_norm_over == "width" else 2
    return config.has_qk_norm * heads * config.head_dim


def _layer_matrices(config: ModelConfig) -> int:
    attention = 2 * config.hidden_size * config.head_dim * (config.num_heads + config.num_kv_heads)
    return attention + (3 if config.is_gated else 2) * config.hidden_size * config.intermediate_size


def _layer_biases(config: ModelConfig) -> int:
    attention = config.has_attention_bias * config.head_dim * (config.num_heads + 2 * config.num_kv_heads)
    mlp = config.has_mlp_bias * (config.intermediate_size * (2 if config.is_gated else 1) + config.hidden_size)
    return attention + config.has_output_bias * config.hidden_size + mlp


def _kept_outside_of_attention(config: ModelConfig, compute_bytes: int) -> int:
    """Bytes that one layer keeps of a token in its norms, which work in fp32, and its projections and MLP, in compute precision."""
    width, heads = config.hidden_size, config.head_dim * (config.num_heads + config.num_kv_heads)
    shared_input = config.is_parallel and config.norm_place != "after" and compute_bytes == 4  # both norms read the same tensor
    each = 1 if config.norm == "layer" else 2
    in_norms = width * (each * _num_block_norms(config) - shared_input) + each * heads * config.has_qk_norm
    mlp = (4 if config.is_gated else 2) * config.intermediate_size
    return 4 * in_norms + compute_bytes * ((2 + config.has_residual_scalars) * width + mlp)


def _kept_in_attention(config: ModelConfig, number: int, length: int, compute_bytes: int) -> int:
    """The same for the attention between them: query, repeated key and value, output, and weights if they are written out."""
    query = config.num_heads * config.head_dim
    if not _is_written_out(config, length):
        return compute_bytes * query * (5 if config.layer(number).rope else 4)  # the output of what was rotated is kept in two orders
    softmax = 4 if compute_bytes == 4 else 4 + compute_bytes  # in fp32, and cast
    capped = 4 * (config.attention_softcap is not None)
    return compute_bytes * 4 * query + config.num_heads * length * (softmax + capped)


def _mask_bytes(config: ModelConfig, rows: int, length: int, compute_bytes: int, is_packed: bool) -> int:
    """What all layers keep to tell who looks where: booleans beside written-out weights, otherwise numbers, and none for plain causal."""
    windows = [config.layer(number).window or length for number in range(config.num_layers)]
    is_written_out = _is_written_out(config, length)
    masked = sum(is_written_out or is_packed or window < length for window in windows)
    return masked * rows * length**2 * (1 if is_written_out else compute_bytes)


def _is_written_out(config: ModelConfig, length: int) -> bool:
    return length <= SHORT or config.attention_softcap is not None


def _head_bytes(config: ModelConfig, tokens: int, compute_bytes: int) -> int:
    kept = tokens * config.vocab_size * compute_bytes
    chunk = 3 * 4 * min(HEAD_CHUNK, tokens) * config.vocab_size  # logits, their log-softmax and its exponential
    return chunk + (kept if config.vocab_size <= HEAD_KEEP_WORDS and kept <= HEAD_KEEP_BYTES else 0)
