"""Live progress: a bar on a terminal, a plain line every few seconds elsewhere."""

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress as RichProgress, TaskProgressColumn, TextColumn, TimeRemainingColumn

PLAIN_EVERY_S = 10.0


class Progress:
    """Counts `total` units of work called `label`, 0 if it is not known how many; use as a context manager.

    `update(done, text)` shows how far it is, with the remaining time and `text` beside it; without a total it shows `text`. Costs a few
    microseconds a call. quiet: it shows nothing, and only counts.
    """

    def __init__(self, label: str, total: int, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        self.label, self.total, self.quiet = label, total, quiet
        self.stream = stream or sys.stderr
        self.started = self.last_line = time.monotonic()
        self.first = 0
        self._bar: RichProgress | None = None
        if self.stream.isatty() and not quiet:
            columns = (
                TextColumn("{task.description}"), BarColumn(bar_width=24), TaskProgressColumn(), TimeRemainingColumn(),
                TextColumn("{task.fields[text]}"),
            )  # fmt: skip
            self._bar = RichProgress(*columns, console=Console(file=self.stream), refresh_per_second=4)

    def __enter__(self) -> "Progress":
        if self._bar:
            self._bar.start()
            self._task = self._bar.add_task(f"{self.label:<10}", total=self.total or None, text="")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar:
            self._bar.stop()

    @property
    def seconds(self) -> float:
        """Since it began; above 0."""
        return max(time.monotonic() - self.started, 1e-3)

    def start_at(self, done: int) -> None:
        """Say that `done` units were there before, so that they do not count in the speed."""
        self.first = done

    def update(self, done: int, text: str = "") -> None:
        """Show that `done` units are there; off a terminal only every few seconds and at the end."""
        if self._bar:
            self._bar.update(self._task, completed=done, text=text)
            return
        if self.quiet:
            return
        now = time.monotonic()
        if now - self.last_line >= PLAIN_EVERY_S or 0 < self.total <= done:
            self.last_line = now
            place = f"{done:>7,}/{self.total:,}  {self._eta(done, now)}  " if self.total else ""
            self.stream.write(f"{self.label:<10} {place}{text}\n")
            self.stream.flush()

    def _eta(self, done: int, now: float) -> str:
        if done <= self.first:
            return "eta    ?"
        left = (now - self.started) / (done - self.first) * (self.total - done)
        return f"eta {int(left) // 60:>2}:{int(left) % 60:02d}"


def counted(number: int, noun: str) -> str:
    """`1 unit`, `2,000 units`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def describe(metrics: Mapping[str, float]) -> str:
    """`loss 2.31  kl 0.02` for a progress line."""
    return "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
