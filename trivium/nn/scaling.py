"""Scaling rules: from the depth of a model follow its width, its horizon, its batch and its learning rates. Laws only, no torch.

Left out: what a rule cannot know, such as how much text there is (see the epochs that pre-training logs), and how long a warm-up
should be, which hardly depends on the size.
"""

import math
from collections.abc import Callable

from trivium.nn.config import ModelConfig
from trivium.nn.flops import flops_per_token, num_parameters, num_value_parameters

ASPECT = 64  # width / depth: Kaplan et al. 2020, arXiv:2001.08361, figure 5: the loss hardly depends on it; nanochat measured 64
WIDE = 1024  # from here on heads of 128, which the attention kernels of a GPU are fastest at
TOKENS_PER_PARAMETER = 10  # of matrices and head; nanochat measured 8 to 12 (Hoffmann et al. 2022, arXiv:2203.15556: about 20 of all)
FEWEST_UPDATES = 50
SMALL_TOKENS, SMALL_BATCH = 1_126_400, 2**11  # the horizon and the batch that the quickstart was tuned at (LOG.md)
LARGE_TOKENS, LARGE_BATCH = 1_321_205_760, 2**19  # nanochat's model of depth 12: 12 tokens for each of 110,100,480 parameters
BATCH_POWER = 0.383  # Bergsma et al. 2025, arXiv:2505.13738: the best batch grows with this power of the tokens
MATRIX_LR = 0.02  # of Muon: it was best at both of these batches, and needs no correction for width
EMBED_LR, HEAD_LR, TUNED_WIDTH = 0.01, 0.004, 256  # of AdamW beside Muon, tuned in the quickstart
ADAMW_LR, ADAMW_WIDTH = 6e-4, 768  # Brown et al. 2020, arXiv:2005.14165, table 2.1, 125M
MAX_DEPTH = 128

Shape = Callable[[int], ModelConfig]  # a depth to a model of that depth


def width_of(depth: int) -> int:
    """64 for each layer; wide models in multiples of 128."""
    multiple = 64 if ASPECT * depth < WIDE else 128
    return multiple * math.ceil(ASPECT * depth / multiple)


def head_dim_of(width: int) -> int:
    """Dimensions of a head: 64, and 128 from a width of 1,024 on where it divides the width; a narrow model has one head."""
    return 128 if width >= WIDE and width % 128 == 0 else min(64, width)


def vocabulary_of(depth: int) -> int:
    """A size that leaves most of the arithmetic to the blocks: 4,096 and 8,192 below 30M parameters in them, then 32,768.

    A head of 32,768 at depth 6 would be more than half of all FLOPs; 8,192 costs a quarter less for a byte of text.
    """
    blocks = 12 * depth * width_of(depth) ** 2
    return 4096 if blocks < 5e6 else 8192 if blocks < 30e6 else 32768


def scaled_parameters(config: ModelConfig) -> int:
    """What tokens are counted against: matrices and head (norms too, under 1 %), the embedding tables not."""
    return num_parameters(config) - (0 if config.tie_head else config.vocab_size * config.hidden_size) - num_value_parameters(config)


def tokens_for(config: ModelConfig) -> int:
    """Tokens at which more of them are worth as much as more parameters."""
    return TOKENS_PER_PARAMETER * scaled_parameters(config)


def training_flops(config: ModelConfig, seq_len: int) -> float:
    """Work of training a model to that horizon."""
    return float(tokens_for(config)) * flops_per_token(config, seq_len)


def depth_for_parameters(parameters: float, shape: Shape) -> int:
    """The depth whose model is nearest in size."""
    return _nearest(parameters, lambda depth: num_parameters(shape(depth)))


def depth_for_flops(flops: float, shape: Shape, seq_len: int) -> int:
    """The depth that takes nearest to this much work when it is trained to its horizon."""
    return _nearest(flops, lambda depth: training_flops(shape(depth), seq_len))


def batch_for(tokens: float, seq_len: int) -> int:
    """Tokens an update, a power of two, for a horizon: D^0.383 from nanochat's 2^19 on.

    Below it the straight line (in logarithms) to what the quickstart measured; the power alone would leave that run 32 updates. Not
    less than there while 50 updates are left: with 512 tokens an update, Muon's own work is half of it (LOG.md).
    """
    power = BATCH_POWER if tokens > LARGE_TOKENS else math.log(LARGE_BATCH / SMALL_BATCH) / math.log(LARGE_TOKENS / SMALL_TOKENS)
    start, batch = (LARGE_TOKENS, LARGE_BATCH) if tokens > LARGE_TOKENS else (SMALL_TOKENS, SMALL_BATCH)
    enough = min(SMALL_BATCH, 2 ** int(math.log2(max(1.0, tokens / FEWEST_UPDATES))))
    return max(2 ** round(math.log2(batch * (tokens / start) ** power)), enough, seq_len)


def batch_factor(batch_tokens: int, tokens: float, seq_len: int) -> float:
    """How much lower the rates are for a batch below the rule's: its square root (Malladi et al. 2022, arXiv:2205.10287).

    Above the rule's batch they stay: there a larger batch makes the direction hardly better (McCandlish et al. 2018, arXiv:1812.06162).
    nanochat instead goes on from the batch of depth 12 by square roots; over the three decades here that would put Muon at 0.3.
    """
    return min(1.0, (batch_tokens / batch_for(tokens, seq_len)) ** 0.5)


def embedding_factor(width: int) -> float:
    """AdamW's rates of embedding and head beside Muon fall with the root of the width (nanochat)."""
    return (width / TUNED_WIDTH) ** -0.5


def adamw_lr(width: int) -> float:
    """Rate of AdamW for all weights: 1 / width (muP: Yang et al. 2022, arXiv:2203.03466, table 3), from that of GPT-3 125M."""
    return ADAMW_LR * ADAMW_WIDTH / width


def _nearest(wanted: float, size_of: Callable[[int], float]) -> int:
    """The depth whose size has the nearest logarithm."""
    return min(range(1, MAX_DEPTH + 1), key=lambda depth: abs(math.log(size_of(depth) / wanted)))
