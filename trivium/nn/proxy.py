"""Proxy tuning: three models that speak as one. A large base is moved at each token by what tuning did to a small model.

Liu et al. 2024, arXiv:2401.08565, eq. 1: the softmax of base + alpha (expert - anti-expert), all of them logits; alpha is 1 there.
Left out: training one; its parts are trained by themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from trivium.core.errors import ConfigError
from trivium.nn.batch import Batch
from trivium.nn.heads import ScalarHead, greedy_in_chunks, logprobs_in_chunks
from trivium.nn.io.config_json import GUEST
from trivium.nn.io.proxy_json import PROXY
from trivium.nn.model import Model
from trivium.nn.transformer import Transformer

NEVER = -1e30  # the logit of a word that is cut away: of probability 0, and finite, which samplers check


@dataclass(frozen=True, slots=True)
class Contrast:
    """base + alpha (expert - anti-expert). top_k: only among the base's likeliest words, all others get probability 0; 0: among all.

    In fp64, where adding and taking away again leaves what was there: with expert = anti-expert the sum is base bit for bit, with
    base = anti-expert and alpha 1 it is expert bit for bit, but for logits below a 2^28th of the base's, which are right to 2^-52 of that.
    """

    alpha: float = 1.0
    top_k: int = 0

    def __call__(self, logits: Sequence[Tensor]) -> Tensor:
        """Logits (..., V) fp32 of those of base, expert and anti-expert; V is the smallest of theirs, since the rest is padding."""
        size = min(each.shape[-1] for each in logits)
        base, expert, anti_expert = (each[..., :size] for each in logits)
        total = (expert.double() - anti_expert).mul_(self.alpha).add_(base).float()
        if self.top_k:
            least = base.topk(min(self.top_k, size), dim=-1).values[..., -1:]
            total = total.masked_fill_(base < least, NEVER)
        return total


class ProxyModel(Model):
    """Base, expert and anti-expert behind the interface of one model. Its "hidden states" are theirs side by side.

    All three read the same tokens; where each is to have a prompt in its own words, the engine is told them (generate/renderings.py).
    What works on a `trunk` must work on those of `parts`.
    """

    def __init__(self, base: Model, expert: Model, anti_expert: Model, contrast: Contrast) -> None:
        nn.Module.__init__(self)  # Model's own would build a transformer
        self.three = nn.ModuleList([base, expert, anti_expert])
        self.contrast = contrast
        self.scalar_head: ScalarHead | None = None
        configs = [part.config for part in self.parts]
        self.config = replace(
            base.config,
            family=PROXY,
            vocab_size=min(config.vocab_size for config in configs),
            max_seq_len=min(config.max_seq_len for config in configs),
        )

    @property
    def parts(self) -> list[Model]:
        """Base, expert, anti-expert."""
        return [part for part in self.three if isinstance(part, Model)]

    @property
    def trunk(self) -> Transformer:  # type: ignore[override]
        """There is none. Raises ConfigError."""
        raise ConfigError("a proxy of three models is not trained, and no whole distributions are compared with its; name one model")

    def hidden(self, batch: Batch) -> Tensor:
        """Hidden states of the three side by side, (B, L, D + D' + D'')."""
        return torch.cat([part.hidden(batch) for part in self.parts], dim=-1)

    def logprobs(self, hidden_BLD: Tensor, batch: Batch, temperature: float, with_entropy: bool) -> tuple[Tensor, Tensor]:
        """Log-probs of the tokens that count and entropies of what they were drawn from, (B, L) each, 0 elsewhere; without gradients."""
        return logprobs_in_chunks(
            hidden_BLD, self._logits, batch.tokens_BL, batch.scored_P,
            vocab_size=self.config.vocab_size, temperature=temperature, with_entropy=with_entropy,
        )  # fmt: skip

    def greedy(self, hidden_BLD: Tensor, batch: Batch) -> Tensor:
        """1 where a token that counts is the likeliest one, (B, L) float32, 0 elsewhere."""
        return greedy_in_chunks(hidden_BLD, self._logits, batch.tokens_BL, batch.scored_P, vocab_size=self.config.vocab_size)

    def _logits(self, hidden_PD: Tensor) -> Tensor:
        """Of states side by side, (P, V) fp32."""
        widths = [part.config.hidden_size + part.config.vocab_size * (part.config.family == GUEST) for part in self.parts]
        states = hidden_PD.split(widths, dim=-1)
        return self.contrast([part.trunk.logits(state) for part, state in zip(self.parts, states, strict=True)])
