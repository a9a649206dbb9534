"""The numbers of a decoder-only transformer that a plan needs, and the work of a token in two countings."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shape:
    """parameters: all. layer_parameters: of one layer. query_size, kv_size: heads x head_dim, of the keys those that are kept.

    most_tensor: whose divisors are the numbers of ranks that can share a layer.
    """

    parameters: int
    layer_parameters: int
    num_layers: int
    hidden_size: int
    query_size: int
    kv_size: int
    intermediate_size: int
    vocab_size: int
    most_tensor: int

    @property
    def multiplied(self) -> int:
        """Weights that a token is multiplied with: those of the layers and of the head, not the embedding."""
        return self.num_layers * self.layer_parameters + self.vocab_size * self.hidden_size

    @property
    def rest(self) -> int:
        """Weights outside of the layers: embedding, head and the last norm."""
        return self.parameters - self.num_layers * self.layer_parameters

    @property
    def kv_bytes(self) -> int:
        """Of a token's keys and values in bf16."""
        return 2 * 2 * self.num_layers * self.kv_size

    def flops_per_token(self, seq_len: int, *, is_causal: bool) -> float:
        """Of training: 6 a weight, and attention. PaLM counts all positions (Chowdhery et al. 2022, arXiv:2204.02311, appendix B), and so
        do the figures that others publish; is_causal counts the half that is computed.
        """
        return 6 * self.multiplied + (6 if is_causal else 12) * self.num_layers * self.query_size * seq_len
