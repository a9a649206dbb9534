"""Labelled answers: what the losses over single answers, found good or bad, have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from trivium.core.types import Example, Metrics
from trivium.nn.batch import Batch
from trivium.nn.outputs import Outputs

Logprobs = Callable[[Sequence[Example]], list[np.ndarray]]  # what the policy says now: answers -> one (L,) array each


def read_labels(out: Outputs, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, Metrics]:
    """(log-ratio, label 1 or -1, the column `baseline`), each (G,), and what such a loss reports. Groups are single answers."""
    log_ratio = batch.sum(out.logprobs_BL - batch["ref_logprobs"])
    label, baseline = batch.mean(batch["label"]), batch.mean(batch["baseline"])
    moved = log_ratio.detach() - baseline
    good, bad = (label > 0).to(moved.dtype), (label <= 0).to(moved.dtype)
    right = (moved * label > 0).to(moved.dtype) + 0.5 * (moved == 0)
    count = moved.new_tensor(len(moved))
    metrics = {
        "accuracy": (right.sum(), count),
        "margin": ((moved * label).sum(), count),
        "good_log_ratio": ((log_ratio.detach() * good).sum(), good.sum()),
        "bad_log_ratio": ((log_ratio.detach() * bad).sum(), bad.sum()),
        "baseline": (baseline.sum(), count),
    }
    return log_ratio, label, baseline, metrics


def log_ratios(answers: Sequence[Example], logprobs: Logprobs) -> np.ndarray:
    """Log-ratio of each answer, summed over the tokens that count; (N,) float64."""
    counted = [answer.loss_mask > 0 for answer in answers]
    now, reference = logprobs(answers), [answer.columns["ref_logprobs"] for answer in answers]
    return np.array([(a - b)[mask].sum(dtype=np.float64) for a, b, mask in zip(now, reference, counted, strict=True)])


def labels_of(answers: Sequence[Example]) -> np.ndarray:
    """The label of each answer; (N,)."""
    return np.array([answer.columns["label"][-1] for answer in answers])
