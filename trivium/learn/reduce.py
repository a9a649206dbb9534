"""The only division: per-token or per-group losses, and what is measured, become one number, with counts of the whole step.

Counts are taken over all micro-batches and all ranks before the first backward pass, so gradient accumulation and
parallelism cannot change the mean. (The mean of micro-batch means was 25 % off in one measurement.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Literal

import torch

from trivium.nn.batch import Batch

Reduction = Literal["token", "sequence", "sequence_sum", "length", "group"]


@dataclass(frozen=True, slots=True)
class Counts:
    """What a step holds, over all micro-batches and ranks. tokens is the sum of the loss mask."""

    tokens: float = 0.0
    sequences: float = 0.0
    groups: float = 0.0
    max_length: float = 0.0

    @staticmethod
    def of(batches: Sequence[Batch], max_length: float = 0.0) -> Counts:
        """Count local micro-batches; `max_length` is the constant of the `length` reduction."""
        tokens = sum(float(batch.loss_mask_BL.sum(dtype=torch.float64)) for batch in batches)
        return Counts(tokens, sum(batch.num_sequences for batch in batches), sum(batch.num_groups for batch in batches), max_length)

    def tensor(self) -> torch.Tensor:
        """(4,) float64, for one all-reduce."""
        return torch.tensor(astuple(self), dtype=torch.float64)


def reduce(loss: torch.Tensor, batch: Batch, counts: Counts, how: Reduction) -> torch.Tensor:
    """Sum of the losses, each divided by what `how` says, as a scalar that adds up over micro-batches and ranks.

    token: by all tokens that count (pre-training, SFT, DAPO). sequence: by the tokens of its sequence, then by sequences
    (GRPO as published). sequence_sum: by sequences alone (REINFORCE, RLOO). length: by sequences x a constant length (Dr. GRPO, Liu et al.
    2025, arXiv:2503.20783). group: by groups (pairs, rankings); loss is then (G,), else (B, L). A step without anything to count gives 0.
    """
    if how == "group":
        return loss.sum() / max(counts.groups, 1.0)
    weighted_BL = (loss * batch.loss_mask_BL).masked_fill(batch.loss_mask_BL == 0, 0.0)  # 0 x infinity would be NaN
    if how == "token":
        return weighted_BL.sum() / (counts.tokens or 1.0)
    if how in ("length", "sequence_sum"):
        return weighted_BL.sum() / max(counts.sequences * (counts.max_length if how == "length" else 1.0), 1.0)
    return (batch.sum(weighted_BL) / batch.sum(batch.loss_mask_BL).clamp(min=1e-9)).sum() / max(counts.sequences, 1.0)


def measure(sums: Sequence[float]) -> float | None:
    """A metric from its sums over the whole step, all micro-batches and ranks; None where nothing was counted.

    (sum, count): a mean. (sum, sum of squares, count): how evenly numbers that were summed carry the sum, sum^2 / (squares x count), from
    1 / count to 1; Kish's effective sample size as a share.
    """
    total, *squares, count = sums
    if not count:
        return None
    if not squares:
        return total / count
    return total**2 / (squares[0] * count) if squares[0] else None
