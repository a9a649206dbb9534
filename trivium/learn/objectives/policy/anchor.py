"""The ratio of the policy to the one that sampled, the KL penalty, and what every policy loss reports."""

from __future__ import annotations

from typing import Literal

import torch

from trivium.core.types import Metrics
from trivium.learn.kl import kl_estimate
from trivium.nn.batch import Batch
from trivium.nn.outputs import Outputs

Penalty = Literal["k2", "k3", "ratio_k3"]  # k1 has no gradient in a loss, so it is none of them


def log_ratio(out: Outputs, batch: Batch) -> torch.Tensor:
    """log policy - log of the policy that sampled, as the sampler stored it or the trainer read it again; (B, L)."""
    return out.logprobs_BL - batch["old_logprobs"]


def by_sequence(log_ratio_BL: torch.Tensor, batch: Batch) -> torch.Tensor:
    """The mean log-ratio of its sequence at every token, (B, L); padding has 0."""
    mean_N = batch.mean(log_ratio_BL)
    return torch.cat([mean_N, mean_N.new_zeros(1)])[batch.sequence_BL]


def columns(kl_coef: float) -> tuple[str, ...]:
    """What a policy loss reads: the reference only where its loss has a KL penalty."""
    return ("old_logprobs", "advantages", *(["ref_logprobs"] if kl_coef else []))


def with_kl(loss_BL: torch.Tensor, out: Outputs, batch: Batch, *, kl_coef: float, kl: Penalty) -> torch.Tensor:
    """The loss plus kl_coef times the penalty, (B, L); times the column `importance`, where tokens came from another sampler."""
    whole_BL = loss_BL + kl_coef * kl_penalty(out, batch, kl) if kl_coef else loss_BL
    return whole_BL * batch["importance"] if "importance" in batch.columns else whole_BL


def kl_penalty(out: Outputs, batch: Batch, how: Penalty) -> torch.Tensor:
    """The estimate, (B, L), of each token's KL(policy || reference) given the tokens before it, for a loss (learn/kl.py).

    ratio_k3 weighs by the token's own ratio, also where the policy's loss takes that of whole answers.
    """
    to_reference = out.logprobs_BL - batch["ref_logprobs"]
    if how == "k2":
        return kl_estimate(to_reference, "k2")
    return kl_estimate(to_reference, "k3") * (log_ratio(out, batch).exp() if how == "ratio_k3" else 1)


def report(out: Outputs, batch: Batch, log_ratio_BL: torch.Tensor, *, low: float, high: float) -> Metrics:
    """Shares of tokens whose ratio is below and above the clip, KL(sampler || policy), the entropy, and how evenly samples count.

    approx_kl: the mean of rho - 1 - log rho, whose expectation over tokens of the sampler is that KL; with the ratio of whole answers
    (GSPO) everything here is of that ratio.
    effective_share: (sum of ratios)^2 / (tokens x sum of squared ratios), 1 on-policy; low where few tokens carry a step.
    ratio_error: the mean of the ratio or its inverse, whichever is above 1; before the first update of a phase it is what sampler and
    trainer differ by.
    """
    counted = (batch.loss_mask_BL > 0).float()
    log_ratio_BL = log_ratio_BL.detach()
    tokens, ratio = counted.sum(), log_ratio_BL.exp()
    below, above = (ratio < low).float(), (ratio > high).float()
    return {
        "clip_fraction": (((below + above) * counted).sum(), tokens),
        "clip_low": ((below * counted).sum(), tokens),
        "clip_high": ((above * counted).sum(), tokens),
        "approx_kl": ((kl_estimate(-log_ratio_BL, "k3") * counted).sum(), tokens),  # tokens are the sampler's, so its sign is the other
        "entropy": ((out.entropy_BL.detach() * counted).sum(), tokens),
        "ratio_error": ((log_ratio_BL.abs().exp() * counted).sum(), tokens),
        "effective_share": ((ratio * counted).sum(), (ratio**2 * counted).sum(), tokens),
    }
