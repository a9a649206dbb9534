"""From hidden states to log-probs, entropies and scalars; the only place that shifts by one.

Log-softmax is computed in fp32 on chunks of positions, so a (B, L, V) tensor in fp32 never exists. The backward pass computes
the chunk's logits again, unless the vocabulary is small (KEEP_WORDS) and so are all of them together (KEEP_BYTES): then they are
kept in compute precision, which is less work: the same numbers, unless the backward pass multiplies in another precision
(`slope_dtype`), whose rounding the logits then have. On a GPU everything between the products is one kernel forward
and one backward, made by torch's compiler.

Left out on purpose: Liger and other fused heads. Chunks have their gain in memory, the compiler the rest of their gain in time,
and Liger's loss has been wrong under the compiler where positions are ignored (linkedin/Liger-Kernel, #968 and pull request 1338).
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor

from trivium.nn.native import training
from trivium.nn.transformer import capped, widened

CHUNK = 512  # positions at a time: fp32 logits of a chunk stay in the cache of a laptop's cores
KEEP_WORDS = 1 << 14  # of a larger vocabulary no more than a chunk's logits ever exist, however few the positions are
KEEP_BYTES = 128 << 20
GPU_CHUNK_BYTES = 512 << 20  # of fp32 logits there, where starting a kernel costs as much as reading some megabytes
GPU_KEEP_SHARE = 16  # of its memory

Kernels = Literal["torch", "native", "compiled"]


def chunk_of(device: torch.device, vocab_size: int) -> int:
    """Positions whose logits exist at one time."""
    return CHUNK if device.type != "cuda" else max(CHUNK, GPU_CHUNK_BYTES // (4 * vocab_size) // CHUNK * CHUNK)


def keep_bytes(device: torch.device, vocab_size: int) -> int:
    """Up to what size logits are kept for the backward pass; 0: never."""
    if vocab_size > KEEP_WORDS:
        return 0
    return torch.cuda.get_device_properties(device).total_memory // GPU_KEEP_SHARE if device.type == "cuda" else KEEP_BYTES


def _scores(
    raw_PV: Tensor, target_P: Tensor, temperature: float, softcap: float | None, with_entropy: bool, is_native: bool = False
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Log-probs of the targets, the logsumexp, and the entropies if they are wanted; (P,) each."""
    logits = _bounded(raw_PV, softcap, is_native)
    logits = logits if temperature == 1.0 else logits / temperature
    if is_native:
        total, entropy = training.logsumexp(logits, with_entropy=with_entropy)
    else:
        total = logits.logsumexp(-1)
        entropy = total - ((logits - total[:, None]).exp() * logits).sum(-1) if with_entropy else None
    return logits.gather(-1, target_P[:, None])[:, 0] - total, total, entropy


def _slope(
    raw_PV: Tensor, target_P: Tensor, lse_P: Tensor, entropy_P: Tensor | None, grad_logprob_P: Tensor, grad_entropy_P: Tensor | None,
    temperature: float, softcap: float | None, is_native: bool = False,
) -> Tensor:  # fmt: skip
    """The slope by the raw logits, (P, V) in their precision. entropy_P: None, as its own slope, if nobody learns from it."""
    logits = _bounded(raw_PV, softcap, is_native)
    is_one_pass = is_native and entropy_P is None
    bend = None if softcap is None or is_one_pass else 1 - (logits / softcap) ** 2
    logits = logits if temperature == 1.0 else logits / temperature
    if is_one_pass:
        bound = None if softcap is None else softcap / temperature  # as the logits were divided
        grad = training.softmax_slope(logits, target_P, lse_P, grad_logprob_P, bound)
    else:
        log_p = logits - lse_P[:, None]
        slope = -grad_logprob_P[:, None]
        if entropy_P is not None and grad_entropy_P is not None:
            slope = slope - grad_entropy_P[:, None] * (log_p + entropy_P[:, None])
        grad = log_p.exp_().mul_(slope)
        grad.scatter_add_(1, target_P[:, None], grad_logprob_P[:, None])
    if temperature != 1.0:
        grad /= temperature
    if bend is not None:
        grad *= bend
    return grad.to(raw_PV.dtype)


def _bounded(raw_PV: Tensor, softcap: float | None, is_native: bool) -> Tensor:
    """The logits in fp32, within the softcap if there is one."""
    return training.capped(raw_PV, softcap) if is_native and softcap is not None else capped(widened(raw_PV), softcap)


@cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(function)


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
        kernels: Kernels,
        dtype: torch.dtype,
        slope_dtype: torch.dtype,
    ):
        weight = weight_VD.to(dtype)
        chunk = chunk_of(hidden_PD.device, weight.shape[0])
        keep = hidden_PD.shape[0] * weight.shape[0] * dtype.itemsize <= keep_bytes(hidden_PD.device, len(weight))
        scores = _compiled(_scores) if kernels == "compiled" else _scores
        logprob, lse, entropy, kept = [], [], [], []
        for hidden, target in zip(hidden_PD.split(chunk), target_P.split(chunk), strict=True):
            raw = hidden.to(dtype) @ weight.T
            found = scores(raw, target, temperature, softcap, with_entropy, kernels == "native")
            logprob.append(found[0])
            lse.append(found[1])
            entropy.append(found[2])
            if keep:
                kept.append(raw)
        lse_P = torch.cat(lse)
        logprob_P = torch.cat(logprob)
        entropy_P = torch.cat(entropy) if with_entropy else torch.zeros_like(logprob_P)
        ctx.save_for_backward(hidden_PD, weight_VD, target_P, lse_P, entropy_P, *kept)
        ctx.temperature, ctx.softcap, ctx.kernels, ctx.chunk = temperature, softcap, kernels, chunk
        ctx.dtype, ctx.slope_dtype = dtype, slope_dtype
        ctx.set_materialize_grads(False)  # of an entropy that is only reported there is none
        return logprob_P, entropy_P

    @staticmethod
    def backward(ctx, grad_logprob_P: Tensor | None, grad_entropy_P: Tensor | None):  # type: ignore[override]  # noqa: ANN205
        hidden_PD, weight_VD, target_P, lse_P, entropy_P, *kept = ctx.saved_tensors
        grad_logprob_P = torch.zeros_like(lse_P) if grad_logprob_P is None else grad_logprob_P
        weight = weight_VD.to(ctx.slope_dtype)
        slope = _compiled(_slope) if ctx.kernels == "compiled" else _slope
        grad_hidden = torch.empty_like(hidden_PD)
        grad_weight = None
        for number, start in enumerate(range(0, len(target_P), ctx.chunk)):
            part = slice(start, start + ctx.chunk)
            hidden = hidden_PD[part].to(ctx.slope_dtype)
            raw = kept[number] if kept else (hidden @ weight.T).to(ctx.dtype)
            lse, entropy = lse_P[part], entropy_P[part].detach()  # an output has a history
            if not kept and ctx.slope_dtype != ctx.dtype:  # of these logits, which are others: their probabilities must sum to 1
                _, lse, own = _scores(
                    raw, target_P[part], ctx.temperature, ctx.softcap, grad_entropy_P is not None, ctx.kernels == "native"
                )
                entropy = entropy if own is None else own
            grad = slope(
                raw, target_P[part], lse, None if grad_entropy_P is None else entropy, grad_logprob_P[part],
                None if grad_entropy_P is None else grad_entropy_P[part], ctx.temperature, ctx.softcap, ctx.kernels == "native",
            ).to(ctx.slope_dtype)  # fmt: skip
            grad_hidden[part] = grad @ weight
            if ctx.needs_input_grad[1]:  # not of a frozen head
                product = grad.T @ hidden
                grad_weight = product.to(weight_VD.dtype) if grad_weight is None else grad_weight.add_(product)
        if grad_weight is None and ctx.needs_input_grad[1]:
            grad_weight = torch.zeros_like(weight_VD)  # nothing was scored, and other ranks wait for a sum
        return grad_hidden, grad_weight, None, None, None, None, None, None, None


def token_logprobs(
    hidden_BLD: Tensor, weight_VD: Tensor, tokens_BL: Tensor, scored_P: Tensor,
    *, temperature: float = 1.0, with_entropy: bool = False, softcap: float | None = None, kernels: Kernels = "torch",
    dtype: torch.dtype | None = None, slope_dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Log-prob of each scored token given what comes before it, and the entropy of the distribution it was drawn from.

    hidden_BLD: (B, L, D). scored_P: flat indices of the tokens to score, none of them the first of its sequence.
    softcap bounds the logits before the temperature divides them (Gemma 2). kernels: native are ours, for float32 on a CPU; compiled
    are torch's compiler's, for many chunks of one size. dtype, slope_dtype: of the products of the forward pass, which log-probs are
    read from, and of the backward pass; those of the states if None.
    Returns two (B, L) tensors that are 0 elsewhere: fp32, or the precision of the states where that is higher.
    """
    # not by brackets: their slope sorts the indices on a GPU, in case some are there twice
    hidden_PD = hidden_BLD.flatten(0, 1).index_select(0, scored_P - 1)
    logprob_P, entropy_P = _TokenLogprobs.apply(
        hidden_PD, weight_VD, tokens_BL.flatten()[scored_P], temperature, softcap, with_entropy, kernels,
        dtype or hidden_PD.dtype, slope_dtype or hidden_PD.dtype,
    )  # fmt: skip
    return _placed(logprob_P, tokens_BL, scored_P), _placed(entropy_P, tokens_BL, scored_P)


def greedy_tokens(hidden_BLD: Tensor, weight_VD: Tensor, tokens_BL: Tensor, scored_P: Tensor) -> Tensor:
    """1 where a scored token is the likeliest after what comes before it, as greedy decoding has it; (B, L) float32, 0 elsewhere.

    No softcap and no temperature changes which token that is; of equal ones it is the first. Arguments are those of `token_logprobs`.
    """
    weight = weight_VD.to(hidden_BLD.dtype)
    return greedy_in_chunks(hidden_BLD, lambda hidden_PD: hidden_PD @ weight.T, tokens_BL, scored_P, vocab_size=len(weight))


def greedy_in_chunks(
    hidden_BLD: Tensor, logits_of: Callable[[Tensor], Tensor], tokens_BL: Tensor, scored_P: Tensor, *, vocab_size: int
) -> Tensor:
    """The same of a model whose logits are made from states, (P, D) -> (P, V), a chunk of positions at a time."""
    hidden_PD = hidden_BLD.flatten(0, 1).index_select(0, scored_P - 1)
    best = [logits_of(hidden).argmax(-1) for hidden in hidden_PD.split(chunk_of(hidden_PD.device, vocab_size))]
    is_best_P = torch.cat(best) == tokens_BL.flatten()[scored_P]
    return _placed(is_best_P.float(), tokens_BL, scored_P)


def logprobs_of_logits(
    logits_BLV: Tensor, tokens_BL: Tensor, scored_P: Tensor, *, temperature: float, with_entropy: bool
) -> tuple[Tensor, Tensor]:
    """The same of a model whose logits, (B, L, V), are there as a whole."""
    log_p = (widened(logits_BLV.flatten(0, 1)[scored_P - 1]) / temperature).log_softmax(-1)
    logprob_P = log_p.gather(-1, tokens_BL.flatten()[scored_P, None])[:, 0]
    entropy_P = -(log_p.exp() * log_p).sum(-1) if with_entropy else torch.zeros_like(logprob_P)
    return _placed(logprob_P, tokens_BL, scored_P), _placed(entropy_P, tokens_BL, scored_P)


def logprobs_in_chunks(
    hidden_BLD: Tensor, logits_of: Callable[[Tensor], Tensor], tokens_BL: Tensor, scored_P: Tensor,
    *, vocab_size: int, temperature: float, with_entropy: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The same of a model whose logits are made from states, (P, D) -> (P, V), a chunk of positions at a time; without slopes."""
    hidden_PD, target_P = hidden_BLD.flatten(0, 1)[scored_P - 1], tokens_BL.flatten()[scored_P]
    chunk = chunk_of(hidden_BLD.device, vocab_size)
    found = [
        _scores(logits_of(hidden), target, temperature, None, with_entropy)
        for hidden, target in zip(hidden_PD.split(chunk), target_P.split(chunk), strict=True)
    ]
    logprob_P = torch.cat([logprob for logprob, _, _ in found])
    entropy_P = torch.cat([entropy for _, _, entropy in found if entropy is not None]) if with_entropy else torch.zeros_like(logprob_P)
    return _placed(logprob_P, tokens_BL, scored_P), _placed(entropy_P, tokens_BL, scored_P)


def greedy_of_logits(logits_BLV: Tensor, tokens_BL: Tensor, scored_P: Tensor) -> Tensor:
    """What `greedy_tokens` gives, of a model whose logits, (B, L, V), are there as a whole."""
    is_best_P = logits_BLV.flatten(0, 1)[scored_P - 1].argmax(-1) == tokens_BL.flatten()[scored_P]
    return _placed(is_best_P.float(), tokens_BL, scored_P)


def predicted_by(tokens_BL: Tensor, scored_P: Tensor, start: int, size: int) -> tuple[Tensor, Tensor]:
    """The tokens that the states of places `start` to `start + size` predict, (B, size + 1), the one before them first; 0 behind the row.

    With the flat indices of those that are scored, in them. Where states are spread over ranks the last token's is on the rank before.
    """
    length = tokens_BL.shape[1]
    part_BS = torch.nn.functional.pad(tokens_BL, (0, max(0, start + size + 1 - length)))[:, start : start + size + 1]
    place_P = scored_P % length - start
    index_P = scored_P // length * (size + 1) + place_P
    return part_BS, index_P[(place_P >= 1) & (place_P <= size)]


def one_more(hidden_BLD: Tensor) -> Tensor:
    """The states with one behind them that is not read, so that there are as many as `predicted_by` gives tokens."""
    return torch.nn.functional.pad(hidden_BLD, (0, 0, 0, 1))


def after_states(x_BL: Tensor) -> Tensor:
    """What is read at a state, at the token that follows it; (B, L + 1). Entry 0 of a row is 0."""
    return torch.nn.functional.pad(x_BL, (1, 0))


def _placed(x_P: Tensor, tokens_BL: Tensor, scored_P: Tensor) -> Tensor:
    return x_P.new_zeros(tokens_BL.numel()).index_copy(0, scored_P, x_P).view_as(tokens_BL)


class ScalarHead(torch.nn.Module):
    """A number for every position, read from the hidden state there: a reward or a value.

    Init: zeros, so a critic starts at 0 and a reward model without opinions.
    `gain` and `bias` normalise scores after training and are stored with the weights; so is `process`, the options of a process reward
    model (`learn/objectives/process.py`), whose numbers are log-odds at the ends of steps; and `length_slope`, what each token of an answer
    is to take off its score when whole answers are judged, which no position can say by itself.
    """

    process: Mapping[str, Any] | None = None
    length_slope: float = 0.0

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
    return after_states(scalar_BL[:, :-1])
