"""From logits to the next token: temperature, top-k, top-p, with numbers that depend on (stream, request, position) alone."""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field

from trivium.core.config import component
from trivium.core.seeds import uniforms


@component
class Sampling:
    """How to choose the next token. temperature 0 is greedy; top_k 0 and top_p 1 keep every token.

    For reinforcement learning top_k and top_p stay off: the stored log-probs are those of the full distribution.
    """

    temperature: float = Field(default=1.0, ge=0)
    top_k: int = Field(default=0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_new_tokens: int = Field(default=64, gt=0)


def choose(
    logits_BV: torch.Tensor, sampling: Sampling, stream: int, request_B: np.ndarray, position_B: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor]:
    """Next token of every row, (B,) int64, and its log-prob under the distribution at this temperature, (B,) float32.

    Greedy rows report the log-prob at temperature 1. Truncation by top_k and top_p renormalises what it draws from.
    """
    logits = logits_BV.float() if sampling.temperature in (0, 1) else logits_BV.float() / sampling.temperature
    if sampling.temperature == 0:
        token_B = logits.argmax(-1)
        return token_B, (logits.gather(-1, token_B[:, None])[:, 0] - logits.logsumexp(-1))
    kept = _truncate(logits, sampling)
    log_p = kept - kept.logsumexp(-1, keepdim=True)
    # below 1 in fp32 too, or a token that was cut away could be drawn
    uniform = torch.from_numpy(uniforms(stream, request_B, position_B)).to(torch.float32).clamp(max=1 - 2**-24)
    total = log_p.exp().cumsum(-1)
    token_B = (total <= (uniform * total[:, -1])[:, None]).sum(-1)
    return token_B, log_p.gather(-1, token_B[:, None])[:, 0]


def _truncate(logits: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    if sampling.top_k:
        least = logits.topk(min(sampling.top_k, logits.shape[-1]), dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < least, float("-inf"))
    if sampling.top_p < 1:
        ordered, place = logits.sort(dim=-1, descending=True)
        before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
        dropped = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, place, before >= sampling.top_p)
        logits = logits.masked_fill(dropped, float("-inf"))
    return logits
