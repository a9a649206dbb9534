"""What a GPU holds while a model is trained on many: states, what is gathered, activations, and the head.

Checked against published runs (tests/plan/test_published.py): bare, the terms are 9 to 26 % below them; with MARGIN they are within 5 %.
"""

from dataclasses import dataclass
from typing import Literal

from trivium.plan.shape import Shape

Recompute = Literal["none", "selective", "full"]
STATE_BYTES = 16  # of a weight in fp32: itself, its gradient and Adam's two moments
MARGIN = {"sharded": 1.15, "tensor": 1.35}  # of all that is not states: what allocator, buffers and libraries add
SELECTIVE_SHARE = 0.43  # of the activations that are kept, where cheap ones are computed again
FREE_SHARE = 0.06  # of a GPU's memory, left to the context and to fragments


@dataclass(frozen=True, slots=True)
class Layout:
    """How a model and its rows are spread. replicate x shard x context x tensor ranks; rows of seq_len tokens on each of the first two at a
    time. head_tokens: whose logits are there at one time (0: all).
    """

    shard: int = 1
    replicate: int = 1
    tensor: int = 1
    context: int = 1
    rows: int = 1
    seq_len: int = 2048
    recompute: Recompute = "none"
    head_tokens: int = 0

    @property
    def gpus(self) -> int:
        """Of all four dimensions."""
        return self.replicate * self.shard * self.context * self.tensor

    @property
    def tokens(self) -> int:
        """Of a micro-batch on a rank."""
        return self.rows * self.seq_len // self.context


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes by term. beside: models that only read, such as a reference; margin: on all but states and these."""

    states: float
    gathered: float
    activations: float
    logits: float
    beside: float = 0.0
    margin: float = 1.0

    @property
    def total(self) -> float:
        """With the margin."""
        return self.states + self.beside + self.margin * (self.gathered + self.activations + self.logits)


def memory(
    shape: Shape, layout: Layout, *, trained: int | None = None, copies: int = 1, read_only: int = 0, has_margin: bool = True
) -> Memory:
    """Of one GPU. trained: weights that are, if not all (adapters); copies: of a model and its states, such as a critic beside the policy;
    read_only: models in bf16 that are only read.
    """
    d, t, tokens = shape.hidden_size, layout.tensor, layout.tokens
    ranks = layout.shard * layout.context * t
    learning = shape.parameters if trained is None else trained
    states = copies * (STATE_BYTES * learning + 4 * (shape.parameters - learning) * (trained is not None)) / ranks
    # two layers in bf16 on their way, the gradients of one in bf16 and fp32, embedding and head kept
    gathered = ((2 * 2 + 6) * shape.layer_parameters + 4 * shape.vocab_size * d) / t
    of_layer = 2 * (6 * d + 2 * shape.kv_size + 3 * shape.intermediate_size) / t
    kept = {"none": of_layer, "selective": SELECTIVE_SHARE * of_layer, "full": 2 * d / t}[layout.recompute]
    live = {"none": 0.0, "selective": of_layer, "full": 2 * of_layer}[layout.recompute]
    activations = tokens * (kept * shape.num_layers + live)
    logits = 10 * shape.vocab_size * (min(layout.head_tokens, tokens) or tokens) / t
    margin = MARGIN["tensor" if t > 1 else "sharded"] if has_margin else 1.0
    return Memory(states, gathered, activations, logits, 2 * read_only * shape.parameters / ranks, margin)
