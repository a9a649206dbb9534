"""A model whose rows are shared by several ranks (context parallelism): each computes the states of one stretch of every row.

What leaves it is a number a token (log-probs, entropies, scores), and that every rank gets whole, so objectives see what one process
sees. The loss is then the same on every rank, but its slope flows on each only into its own stretch: the gradients of the ranks add up
to those of one process. Every rank of the group must be given the same batch.
"""

from dataclasses import replace

import torch
from torch import Tensor

from trivium.core.errors import ConfigError
from trivium.nn.batch import Batch
from trivium.nn.heads import after_states, one_more, predicted_by, values_before
from trivium.nn.kernels import Documents
from trivium.nn.model import Model
from trivium.nn.noise import dropout_of, embedding_noise
from trivium.nn.stretch import Stretch
from trivium.nn.transformer import Transformer


class ModelInContext:
    """The same `model`, as `Outputs` reads it, on rows of which this rank has a stretch. States are those of the stretch, L of them.

    Raises ConfigError for models that are not ours: their attention cannot be given the keys of other ranks.
    """

    def __init__(self, model: Model, stretch: Stretch) -> None:
        if len(model.parts) > 1 or not isinstance(model.trunk, Transformer):
            raise ConfigError(f"parallel.context spreads the rows of our own transformer, not of a {model.config.family}; set it to 1")
        self.model, self.stretch = model, stretch

    def hidden(self, batch: Batch) -> Tensor:
        """States after the last norm of this rank's stretch, (B, size, D)."""
        own = self.stretch.own
        columns = {name: own(column) for name, column in batch.columns.items()}
        mine = replace(batch, loss_mask_BL=own(batch.loss_mask_BL), columns=columns)
        noise = {"noise_BLD": embedding_noise(mine, self.model.config.hidden_size), "dropout": dropout_of(mine)}
        return self.model.trunk(own(batch.tokens_BL), own(batch.position_BL), self._mask(batch), self.stretch, **noise)

    def _mask(self, batch: Batch) -> Tensor | Documents:
        device = batch.tokens_BL.device
        if self.model.why_masks() is not None:
            return self.stretch.mask(batch.sequence_BL if batch.is_packed else None, device)
        rows, length = batch.tokens_BL.shape
        starts = torch.arange(0, (rows + 1) * length, length, device=device) if batch.starts_D is None else batch.starts_D
        return self.stretch.documents(starts)

    def logprobs(self, hidden_BLD: Tensor, batch: Batch, temperature: float, with_entropy: bool) -> tuple[Tensor, Tensor]:
        """Log-probs of the tokens that count and entropies of what they were drawn from, (B, L) each."""
        found = self.model.logprobs(one_more(hidden_BLD), self._predicted(batch), temperature, with_entropy)
        logprobs_BL = self._whole(found[0])
        return logprobs_BL, self._whole(found[1]) if with_entropy else torch.zeros_like(logprobs_BL)

    def greedy(self, hidden_BLD: Tensor, batch: Batch) -> Tensor:
        """1 where a token that counts is the likeliest one, (B, L)."""
        return self._whole(self.model.greedy(one_more(hidden_BLD), self._predicted(batch)))

    def divergence_from(self, reference: Model, hidden_BLD: Tensor, batch: Batch, temperature: float, beta: float) -> Tensor:
        """How far the model is from the reference where the tokens that count were drawn, (B, L)."""
        with torch.no_grad():
            ref_hidden_BLD = ModelInContext(reference, self.stretch).hidden(batch)
        states = one_more(hidden_BLD), one_more(ref_hidden_BLD)
        return self._whole(self.model.divergence_between(reference, *states, self._predicted(batch), temperature, beta))

    def scalar(self, hidden_BLD: Tensor) -> Tensor:
        """The scalar head at every position, (B, L)."""
        return self.stretch.whole(self.model.scalar(hidden_BLD))[:, : self.stretch.length]

    def values(self, hidden_BLD: Tensor) -> Tensor:
        """The scalar head's estimate before every token, (B, L)."""
        return values_before(self.scalar(hidden_BLD))

    def _predicted(self, batch: Batch) -> Batch:
        """The tokens that this rank's states predict, and which of them count."""
        tokens, scored = predicted_by(batch.tokens_BL, batch.scored_P, self.stretch.start, self.stretch.size)
        return replace(batch, tokens_BL=tokens, scored_P=scored)

    def _whole(self, x_BM: Tensor) -> Tensor:
        """(B, L) of what each rank knows about the tokens that its states predict."""
        return after_states(self.stretch.whole(x_BM[:, 1:]))[:, : self.stretch.length]
