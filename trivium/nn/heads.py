"""From hidden states to log-probs, entropies and scalars; the only place that shifts by one.

Log-softmax is computed in fp32 on chunks of positions, so a (B, L, V) tensor in fp32 never exists. The backward pass computes
the chunk's logits again, unless the vocabulary is small (KEEP_WORDS) and so are all of them together (KEEP_BYTES): then they are
kept in compute precision, which is the same numbers for less work.
"""

import torch
from torch import Tensor

from trivium.nn.native import training
from trivium.nn.transformer import capped, widened

CHUNK = 512  # positions at a time: fp32 logits of a chunk stay in the cache of a laptop's cores
KEEP_WORDS = 1 << 14  # of a larger vocabulary no more than a chunk's logits ever exist, however few the positions are
KEEP_BYTES = 128 << 20


class _TokenLogprobs(torch.autograd.Function):
    """log softmax(capped(hidden W^T) / temperature)[target] and the entropy of the distribution, per position.

    d logprob / d logits = onehot - p;  d entropy / d logits = -p (log p + entropy);  d capped(x) / dx = 1 - (capped(x) / softcap)^2.
    """

    @staticmethod
    def forward(  # type: ignore[override]  # noqa: ANN205
        ctx,
        hidden_PD: Tensor,
        weight_VD: Tensor,
        target_P: Tensor,
        temperature: float,
        softcap: float | None,
        with_entropy: bool,
        native: bool,
    ):
        weight = weight_VD.to(hidden_PD.dtype)
        keep = len(weight) <= KEEP_WORDS and len(hidden_PD) * len(weight) * hidden_PD.element_size() <= KEEP_BYTES
        logprob, lse, entropy, kept = [], [], [], []
        for hidden, target in zip(hidden_PD.split(CHUNK), target_P.split(CHUNK), strict=True):
            raw = hidden @ weight.T
            logits = capped(widened(raw), softcap)
            logits = logits if temperature == 1.0 else logits / temperature
            total = training.logsumexp(logits) if native else logits.logsumexp(-1)
            logprob.append(logits.gather(-1, target[:, None])[:, 0] - total)
            lse.append(total)
            if with_entropy:
                entropy.append(total - ((logits - total[:, None]).exp() * logits).sum(-1))
            if keep:
                kept.append(raw)
        lse_P = torch.cat(lse)
        logprob_P = torch.cat(logprob)
        entropy_P = torch.cat(entropy) if with_entropy else torch.zeros_like(logprob_P)
        ctx.save_for_backward(hidden_PD, weight_VD, target_P, lse_P, entropy_P, *kept)
        ctx.temperature, ctx.softcap, ctx.with_entropy, ctx.native = temperature, softcap, with_entropy, native
        return logprob_P, entropy_P

    @staticmethod
    def backward(ctx, grad_logprob_P: Tensor, grad_entropy_P: Tensor):  # type: ignore[override]  # noqa: ANN205
        hidden_PD, weight_VD, target_P, lse_P, entropy_P, *kept = ctx.saved_tensors
        weight = weight_VD.to(hidden_PD.dtype)
        grad_hidden = torch.empty_like(hidden_PD)
        grad_weight = torch.zeros_like(weight_VD) if ctx.needs_input_grad[1] else None  # none for a frozen head
        for number, start in enumerate(range(0, len(target_P), CHUNK)):
            part = slice(start, start + CHUNK)
            raw = kept[number] if kept else hidden_PD[part] @ weight.T
            logits = capped(widened(raw), ctx.softcap)
            bend = None if ctx.softcap is None else 1 - (logits / ctx.softcap) ** 2
            logits = logits if ctx.temperature == 1.0 else logits / ctx.temperature
            if ctx.native and not ctx.with_entropy:
                grad = training.softmax_slope(logits, target_P[part], lse_P[part], grad_logprob_P[part])
            else:
                log_p = logits - lse_P[part, None]
                slope = -grad_logprob_P[part, None]
                if ctx.with_entropy:
                    slope = slope - grad_entropy_P[part, None] * (log_p + entropy_P[part, None])
                grad = log_p.exp_().mul_(slope)
                grad.scatter_add_(1, target_P[part, None], grad_logprob_P[part, None])
            if ctx.temperature != 1.0:
                grad /= ctx.temperature
            if bend is not None:
                grad *= bend
            grad = grad.to(hidden_PD.dtype)
            grad_hidden[part] = grad @ weight
            if grad_weight is not None:
                grad_weight += grad.T @ hidden_PD[part]
        return grad_hidden, grad_weight, None, None, None, None, None


def token_logprobs(
    hidden_BLD: Tensor, weight_VD: Tensor, tokens_BL: Tensor, scored_P: Tensor,
    *, temperature: float = 1.0, with_entropy: bool = False, softcap: float | None = None, native: bool = False,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Log-prob of each scored token given what comes before it, and the entropy of the distribution it was drawn from.

    hidden_BLD: (B, L, D). scored_P: flat indices of the tokens to score, none of them the first of its sequence.
    softcap bounds the logits before the temperature divides them (Gemma 2). native: with the kernels, in float32 on a CPU.
    Returns two (B, L) tensors that are 0 elsewhere: fp32, or the precision of the states where that is higher.
    """
    logprob_P, entropy_P = _TokenLogprobs.apply(
        hidden_BLD.flatten(0, 1)[scored_P - 1], weight_VD, tokens_BL.flatten()[scored_P], temperature, softcap, with_entropy, native
    )
    return _placed(logprob_P, tokens_BL, scored_P), _placed(entropy_P, tokens_BL, scored_P)


def logprobs_of_logits(
    logits_BLV: Tensor, tokens_BL: Tensor, scored_P: Tensor, *, temperature: float, with_entropy: bool
) -> tuple[Tensor, Tensor]:
    """The same of a model whose logits, (B, L, V), are there as a whole."""
    log_p = (widened(logits_BLV.flatten(0, 1)[scored_P - 1]) / temperature).log_softmax(-1)
    logprob_P = log_p.gather(-1, tokens_BL.flatten()[scored_P, None])[:, 0]
    entropy_P = -(log_p.exp() * log_p).sum(-1) if with_entropy else torch.zeros_like(logprob_P)
    return _placed(logprob_P, tokens_BL, scored_P), _placed(entropy_P, tokens_BL, scored_P)


def _placed(x_P: Tensor, tokens_BL: Tensor, scored_P: Tensor) -> Tensor:
    return x_P.new_zeros(tokens_BL.numel()).index_copy(0, scored_P, x_P).view_as(tokens_BL)


class ScalarHead(torch.nn.Module):
    """A number for every position, read from the hidden state there: a reward or a value.

    Init: zeros, so a critic starts at 0 and a reward model without opinions.
    `gain` and `bias` normalise scores after training and are stored with the weights.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(width))
        self.register_buffer("gain", torch.ones(()))
        self.register_buffer("bias", torch.zeros(()))

    def forward(self, hidden_BLD: Tensor) -> Tensor:
        """Hidden states (B, L, D) to numbers (B, L), fp32 or better."""
        return (widened(hidden_BLD) @ self.weight) * self.gain + self.bias


def values_before(scalar_BL: Tensor) -> Tensor:
    """A critic's estimate before each token is emitted: what it reads at the token before. Entry 0 of a row is 0 and never counts."""
    return torch.nn.functional.pad(scalar_BL[:, :-1], (1, 0))
