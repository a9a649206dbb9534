"""The exact KL divergence between what two models would say next, over the whole vocabulary and in chunks of positions."""

from typing import Any

import torch
from torch import Tensor

from trivium.nn.heads import chunk_of
from trivium.nn.transformer import capped, widened


class _ReferenceKL(torch.autograd.Function):
    """KL(reference || policy) at each position, (P,); its slope by the policy's states and head. Logits are computed again backward."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        hidden_PD: Tensor,
        weight_VD: Tensor,
        ref_hidden_PD: Tensor,
        ref_weight_VD: Tensor,
        temperature: float,
        softcap: float | None,
    ) -> Tensor:
        ctx.save_for_backward(hidden_PD, weight_VD, ref_hidden_PD, ref_weight_VD)
        ctx.temperature, ctx.softcap = temperature, softcap
        found = []
        for part in _parts(hidden_PD, weight_VD):
            log_p, _ = _log_softmax(hidden_PD[part], weight_VD, temperature, softcap)
            log_q, _ = _log_softmax(ref_hidden_PD[part], ref_weight_VD, temperature, softcap)
            found.append((log_q.exp() * (log_q - log_p)).sum(-1))
        return torch.cat(found) if found else hidden_PD.new_zeros(0)

    @staticmethod
    def backward(ctx: Any, grad_P: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        hidden_PD, weight_VD, ref_hidden_PD, ref_weight_VD = ctx.saved_tensors
        grad_hidden = torch.empty_like(hidden_PD)
        grad_weight = torch.zeros_like(weight_VD) if ctx.needs_input_grad[1] else None
        for part in _parts(hidden_PD, weight_VD):
            log_p, bend = _log_softmax(hidden_PD[part], weight_VD, ctx.temperature, ctx.softcap)
            log_q, _ = _log_softmax(ref_hidden_PD[part], ref_weight_VD, ctx.temperature, ctx.softcap)
            slope = (log_p.exp() - log_q.exp()) * (grad_P[part, None] / ctx.temperature)
            grad = (slope if bend is None else slope * bend).to(hidden_PD.dtype)
            grad_hidden[part] = grad @ weight_VD.to(grad.dtype)
            if grad_weight is not None:
                grad_weight += grad.T @ hidden_PD[part]
        return grad_hidden, grad_weight, None, None, None, None


def reference_kl(
    hidden_BLD: Tensor, weight_VD: Tensor, ref_hidden_BLD: Tensor, ref_weight_VD: Tensor, scored_P: Tensor,
    *, temperature: float = 1.0, softcap: float | None = None,
) -> Tensor:  # fmt: skip
    """KL(reference || policy) in nats of the distribution that each scored token was drawn from; (B, L), 0 elsewhere.

    hidden_BLD, ref_hidden_BLD: the states of both, (B, L, D). scored_P: flat indices of the tokens. No slope reaches the reference.
    """
    before_P = scored_P - 1
    states = [hidden.flatten(0, 1).index_select(0, before_P) for hidden in (hidden_BLD, ref_hidden_BLD)]
    kl_P = _ReferenceKL.apply(states[0], weight_VD, states[1].detach(), ref_weight_VD.detach(), temperature, softcap)
    return _placed(kl_P, hidden_BLD, scored_P)


def kl_of_logits(logits_BLV: Tensor, ref_logits_BLV: Tensor, scored_P: Tensor, *, temperature: float) -> Tensor:
    """The same of two models whose logits, (B, L, V), are there as a whole."""
    both = [logits.flatten(0, 1)[scored_P - 1] for logits in (logits_BLV, ref_logits_BLV.detach())]
    log_p, log_q = ((widened(logits) / temperature).log_softmax(-1) for logits in both)
    return _placed((log_q.exp() * (log_q - log_p)).sum(-1), logits_BLV, scored_P)


def _placed(kl_P: Tensor, like_BL: Tensor, scored_P: Tensor) -> Tensor:
    shape = like_BL.shape[:2]
    return kl_P.new_zeros(shape.numel()).index_copy(0, scored_P, kl_P).view(shape)


def _parts(hidden_PD: Tensor, weight_VD: Tensor) -> list[slice]:
    chunk = chunk_of(hidden_PD.device, len(weight_VD))
    return [slice(start, start + chunk) for start in range(0, len(hidden_PD), chunk)]


def _log_softmax(hidden_PD: Tensor, weight_VD: Tensor, temperature: float, softcap: float | None) -> tuple[Tensor, Tensor | None]:
    """Log-probs in fp32 or better, (P, V), and how the softcap bends the slope by the raw logits."""
    logits = capped(widened(hidden_PD @ weight_VD.to(hidden_PD.dtype).T), softcap)
    bend = None if softcap is None else 1 - (logits / softcap) ** 2
    return (logits / temperature).log_softmax(-1), bend
