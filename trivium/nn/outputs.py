"""The lazy view of a model's output that objectives read: nothing is computed until it is asked for."""

from functools import cached_property

from torch import Tensor

from trivium.nn.batch import Batch
from trivium.nn.heads import token_logprobs, values_before
from trivium.nn.model import Model


class Outputs:
    """What `model` says about `batch`. Every property is computed at most once.

    with_entropy: compute the entropy in the same pass as the log-probs (an objective that reads `entropy_BL` declares it).
    """

    def __init__(self, model: Model, batch: Batch, *, temperature: float = 1.0, with_entropy: bool = False) -> None:
        self._model, self._batch, self._temperature, self._with_entropy = model, batch, temperature, with_entropy

    @cached_property
    def hidden_BLD(self) -> Tensor:
        """States after the last norm, (B, L, D)."""
        return self._model.hidden(self._batch)

    @cached_property
    def _scored(self) -> tuple[Tensor, Tensor]:
        weight, batch = self._model.trunk.head.weight, self._batch
        return token_logprobs(self.hidden_BLD, weight, batch.tokens_BL, batch.scored_P, temperature=self._temperature, with_entropy=self._with_entropy)

    @property
    def logprobs_BL(self) -> Tensor:
        """Log-prob of every token that counts, 0 elsewhere; (B, L) float32."""
        return self._scored[0]

    @property
    def entropy_BL(self) -> Tensor:
        """Entropy in nats of the distribution each counted token was drawn from; (B, L) float32."""
        if not self._with_entropy:
            raise RuntimeError("this objective reads entropy_BL; it must declare `reads_entropy = True`")
        return self._scored[1]

    @cached_property
    def scores_BL(self) -> Tensor:
        """The scalar head's reading at every token (a reward is the one at the last token); (B, L) float32."""
        return self._model.scalar(self.hidden_BLD)

    @property
    def values_BL(self) -> Tensor:
        """The scalar head's estimate before every token; (B, L) float32."""
        return values_before(self.scores_BL)
