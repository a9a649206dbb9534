"""A process of its own that answers a line with a line: asked with patience, ended without regret, and with us if we forget it.

Left out: several questions under way at once (generate/own_sampler.py).
"""

import subprocess
import weakref
from collections.abc import Sequence
from contextlib import suppress
from threading import Timer

_ENDING_S = 10.0


class NoReplyError(Exception):
    """There was no whole line, and the process is dead. is_late: it took longer than it was given; code: how it ended."""

    def __init__(self, *, is_late: bool, code: int) -> None:
        super().__init__()
        self.is_late, self.code = is_late, code


class LineProcess:
    """The process. is_quiet: what it says on stderr is nobody's; else it is ours. is_apart: Ctrl-C does not reach it.

    close: ends it; it has nothing to lose.
    """

    def __init__(self, program: Sequence[str], *, is_quiet: bool = False, is_apart: bool = False) -> None:
        self._process = subprocess.Popen(
            program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL if is_quiet else None,
            text=True, encoding="utf-8", process_group=0 if is_apart else None,
        )  # fmt: skip
        self.close = weakref.finalize(self, end, self._process)

    @property
    def is_alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    def tell(self, signal_number: int) -> None:
        """Send it a signal, if it has not ended."""
        self._process.send_signal(signal_number)

    def ask(self, request: str, seconds: float | None = None) -> str:
        """Its reply to a line, within so many seconds. Raises NoReplyError."""
        process, line = self._process, ""
        assert process.stdin is not None
        assert process.stdout is not None
        patience = None if seconds is None else Timer(seconds, process.kill)
        if patience is not None:
            patience.start()
        try:
            with suppress(BrokenPipeError):
                process.stdin.write(request + "\n")
                process.stdin.flush()
                line = process.stdout.readline()
        finally:
            is_late = patience is not None and not patience.is_alive()
            if patience is not None:
                patience.cancel()
        if line.endswith("\n"):
            return line
        with suppress(subprocess.TimeoutExpired):
            process.wait(_ENDING_S)  # its own code says why
        self.close()
        raise NoReplyError(is_late=is_late, code=process.returncode)


def end(process: "subprocess.Popen[str]") -> None:
    """Kill a process and give its pipes back."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError, ValueError):
                pipe.close()
