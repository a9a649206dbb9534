"""The run folder as the ranks above 0 have it: they read what is there, and neither write, nor speak, nor own it.

What rank 0 decides (whether a stage has to run, from which checkpoint it goes on) they are told (train/ranks.py).
"""

from collections.abc import Mapping
from types import TracebackType
from typing import Any

from trivium.core.run import Run


class Follower(Run):
    """A run of another process, to take part in."""

    is_main = False

    def __enter__(self) -> "Follower":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return

    def log(self, message: str) -> None:
        """Rank 0 says it."""

    def record(self, step: int, metrics: Mapping[str, float], *, digest: str = "") -> None:
        """Rank 0 writes it."""

    def record_speed(self, step: int, figures: Mapping[str, float]) -> None:
        """Rank 0 writes it."""

    def leave(self, name: str, content: Any) -> None:
        """Rank 0 writes it."""

    def metrics_offset(self) -> int:
        """Rank 0 knows it."""
        return 0

    def rewind_metrics(self, offset: int) -> None:
        """Rank 0 does it."""

    def begin(self, stage: str, identity: Mapping[str, Any]) -> bool:
        """Enter a stage that rank 0 has begun."""
        self.stage, self.metrics_start = stage, 0
        return True

    def finish(self, facts: Mapping[str, Any]) -> None:
        """Rank 0 does it."""
