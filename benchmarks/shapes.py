"""The shapes that `benchmarks.pretrain` trains, by name: Llama-like, no grouped heads, an untied head, so that every peer has them."""

from dataclasses import dataclass

from trivium.nn.config import ModelConfig, llama
from trivium.nn.flops import flops_per_token


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A model and the work of one update: rows of seq_len tokens.

    target: tokens a second on one H100 SXM that would be ahead of the peers, 0 where none is set. target_source: what they reach.
    """

    vocab_size: int
    depth: int
    width: int
    head_dim: int
    seq_len: int
    rows: int
    target: float = 0.0
    target_source: str = ""

    def config(self) -> ModelConfig:
        """The shape as ours; a peer's has no query-key norm."""
        return llama(
            vocab_size=self.vocab_size, depth=self.depth, width=self.width, max_seq_len=self.seq_len, head_dim=self.head_dim
        )  # fmt: skip

    def options(self, rows: int) -> dict[str, int]:
        """What a contestant is told; the training data are num_rows random rows."""
        sizes = {"vocab_size": self.vocab_size, "depth": self.depth, "width": self.width, "head_dim": self.head_dim}
        sizes["intermediate_size"] = self.config().intermediate_size
        return sizes | {"seq_len": self.seq_len, "rows": rows, "num_rows": 64 * rows, "seed": 1}

    def __str__(self) -> str:
        return f"L{self.depth} d{self.width} V{self.vocab_size}"


# Vocabularies are GPT-2's, padded to a multiple of 128. A published 124M, 410M or 1.3B ties its head or has a plain MLP of the same
# size; the blocks here have its matrices' number of weights. Targets: 45, 50 and 55 % of the data sheet in PaLM's count.
SHAPES = {
    "tiny": Shape(vocab_size=128, depth=1, width=64, head_dim=64, seq_len=32, rows=2),
    "laptop": Shape(vocab_size=8192, depth=6, width=384, head_dim=64, seq_len=512, rows=8),
    "124m": Shape(
        vocab_size=50304, depth=12, width=768, head_dim=64, seq_len=1024, rows=32,
        target=520_000, target_source="llm.c and modded-nanogpt's plain records reach 40 to 41 %",
    ),
    "410m": Shape(
        vocab_size=50304, depth=24, width=1024, head_dim=128, seq_len=2048, rows=16,
        target=181_000, target_source="llm-foundry reaches 35 % at 760M",
    ),
    "1.3b": Shape(
        vocab_size=50304, depth=24, width=2048, head_dim=128, seq_len=2048, rows=8,
        target=60_000, target_source="llm-foundry reaches 42 % at 1B, nanochat 50 %",
    ),
}  # fmt: skip


def palm_flops_per_token(config: ModelConfig, seq_len: int) -> int:
    """FLOPs of training as most projects count them: attention over all positions, hidden ones too (Chowdhery et al. 2022,
    arXiv:2204.02311, appendix B). For comparing utilisation with theirs; everything else here counts what is computed.
    """
    hidden_pairs = seq_len - (seq_len + 1) / 2
    return flops_per_token(config, seq_len) + int(12 * config.num_layers * config.num_heads * config.head_dim * hidden_pairs)
