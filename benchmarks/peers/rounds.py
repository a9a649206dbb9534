"""The contestants' side of the talk with a benchmark: JSON lines over stdin and stdout. Standard library only; imports nothing of trivium.

A contestant says what it is, waits for a request, works, and answers with the seconds of each step; while it waits it costs no
time. So a benchmark can let contestants take turns, A B A B, and a machine that becomes slower hits all of them alike.
"""

import json
import os
import resource
import sys
import time
from importlib import metadata


def options():
    """What the benchmark wants of this contestant, from the command line."""
    return json.loads(sys.argv[1])


def versions(*packages):
    """Versions of installed packages, for the table."""
    return {package: metadata.version(package) for package in packages}


def peak_bytes(device):
    """The most memory held so far: of the GPU by torch, else of this process."""
    if device == "cuda":
        import torch  # the contestant's own, and loaded already

        return torch.cuda.max_memory_allocated()
    try:  # ru_maxrss counts the process that started this one too
        with open("/proc/self/status") as status:
            return next(1024 * int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    except OSError:
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def waiting(device):
    """What ends only when the device has done all that was asked of it; None where nothing runs behind."""
    if device == "cpu":
        return None
    import torch

    return torch.cuda.synchronize


class Rounds:
    """Steps on request. The library underneath may print what it likes: stdout is kept for the talk, all else goes to stderr.

    clock: wall time, or time.process_time where the claim is about one core.
    """

    def __init__(self, *, clock=time.perf_counter, wait=None, **ready):
        """wait: what `waiting` gives. Only a whole request has a time then, since steps overlap: each is told the mean."""
        self._clock, self._wait_for_device = clock, wait
        self._out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self.request, self.facts = {}, {}
        self._seconds, self._measured, self._before = [], {}, 0.0
        self._send(ready)

    def tick(self, **measured):
        """Call at the beginning of every step; returns the request that it belongs to. Ends the process when nothing more is wanted.

        A request has `steps` (1 if it has not); all that happens from one tick to the next is the time of one step. `facts` travel with
        the answer, and are then forgotten. measured: numbers about the step that ends now, answered as lists beside its seconds.
        """
        steps = self.request.get("steps", 1)
        if self.request:
            if self._wait_for_device is not None and len(self._seconds) + 1 == steps:
                self._wait_for_device()
            self._seconds.append(self._clock() - self._before)
            for name, value in measured.items():
                self._measured.setdefault(name, []).append(value)
        if len(self._seconds) >= steps:
            if self._wait_for_device is not None:
                self._seconds = [sum(self._seconds) / steps] * steps
            self._send({"seconds": self._seconds, **self._measured, **self.facts})
            self.request = {}
        if not self.request:
            self._seconds, self._measured, self.facts = [], {}, {}
            self.request = self._wait()
        self._before = self._clock()
        return self.request

    def _wait(self):
        line = sys.stdin.readline()
        if not line:
            sys.stderr.flush()
            os._exit(0)  # past threads and atexit hooks of whatever library is loaded
        return json.loads(line)

    def _send(self, answer):
        self._out.write(json.dumps(answer) + "\n")
        self._out.flush()
