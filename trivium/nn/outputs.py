"""The lazy view of a model's output that objectives read: nothing is computed until it is asked for."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Protocol

import torch

from trivium.nn.batch import Batch


class Network(Protocol):
    """What is asked of a model, ours or a guest."""

    def hidden(self, batch: Batch) -> torch.Tensor:
        """States after the last norm, (B, L, D)."""
        ...

    def logprobs(self, hidden_BLD: torch.Tensor, batch: Batch, temperature: float, with_entropy: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probs of the tokens that count and entropies of what they were drawn from, (B, L) each."""
        ...

    def greedy(self, hidden_BLD: torch.Tensor, batch: Batch) -> torch.Tensor:
        """1 where a token that counts is the likeliest one, (B, L)."""
        ...

    def divergence_from(self, reference: Any, hidden_BLD: torch.Tensor, batch: Batch, temperature: float, beta: float) -> torch.Tensor:
        """How far the model is from the reference where the tokens that count were drawn, (B, L)."""
        ...

    def scalar(self, hidden_BLD: torch.Tensor) -> torch.Tensor:
        """The scalar head at every position, (B, L)."""
        ...

    def values(self, hidden_BLD: torch.Tensor) -> torch.Tensor:
        """The scalar head's estimate before every token, (B, L)."""
        ...


class Outputs:
    """What `model` says about `batch`. Every property is computed at most once.

    with_entropy: compute the entropy in the same pass as the log-probs; `entropy_BL` is there only then.
    reference: the model that `divergence` and `reference_kl_BL` compare with.
    """

    def __init__(
        self, model: Network, batch: Batch, *, temperature: float = 1.0, with_entropy: bool = False, reference: Network | None = None
    ) -> None:
        self._model, self._batch, self._temperature, self._with_entropy = model, batch, temperature, with_entropy
        self._reference = reference

    @cached_property
    def hidden_BLD(self) -> torch.Tensor:
        """States after the last norm, (B, L, D)."""
        return self._model.hidden(self._batch)

    @cached_property
    def _scored(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self._model.logprobs(self.hidden_BLD, self._batch, self._temperature, self._with_entropy)

    @property
    def logprobs_BL(self) -> torch.Tensor:
        """Log-prob of every token that counts, 0 elsewhere; (B, L) float32."""
        return self._scored[0]

    @property
    def greedy_BL(self) -> torch.Tensor:
        """1 where a token that counts is the likeliest one, 0 elsewhere; (B, L) float32. Costs the head once more."""
        return self._model.greedy(self.hidden_BLD, self._batch)

    @property
    def entropy_BL(self) -> torch.Tensor:
        """Entropy in nats of the distribution each counted token was drawn from; (B, L) float32."""
        if not self._with_entropy:
            raise RuntimeError("entropy_BL was not asked for (with_entropy); the trainer computes it for policy losses alone")
        return self._scored[1]

    @cached_property
    def reference_kl_BL(self) -> torch.Tensor:
        """KL(reference || model) in nats of the distribution that each counted token was drawn from; (B, L) float32."""
        return self.divergence(0.0)

    def divergence(self, beta: float) -> torch.Tensor:
        """The generalised Jensen-Shannon divergence (nn/divergence.py) from the reference where each counted token was drawn; (B, L)."""
        if self._reference is None:
            raise RuntimeError("this objective compares whole distributions; give the trainer a reference")
        return self._model.divergence_from(self._reference, self.hidden_BLD, self._batch, self._temperature, beta)

    @cached_property
    def scores_BL(self) -> torch.Tensor:
        """The scalar head's reading at every token (a reward is the one at the last token); (B, L) float32."""
        return self._model.scalar(self.hidden_BLD)

    @cached_property
    def values_BL(self) -> torch.Tensor:
        """The scalar head's estimate before every token; (B, L) float32."""
        return self._model.values(self.hidden_BLD)
