"""What the system knows of processes, as Linux tells it in /proc: what they do at this moment, and how much they have computed."""

import os
from contextlib import suppress
from pathlib import Path


def of_process(pid: int) -> tuple[str, float]:
    """The state of a process in a letter, and the seconds of a core that it has used; "" and 0 where there is none."""
    state, figures = _stat(pid)
    return state, _seconds(figures[10:12]) if state else 0.0  # utime and stime, fields 14 and 15 of proc(5)


def of_session(leader: int) -> tuple[str, float] | None:
    """The states of all living processes of a session, a letter each, and the seconds of a core that they and what they have started used.

    None where the system does not tell.
    """
    states, seconds = "", 0.0
    for folder in Path("/proc").glob("[0-9]*"):
        state, figures = _stat(int(folder.name))
        if state not in ("", "Z") and int(figures[2]) == leader:
            states, seconds = states + state, seconds + _seconds(figures[10:14])  # with those of children that have ended
    return (states, seconds) if states else None


def _stat(pid: int) -> tuple[str, list[str]]:
    with suppress(FileNotFoundError, ProcessLookupError):
        state, *figures = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return state, figures
    return "", []


def _seconds(ticks: list[str]) -> float:
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
