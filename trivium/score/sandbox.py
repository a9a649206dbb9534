"""Running Python that a model wrote, in a sandbox of the system: no network, no files, bounded time, memory, processes and output.

Linux only: namespaces (`sandbox_program.py` says what the program sees). There is no other way to run it: a system that cannot do this
gets an error before anything is run. What is left to attack is the kernel; for code that is out to do that, take a machine of its own.
"""

import json
import os
import selectors
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from trivium.core.errors import ResourceError

_PROGRAM = Path(__file__).with_name("sandbox_program.py")
_ADVICE = (
    "allow user namespaces (sysctl kernel.unprivileged_userns_clone=1; on Ubuntu kernel.apparmor_restrict_unprivileged_userns=0; in Docker"
    " --security-opt seccomp=unconfined --security-opt systempaths=unconfined), or leave out what runs code"
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program may use. wall_s: from start to end; cpu_s: of each process. memory_bytes: address space of each process.

    file_bytes: of one file, and of all of /tmp. output_bytes: stdout and stderr together. num_processes: threads count.
    """

    wall_s: float = 10.0
    cpu_s: int = 10
    memory_bytes: int = 512 << 20
    file_bytes: int = 16 << 20
    output_bytes: int = 1 << 20
    num_processes: int = 4


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a program ended: by itself (code; negative for a signal), or because it took too long or said too much."""

    ended: Literal["exit", "time", "output"]
    code: int
    stdout: str
    stderr: str


def run_python(source: str, *, stdin: str = "", limits: Limits | None = None) -> Outcome:
    """Run a program to its end or to a limit; all of its processes are dead then. Raises ResourceError if the system has no sandbox."""
    limits = limits or Limits()
    request = {
        "source": source, "stdin": stdin, "cpu_s": limits.cpu_s, "memory_bytes": limits.memory_bytes, "file_bytes": limits.file_bytes,
        "num_processes": limits.num_processes,
    }  # fmt: skip
    if sys.platform != "linux":
        raise ResourceError(f"code is run in a sandbox of Linux, which {sys.platform} does not have; leave out what runs code")
    deadline = time.monotonic() + limits.wall_s
    status_read, status_write = os.pipe()
    with os.fdopen(status_read, "rb") as status, os.fdopen(os.memfd_create("request"), "w+b") as given:
        given.write(json.dumps(request).encode())
        given.seek(0)
        program = [sys.executable, "-I", "-S", str(_PROGRAM), str(status_write)]
        try:
            process = subprocess.Popen(
                program, stdin=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=(status_write,), env={}, cwd="/",
                start_new_session=True,  # Ctrl-C is for us
            )  # fmt: skip
        finally:
            os.close(status_write)
        with process:
            try:
                ended, (stdout, stderr) = _collect(process, deadline, limits.output_bytes)
            finally:
                process.kill()  # with it the whole namespace
        told = json.loads(status.readline() or "{}") if ended == "exit" else {"code": -9}
    if "code" not in told:
        why = told.get("error") or f"it ended with code {process.returncode}: {stderr[-200:]}"
        raise ResourceError(f"code cannot be run in a sandbox here: {why}; {_ADVICE}")
    return Outcome(ended, told["code"], stdout, stderr)


@cache
def check_sandbox() -> None:
    """Raise ResourceError, in one line that says what is missing, unless programs can be run here. Takes 0.1 seconds, once."""
    outcome = run_python("print(6 * 7)", limits=Limits(wall_s=60))
    if (outcome.ended, outcome.stdout) != ("exit", "42\n"):
        raise ResourceError(
            f"code cannot be run in a sandbox here: Python does not start in it ({outcome.ended}, code {outcome.code}: "
            f"{outcome.stderr[-200:]}); its libraries must be below its own prefix, /lib or /usr/lib; leave out what runs code"
        )


def _collect(process: subprocess.Popen[bytes], deadline: float, output_bytes: int) -> tuple[Literal["exit", "time", "output"], list[str]]:
    """Read both outputs until they end, or time or room does; how it was, and what was said."""
    assert process.stdout is not None
    assert process.stderr is not None
    said = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
    ended: Literal["exit", "time", "output"] = "exit"
    with selectors.DefaultSelector() as selector:
        for stream in said:
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map() and ended == "exit":
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                ended = "time"
            for key, _ in selector.select(max(left_s, 0)):
                chunk = os.read(key.fd, 1 << 16)
                said[key.fd] += chunk
                if not chunk:
                    selector.unregister(key.fd)
            if sum(map(len, said.values())) > output_bytes:
                ended = "output"
    return ended, [text[:output_bytes].decode(errors="replace") for text in said.values()]
