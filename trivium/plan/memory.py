"""What a GPU holds while a model is trained on many: states, what is gathered, activations, and the head.

Checked against published runs of torchtitan (tests/plan/test_published.py): bare, the terms are 9 to 26 % below them; with MARGIN they are
within 5 %. Ours differ from these as docs/parallelism.md has it (`Layout.is_ours`).
"""

from dataclasses import dataclass
from typing import Literal

from trivium.plan.shape import Shape

Recompute = Literal["none", "selective", "full"]
STATE_BYTES = 16  # of a weight in fp32: itself, its gradient and Adam's two moments
MARGIN = {"sharded": 1.15, "tensor": 1.35}  # of all that is not states: what allocator, buffers and libraries add
SELECTIVE_SHARE = 0.43  # of the activations that torchtitan keeps, where cheap ones are computed again
FREE_SHARE = 0.06  # of a GPU's memory, left to the context and to fragments


@dataclass(frozen=True, slots=True)
class Layout:
    """How a model and its rows are spread. replicate x shard x context x tensor ranks; rows of seq_len tokens on each of the first two at a
    time. head_tokens: whose logits are there at one time (0: all). is_ours: what samples, and what is only read, is whole on each rank
    (train/spread.py), tensor ranks share layers alone, `selective` keeps all products. Else as torchtitan: nothing is, tensor ranks share
    the stream between layers, embedding and head too, `selective` keeps every other product.
    """

    shard: int = 1
    replicate: int = 1
    tensor: int = 1
    context: int = 1
    rows: int = 1
    seq_len: int = 2048
    recompute: Recompute = "none"
    head_tokens: int = 0
    is_ours: bool = True

    @property
    def gpus(self) -> int:
        """Of all four dimensions."""
        return self.replicate * self.shard * self.context * self.tensor

    @property
    def tokens(self) -> int:
        """Of a micro-batch on a rank."""
        return self.rows * self.seq_len // self.context

    def of_shared(self, layers: float, rest: float) -> float:
        """What a rank has of something that layers and the rest (stream, embedding, head) have, where tensor ranks share it."""
        return layers / self.tensor + rest / (1 if self.is_ours else self.tensor)


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes by term. whole: the trained weights on every rank while they are sampled from, or where they are not read in parts at the
    start; not while they are updated; beside: what is only read, such as a reference; margin: on gathered, activations and logits.
    """

    states: float
    gathered: float
    activations: float
    logits: float
    whole: float = 0.0
    beside: float = 0.0
    margin: float = 1.0

    @property
    def learning(self) -> float:
        """What is there while weights are updated alone, with the margin."""
        return self.margin * (self.gathered + self.activations + self.logits)

    @property
    def total(self) -> float:
        """The most at one time: weights are whole or updated."""
        return self.states + self.beside + max(self.whole, self.learning)


def memory(
    shape: Shape, layout: Layout, *, trained: int | None = None, copies: int = 1, wholes: int = 0, read_only: int = 0,
    read_apart: int = 0, has_margin: bool = True,
) -> Memory:  # fmt: skip
    """Of one GPU. trained: weights that are, if not all (adapters); copies: of a model and its states, such as a critic beside the policy;
    wholes: those of them that every rank has whole at some time; read_only: models that are only read, whole on every rank; read_apart:
    such of which each rank has a part.
    """
    d, t, tokens, f = shape.hidden_size, layout.tensor, layout.tokens, shape.intermediate_size
    learning = layout.of_shared(shape.num_layers * shape.layer_parameters, shape.rest) if trained is None else trained
    frozen = 0 if trained is None else shape.parameters - trained
    states = copies * (STATE_BYTES * learning + 4 * frozen) / (layout.shard * layout.context)
    # two layers in bf16 on their way, the gradients of one in bf16 and fp32
    gathered = (2 * 2 + 6) * shape.layer_parameters / t
    if layout.is_ours:
        gathered += 8 * shape.rest * (layout.gpus > 1)  # embedding and head in fp32, and their gradients
        heads = 2 * (shape.query_size + shape.kv_size)
        of_layer = 2 * layout.of_shared(heads + 3 * f, 4 * d)  # what goes into norms and products
        kept = 2 * layout.of_shared(heads + 2 * f, 3 * d)  # what comes out of products, and goes into the layer
    else:
        gathered += 4 * shape.vocab_size * d / t
        of_layer = 2 * (6 * d + 2 * shape.kv_size + 3 * f) / t
        kept = SELECTIVE_SHARE * of_layer
    of_all = {"none": of_layer, "selective": kept, "full": 2 * layout.of_shared(0, d)}[layout.recompute]
    live = {"none": 0.0, "selective": of_layer, "full": 2 * of_layer}[layout.recompute]
    logits = layout.of_shared(0, 10 * shape.vocab_size * (min(layout.head_tokens, tokens) or tokens))
    is_spread = layout.is_ours and layout.gpus > 1
    whole = 4.0 * (shape.parameters - frozen) * wholes * is_spread
    beside = 4.0 * (read_only * shape.parameters + frozen * copies * is_spread + read_apart * learning / (layout.shard * layout.context))
    margin = MARGIN["tensor" if t > 1 else "sharded"] if has_margin else 1.0
    activations = tokens * (of_all * shape.num_layers + live)
    return Memory(states, gathered, activations, logits, whole, beside, margin)
