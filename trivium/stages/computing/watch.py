"""The hook that keeps to the limits of a Guard."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from trivium.stages.guard import Guard


@dataclass(slots=True)
class Watch:
    """A hook that gives a reason to stop once a limit is passed."""

    guard: Guard
    best: float = -math.inf
    falls: float = 0.0
    first_entropy: float = 0.0  # not known yet
    name: str = "guard"

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint holds of it, so that a run which goes on stops where it would have."""
        return {"seen": torch.tensor([self.best, self.falls, self.first_entropy], dtype=torch.float64)}

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `state` gave."""
        self.best, self.falls, self.first_entropy = tensors["seen"].tolist()

    def __call__(self, done: int, metrics: dict[str, float]) -> str | None:
        """The reason to stop after this step, or None."""
        if "kl" not in metrics:  # not the end of a phase
            return None
        return next(filter(None, (check(metrics) for check in self._checks())), None)

    def _checks(self) -> tuple[Callable[[dict[str, float]], str | None], ...]:
        return self._kl, self._stops, self._entropy, self._heldout

    def _kl(self, metrics: dict[str, float]) -> str | None:
        limit = self.guard.max_kl
        return (
            f"the KL from the start is {metrics['kl']:.2f} nats an answer, above guard.max_kl, {limit:g}" if metrics["kl"] > limit else None
        )

    def _stops(self, metrics: dict[str, float]) -> str | None:
        rate, limit = metrics["stop_rate"], self.guard.min_stop_rate
        return f"only {rate:.0%} of the answers end by themselves, below guard.min_stop_rate, {limit:.0%}" if rate < limit else None

    def _entropy(self, metrics: dict[str, float]) -> str | None:
        now = metrics.get("entropy")
        if now is None:
            return None
        self.first_entropy = self.first_entropy or now
        limit = self.guard.min_entropy_share * self.first_entropy
        return (
            f"the entropy fell from {self.first_entropy:.3f} to {now:.3f} nats a token: the policy has collapsed" if now < limit else None
        )

    def _heldout(self, metrics: dict[str, float]) -> str | None:
        score = metrics.get("heldout_reward")
        if score is None:
            return None
        if score >= self.best - self.guard.slack:
            self.best, self.falls = max(self.best, score), 0
            return None
        self.falls += 1
        if self.falls < self.guard.patience:
            return None
        return f"the held-out reward has been below its best, {self.best:.3f}, for {self.falls:.0f} phases (now {score:.3f})"
