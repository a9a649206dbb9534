"""Whether a process that was asked something still gets anywhere: judged by what it says on the way, and by whether it computes.

Nobody knows how long an answer takes, so there is no bound on that. One that sleeps, or was stopped, neither speaks nor computes; one
that is in a loop without an end speaks no more, though it spoke before.
"""

import time
from collections.abc import Callable
from threading import Lock

from trivium.core.processes import of_session

IDLE_S = 30.0  # without a word and without work; whoever waits for a disk is not counted
LEAST_S, TIMES = 600.0, 10.0  # without a word, though it works: so many times its longest silence so far, and no less than this
FIRST_S = 3600.0  # the same before it has ever said anything
IDLE_CPU_S = 0.05  # seconds of a core that are no work
AWAY_S = 5.0  # a gap in our own looks: we were stopped ourselves, and what it said meanwhile is still to be read


class Pulse:
    """Of a process that leads a session of its own. clock: seconds."""

    def __init__(self, pid: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._pid, self._clock, self._lock = pid, clock, Lock()
        self._longest, self._cpu_s = 0.0, 0.0
        self._start()

    def _start(self) -> None:
        self._said = self._worked = self._looked = self._clock()

    def ask(self) -> None:
        """It is asked something, having had nothing to do: its silence counts from now on."""
        with self._lock:
            self._start()

    def hear(self) -> None:
        """It has said something."""
        with self._lock:
            now = self._clock()
            if now - self._looked <= AWAY_S:  # else it was we who were silent
                self._longest = max(self._longest, now - self._said)
            self._said = self._worked = now

    def fault(self) -> str:
        """Why it will not answer any more, "" while it may; to be asked every second or so while somebody waits."""
        with self._lock:
            now = self._clock()
            if now - self._looked > AWAY_S:
                self._start()
            self._looked = now
            if now - self._said < IDLE_S / 10:  # to look at a thousand processes takes a while, and it is well
                return ""
            found = of_session(self._pid)
            if found is None or not set("RD").isdisjoint(found[0]) or abs(found[1] - self._cpu_s) > IDLE_CPU_S:
                self._worked, self._cpu_s = now, found[1] if found else 0.0
            return self._judged(now - max(self._said, self._worked), now - self._said)

    def _judged(self, idle_s: float, silent_s: float) -> str:
        if idle_s > IDLE_S:
            return f"it hangs: for {idle_s:.0f} s it neither said nor computed anything"
        if silent_s > (max(LEAST_S, TIMES * self._longest) if self._longest else FIRST_S):
            return f"it hangs: for {silent_s:.0f} s it said nothing, where {self._longest:.0f} s was its longest silence so far"
        return ""
