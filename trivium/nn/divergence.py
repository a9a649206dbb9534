"""Exact divergences between what two models would say next, over the whole vocabulary and in chunks of positions."""

import math
from typing import Any

import torch
from torch import Tensor

from trivium.nn.heads import chunk_of
from trivium.nn.transformer import capped, widened


class _Divergence(torch.autograd.Function):
    """The divergence at each position, (P,); its slope by the policy's states and head. Logits are computed again backward."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        hidden_PD: Tensor,
        weight_VD: Tensor,
        ref_hidden_PD: Tensor,
        ref_weight_VD: Tensor,
        beta: float,
        temperature: float,
        softcaps: tuple[float | None, float | None],
    ) -> Tensor:
        ctx.save_for_backward(hidden_PD, weight_VD, ref_hidden_PD, ref_weight_VD)
        ctx.beta, ctx.temperature, ctx.softcaps = beta, temperature, softcaps
        found = []
        for part in _parts(hidden_PD, weight_VD):
            log_p, _ = _log_softmax(hidden_PD[part], weight_VD, temperature, softcaps[0])
            log_q, _ = _log_softmax(ref_hidden_PD[part], ref_weight_VD, temperature, softcaps[1])
            found.append(_between(log_p, log_q, beta))
        return torch.cat(found) if found else hidden_PD.new_zeros(0)

    @staticmethod
    def backward(ctx: Any, grad_P: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        hidden_PD, weight_VD, ref_hidden_PD, ref_weight_VD = ctx.saved_tensors
        grad_hidden = torch.empty_like(hidden_PD)
        grad_weight = torch.zeros_like(weight_VD) if ctx.needs_input_grad[1] else None
        for part in _parts(hidden_PD, weight_VD):
            log_p, bend = _log_softmax(hidden_PD[part], weight_VD, ctx.temperature, ctx.softcaps[0])
            log_q, _ = _log_softmax(ref_hidden_PD[part], ref_weight_VD, ctx.temperature, ctx.softcaps[1])
            slope = _slope(log_p, log_q, ctx.beta) * (grad_P[part, None] / ctx.temperature)
            grad = (slope if bend is None else slope * bend).to(hidden_PD.dtype)
            grad_hidden[part] = grad @ weight_VD.to(grad.dtype)
            if grad_weight is not None:
                grad_weight += grad.T @ hidden_PD[part]
        return grad_hidden, grad_weight, None, None, None, None, None


def divergence(
    hidden_BLD: Tensor, weight_VD: Tensor, ref_hidden_BLD: Tensor, ref_weight_VD: Tensor, scored_P: Tensor,
    *, beta: float = 0.0, temperature: float = 1.0, softcaps: tuple[float | None, float | None] = (None, None),
) -> Tensor:  # fmt: skip
    """How far policy and reference are apart, in nats, where each scored token was drawn; (B, L), 0 elsewhere.

    beta 0: KL(reference || policy); 1: KL(policy || reference); between them the generalised Jensen-Shannon divergence of Agarwal et al.
    2023, arXiv:2306.13649, eq. 1: beta KL(reference || m) + (1 - beta) KL(policy || m), m = beta reference + (1 - beta) policy, which is 0
    at either end. hidden_BLD, ref_hidden_BLD: the states of both, each as wide as its head. scored_P: flat indices of the tokens.
    softcaps: of the logits of both. No slope reaches the reference.
    """
    before_P = scored_P - 1
    states = [hidden.flatten(0, 1).index_select(0, before_P) for hidden in (hidden_BLD, ref_hidden_BLD)]
    found_P = _Divergence.apply(states[0], weight_VD, states[1].detach(), ref_weight_VD.detach(), beta, temperature, softcaps)
    return _placed(found_P, hidden_BLD, scored_P)


def divergence_of_logits(logits_BLV: Tensor, ref_logits_BLV: Tensor, scored_P: Tensor, *, beta: float = 0.0, temperature: float) -> Tensor:
    """The same of two models whose logits, (B, L, V), are there as a whole."""
    both = [logits.flatten(0, 1)[scored_P - 1] for logits in (logits_BLV, ref_logits_BLV.detach())]
    log_p, log_q = ((widened(logits) / temperature).log_softmax(-1) for logits in both)
    return _placed(_between(log_p, log_q, beta), logits_BLV, scored_P)


def _between(log_p: Tensor, log_q: Tensor, beta: float) -> Tensor:
    """The divergence of distributions (P, V), q the reference's."""
    log_m = _mixture(log_p, log_q, beta)
    from_reference = (log_q.exp() * (log_q - log_m)).sum(-1) if beta < 1 else 0
    from_policy = (log_p.exp() * (log_p - log_m)).sum(-1) if beta > 0 else 0
    return from_reference + from_policy if beta in (0, 1) else beta * from_reference + (1 - beta) * from_policy


def _slope(log_p: Tensor, log_q: Tensor, beta: float) -> Tensor:
    """The slope by the policy's logits, (P, V): p (g - the mean of g under p), g that by p."""
    p = log_p.exp()
    if beta == 0:
        return p - log_q.exp()
    by_p = log_p - _mixture(log_p, log_q, beta)
    slope = p * (by_p - (p * by_p).sum(-1, keepdim=True))
    return slope if beta == 1 else (1 - beta) * slope


def _mixture(log_p: Tensor, log_q: Tensor, beta: float) -> Tensor:
    """What both are compared with: of the two ends, the other distribution."""
    if beta in (0, 1):
        return log_p if beta == 0 else log_q
    return torch.logaddexp(log_q + math.log(beta), log_p + math.log1p(-beta))


def _placed(found_P: Tensor, like_BL: Tensor, scored_P: Tensor) -> Tensor:
    shape = like_BL.shape[:2]
    return found_P.new_zeros(shape.numel()).index_copy(0, scored_P, found_P).view(shape)


def _parts(hidden_PD: Tensor, weight_VD: Tensor) -> list[slice]:
    chunk = chunk_of(hidden_PD.device, len(weight_VD))
    return [slice(start, start + chunk) for start in range(0, len(hidden_PD), chunk)]


def _log_softmax(hidden_PD: Tensor, weight_VD: Tensor, temperature: float, softcap: float | None) -> tuple[Tensor, Tensor | None]:
    """Log-probs in fp32 or better, (P, V), and how the softcap bends the slope by the raw logits."""
    logits = capped(widened(hidden_PD @ weight_VD.to(hidden_PD.dtype).T), softcap)
    bend = None if softcap is None else 1 - (logits / softcap) ** 2
    return (logits / temperature).log_softmax(-1), bend
