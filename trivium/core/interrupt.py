"""Ctrl-C, SIGTERM and SIGUSR1 (Slurm, spot machines) ask the run to save and stop; a second one stops it at once."""

import signal
from types import FrameType, TracebackType

from trivium.core.errors import TriviumError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
KEPT = "what was complete is kept; the same command goes on from there"


class Interrupted(TriviumError):
    """The run was asked to stop and has saved; exit code 128 + signal (130, 143, 138). by: who asked, if not by that signal itself."""

    def __init__(self, signal_number: int, saved: str, by: str = "") -> None:
        super().__init__(f"stopped by {by or signal.Signals(signal_number).name}; {saved}")
        self.exit_code = 128 + signal_number


def interrupted(number: int, frame: FrameType | None) -> None:
    """What a signal does where nothing is saved on the way."""
    raise Interrupted(number, KEPT)


class Interrupts:
    """While entered, remembers the first of these signals in `received` instead of dying from it."""

    def __init__(self) -> None:
        self.received: int | None = None

    def __enter__(self) -> "Interrupts":
        self._old = {number: signal.signal(number, self._remember) for number in SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.received = number
