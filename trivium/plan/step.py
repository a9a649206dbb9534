"""The time of an update on a cluster: arithmetic, communication, and which of the two the other hides."""

from dataclasses import dataclass

from trivium.plan.devices import Cluster
from trivium.plan.memory import STATE_BYTES, Layout
from trivium.plan.shape import Shape

FP8_GAIN = 1.28  # torchtitan's 8B: 8,532 tokens/s instead of 6,667
FP8_TENSOR_SHARE = 0.75  # of an all-reduce between tensor ranks the gathered half is in bytes then
LAUNCH_S, COLLECTIVE_S = 2e-4, 3e-5  # assumed: of a layer, the least that starting its kernels takes; of a collective, its latency
COPIES = 2 + 2 + 4  # bytes a weight: gathered in bf16 forward and backward, its gradient reduced in fp32
# From a size on, what compiled bf16 training reaches of the data sheet by PaLM's count, before somebody measured (torchtitan's 8B: 0.39)
EFFICIENCIES = ((7e9, 0.40), (1e9, 0.30), (0.0, 0.20))


def efficiency(parameters: float) -> float:
    """Of the data sheet's FLOP/s, assumed for a size."""
    return next(share for size, share in EFFICIENCIES if parameters >= size)


def mfu(tokens_per_s: float, flops_per_token: float, peak: float) -> float:
    """The share of a GPU's data-sheet FLOP/s in the model's own arithmetic."""
    return tokens_per_s * flops_per_token / peak


def tokens_to_hide(flops_per_s: float, bytes_per_s: float, *, copies: float = COPIES, flops: float = 6.0) -> float:
    """Tokens of a micro-batch on each GPU from which sharded weights travel for nothing, whatever the size of the model.

    copies: bytes a weight, flops: a weight and token, in the same part of the step (backward alone: 6 and 4).
    """
    return copies / flops * flops_per_s / bytes_per_s


@dataclass(frozen=True, slots=True)
class Step:
    """Seconds of one update, and where they go. shared_bytes: that a GPU moves for the sharded weights in it. enough_tokens: of a
    micro-batch, from which that takes no longer than arithmetic. flops_per_s: of a GPU, that arithmetic reaches.
    """

    compute: float
    gather: float
    tensor: float
    context: float
    exposed: float
    optimizer: float
    accumulate: int
    tokens: int
    shared_bytes: float
    enough_tokens: float
    flops_per_s: float

    @property
    def is_hidden(self) -> bool:
        """Whether arithmetic takes longer than moving the weights."""
        return self.gather <= self.compute

    @property
    def seconds(self) -> float:
        """Of the update."""
        return max(self.compute, self.gather) + self.tensor + self.context + self.exposed + self.optimizer

    @property
    def tokens_per_s(self) -> float:
        """Of all GPUs."""
        return self.tokens / self.seconds


def step(
    shape: Shape, layout: Layout, cluster: Cluster, *, share: float, accumulate: int = 1, is_fp8: bool = False, trained: int | None = None
) -> Step:
    """share: of the data sheet's bf16, reached by the arithmetic. accumulate: micro-batches an update. trained: as for `memory`."""
    t, tokens, head = layout.tensor, layout.tokens, 6 * shape.vocab_size * shape.hidden_size
    held = layout.of_shared(shape.num_layers * shape.layer_parameters, shape.rest)
    learning = held if trained is None else trained
    flops_per_s = cluster.device.bf16 * share * (FP8_GAIN if is_fp8 else 1.0)
    work = shape.flops_per_token(layout.seq_len, is_causal=False) + 2 * shape.multiplied * (layout.recompute == "full")
    work -= 2 * shape.multiplied * (trained is not None)  # the gradient of a weight that stays
    d, micro = shape.hidden_size, accumulate * shape.num_layers
    compute = max(accumulate * tokens * layout.of_shared(work - head, head) / flops_per_s, micro * LAUNCH_S)
    weights, within = layout.shard * layout.context, layout.shard * layout.context * t
    between = (weights - 1) / weights
    moved = accumulate * (4 * held + 4 * learning) * between  # gradients are reduced with every micro-batch: whole ones have no room
    replicas = 2 * 4 * learning / weights * (layout.replicate > 1)
    wire, network = cluster.bytes_per_s(within), cluster.bytes_per_s(layout.gpus)
    gather = moved / wire + replicas / network + 3 * micro * COLLECTIVE_S * (weights > 1)
    sums = micro * 4 * 2 * tokens * d * 2 * (t - 1) / t * (FP8_TENSOR_SHARE if is_fp8 else 1.0)
    tensor = sums / cluster.bytes_per_s(t) + micro * 8 * COLLECTIVE_S * (t > 1)
    keys = 2 * 2 * shape.kv_size / t * layout.rows * layout.seq_len * (layout.context - 1) / layout.context
    context = micro * 3 * keys / cluster.bytes_per_s(layout.context * t)
    exposed = (2 + 4) * shape.layer_parameters / t * between / wire  # the first layer's gather, the last one's reduction
    optimizer = STATE_BYTES * learning / weights / cluster.device.bandwidth
    total = accumulate * tokens * layout.replicate * layout.shard * layout.context
    enough = tokens * gather / compute if gather else 0.0
    return Step(compute, gather, tensor, context, exposed, optimizer, accumulate, total, moved + replicas, enough, flops_per_s)
