"""From logits to the next token: temperature, truncation, penalty, with numbers that depend on (stream, request, position) alone."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence

import numpy as np
import torch
from pydantic import Field

from trivium.core.config import component
from trivium.core.errors import DivergedError
from trivium.core.seeds import uniforms


@component
class Sampling:
    """How to choose the next token. temperature 0 is greedy; top_k 0, top_p 1, min_p 0 and repetition_penalty 1 change nothing.

    top_k keeps the k likeliest tokens, top_p the fewest that have this share of the probability (Holtzman et al. 2019,
    arXiv:1904.09751), min_p those at least so likely as this share of the likeliest (Nguyen et al. 2024, arXiv:2407.01082); what is
    equally likely stays or goes together. repetition_penalty divides a positive logit of a token that was there before, prompt
    included, and multiplies a negative one (Keskar et al. 2019, arXiv:1909.05858, section 4.1).
    For reinforcement learning all of them stay off: the stored log-probs are those of the full distribution.
    """

    temperature: float = Field(default=1.0, ge=0, le=1e3)
    top_k: int = Field(default=0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    min_p: float = Field(default=0.0, ge=0, le=1)
    repetition_penalty: float = Field(default=1.0, ge=0.01, le=100)
    max_new_tokens: int = Field(default=64, gt=0)

    def __post_init__(self) -> None:
        if 0 < self.temperature < 1e-3:
            raise ValueError(f"temperature is {self.temperature}; it is 0 (greedy) or at least 0.001")

    @property
    def is_whole(self) -> bool:
        """Whether tokens are drawn from all of the model's distribution, as reinforcement learning needs."""
        return self.temperature > 0 and self.top_k == 0 and self.top_p == 1 and self.min_p == 0 and self.repetition_penalty == 1


Stream = int | np.ndarray  # what random numbers depend on: one for all rows, or one for each, (B,) uint64
Seen = Sequence[np.ndarray]  # the tokens of each row so far
# (logits, how, stream, requests, positions, seen) -> token of every row, (B,) int64, and its log-prob, (B,) float32
Choose = Callable[["torch.Tensor", Sampling, Stream, np.ndarray, np.ndarray, "Seen | None"], tuple[np.ndarray, np.ndarray]]


def choose(
    logits_BV: torch.Tensor, sampling: Sampling, stream: Stream, request_B: np.ndarray, position_B: np.ndarray, seen: Seen | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Next token of every row, (B,) int64, and its log-prob under the distribution at this temperature, (B,) float32.

    Greedy rows report the log-prob at temperature 1. Truncation renormalises what it draws from. seen: needed for a
    repetition penalty. Raises DivergedError if logits are not finite.
    """
    logits = logits_BV.float()
    is_finite = logits.isfinite().all(-1)
    if sampling.repetition_penalty != 1 and seen is not None:
        logits = _penalised(logits, seen, sampling.repetition_penalty)
    if sampling.temperature == 0:
        token_B = logits.argmax(-1)
        return _fetched(token_B, logits.gather(-1, token_B[:, None])[:, 0] - logits.logsumexp(-1), is_finite)
    kept = _truncated(logits if sampling.temperature == 1 else logits / sampling.temperature, sampling)
    log_p = kept - kept.logsumexp(-1, keepdim=True)
    # below 1 in fp32 too, or a token that was cut away could be drawn
    uniform = torch.from_numpy(uniforms(stream, request_B, position_B)).to(torch.float32).clamp(max=1 - 2**-24).to(logits.device)
    total = log_p.exp().cumsum(-1)
    token_B = (total <= (uniform * total[:, -1])[:, None]).sum(-1)
    return _fetched(token_B, log_p.gather(-1, token_B[:, None])[:, 0], is_finite)


def _fetched(token_B: torch.Tensor, logprob_B: torch.Tensor, is_finite_B: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Tokens and log-probs on the CPU, in one copy, since a GPU is waited for at each; fp32 holds every token below 2^24.

    Raises DivergedError if logits were not finite.
    """
    tokens, logprobs, finite = torch.stack((token_B.float(), logprob_B, is_finite_B.float())).cpu().numpy()
    if not finite.all():
        raise DivergedError("the model gives logits that are not finite; its weights are damaged, or it has diverged in training")
    return tokens.astype(np.int64), logprobs.copy()


def _penalised(logits: torch.Tensor, seen: Seen, penalty: float) -> torch.Tensor:
    was_there = torch.zeros_like(logits, dtype=torch.bool)
    for row, tokens in enumerate(seen):
        was_there[row, torch.from_numpy(np.unique(tokens).astype(np.int64))] = True
    return torch.where(was_there, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def _truncated(logits: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Logits with what is not to be drawn at minus infinity."""
    if sampling.top_k:
        least = logits.topk(min(sampling.top_k, logits.shape[-1]), dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < least, float("-inf"))
    if sampling.min_p:
        logits = logits.masked_fill(logits < logits.amax(-1, keepdim=True) + np.log(sampling.min_p), float("-inf"))
    if sampling.top_p < 1:
        ordered = logits.sort(dim=-1, descending=True).values
        p = ordered.softmax(-1)
        last = ((p.cumsum(-1) - p < sampling.top_p).sum(-1, keepdim=True) - 1).clamp(min=0)  # top_p may round to 0 in fp32
        logits = logits.masked_fill(logits < ordered.gather(-1, last), float("-inf"))
    return logits


class _Rule(ctypes.Structure):
    _fields_ = [(name, ctypes.c_float) for name in ("temperature", "top_p", "min_p", "repetition_penalty")] + [("top_k", ctypes.c_int32)]


def choose_natively(
    library: ctypes.CDLL, logits_BV: torch.Tensor, sampling: Sampling, stream: Stream, request_B: np.ndarray, position_B: np.ndarray,
    seen: Seen | None = None,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """`choose` in C++, for fp32 logits on the CPU, which it changes. Sums are kept in fp64, so a draw may differ where two are close."""
    rows, vocab = logits_BV.shape
    uniform = np.ascontiguousarray(uniforms(stream, request_B, position_B))
    tokens, logprobs = np.empty(rows, np.int32), np.empty(rows, np.float32)
    ids, starts = None, None
    if sampling.repetition_penalty != 1 and seen is not None:
        unique = [np.unique(each).astype(np.int32) for each in seen]
        ids, starts = np.concatenate(unique), np.concatenate([[0], np.cumsum([len(each) for each in unique])]).astype(np.int64)
    rule = _Rule(sampling.temperature, sampling.top_p, sampling.min_p, sampling.repetition_penalty, min(sampling.top_k, vocab))
    library.trivium_choose(
        ctypes.c_void_p(logits_BV.data_ptr()), rows, vocab, ctypes.byref(rule), *(
            None if array is None else ctypes.c_void_p(array.ctypes.data) for array in (uniform, ids, starts, tokens, logprobs)
        )
    )  # fmt: skip
    if (tokens < 0).any():
        raise DivergedError("the model gives logits that are not finite; its weights are damaged, or it has diverged in training")
    return tokens.astype(np.int64), logprobs
