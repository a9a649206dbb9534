"""Pairs: what the losses over two answers to a prompt read, and what all of them report."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from trivium.core.types import Metrics
from trivium.nn.batch import Batch
from trivium.nn.outputs import Outputs


@dataclass(frozen=True, slots=True)
class Pairs:
    """G pairs, the better answer of each beside the worse one; everything is (G,) and summed over the tokens that count.

    chosen, rejected: log-probs under the policy. The log-ratios are those minus the reference's, or the same where a loss has none.
    """

    chosen: torch.Tensor
    rejected: torch.Tensor
    chosen_log_ratio: torch.Tensor
    rejected_log_ratio: torch.Tensor
    chosen_length: torch.Tensor
    rejected_length: torch.Tensor

    @property
    def margin(self) -> torch.Tensor:
        """How much more the policy has moved towards the better answer than towards the worse one."""
        return self.chosen_log_ratio - self.rejected_log_ratio

    @property
    def margin_a_token(self) -> torch.Tensor:
        """The same with each log-ratio divided by the length of its answer."""
        return self.chosen_log_ratio / self.chosen_length - self.rejected_log_ratio / self.rejected_length

    @property
    def chosen_mean(self) -> torch.Tensor:
        """Log-prob of the better answer a token."""
        return self.chosen / self.chosen_length

    @property
    def rejected_mean(self) -> torch.Tensor:
        """Log-prob of the worse answer a token."""
        return self.rejected / self.rejected_length

    def metrics(self, score_G: torch.Tensor) -> Metrics:
        """What every preference loss reports; a pair is right where `score_G`, by which the loss compares its answers, is above 0."""
        right = (score_G > 0).float() + 0.5 * (score_G == 0)
        reported = {
            "accuracy": right,
            "margin": score_G,
            "chosen_log_ratio": self.chosen_log_ratio,
            "rejected_log_ratio": self.rejected_log_ratio,
            "chosen_logprob": self.chosen_mean,
            "rejected_logprob": self.rejected_mean,
        }
        pairs = score_G.new_tensor(len(score_G))
        return {name: (value_G.detach().sum(), pairs) for name, value_G in reported.items()}


def read_pairs(out: Outputs, batch: Batch, *, has_reference: bool = True) -> Pairs:
    """The pairs of a batch. Raises DataError if a group is not a pair."""
    log_ratio_BL = out.logprobs_BL - batch["ref_logprobs"] if has_reference else out.logprobs_BL
    return pairs_of(batch, out.logprobs_BL, log_ratio_BL)


def pairs_of(batch: Batch, logprobs_BL: torch.Tensor, log_ratio_BL: torch.Tensor) -> Pairs:
    """The same of log-probs and log-ratios that a loss has changed before it sums them."""
    lengths_N = batch.lengths().clamp(min=1)
    return Pairs(*batch.pairs(batch.sum(logprobs_BL)), *batch.pairs(batch.sum(log_ratio_BL)), *batch.pairs(lengths_N))


def logsigmoid(x: torch.Tensor) -> torch.Tensor:
    """log sigmoid(x), exact where x is far below 0."""
    return torch.nn.functional.logsigmoid(x)


def mixed(logit_G: torch.Tensor, label_noise: float) -> torch.Tensor:
    """-log sigmoid of a logit, where a share of the labels is believed to be the wrong way round: the mixture of both directions."""
    loss_G = -logsigmoid(logit_G)
    return (1 - label_noise) * loss_G - label_noise * logsigmoid(-logit_G) if label_noise else loss_G


def log1mexp(x: torch.Tensor) -> torch.Tensor:
    """log(1 - e^x) for x < 0, exact near 0 and far from it. Maechler 2012, "Accurately computing log(1 - exp(-|a|))"."""
    x = x.clamp(max=-1e-6)
    return torch.where(x > -0.6931471805599453, torch.log(-torch.expm1(x)), torch.log1p(-torch.exp(x)))
