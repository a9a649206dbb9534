"""What a rank says of itself while it runs, for the launcher that watches it: that it lives, what it uses, and where it is.

One small file a rank, replaced twice a second by a thread of its own: so a process that was stopped says nothing, while one that computes
goes on saying so. How it ended, if it did not end well, is in a second file. Neither is an artefact: they are gone with the launcher.
"""

import itertools
import json
import sys
import threading
import time
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

EVERY_S = 0.5
OURS = f"{Path(__file__).parents[1]}/"
PEERS = ("/torch/distributed/", "/torch/_C/_distributed")  # code in which a rank waits for the others
OUTSIDE = (  # in which it waits for something else: a server, a process or a thread of its own, a lock on a file, who reads what it says
    "/subprocess.py", "/multiprocessing/", "/concurrent/futures/", "/threading.py", "/selectors.py", "/socket.py",
    "/ssl.py", "/http/client.py", "/score/chat_endpoint.py", "/core/commit.py", "/core/progress.py", "/rich/console.py",
)  # fmt: skip


class Heartbeat:
    """A context manager: while entered, rank `rank` says in `folder` how it is."""

    def __init__(self, folder: Path, rank: int) -> None:
        self.folder, self.rank, self._main, self._is_over = folder, rank, threading.main_thread().ident, threading.Event()

    def __enter__(self) -> "Heartbeat":
        self._thread = threading.Thread(target=self._beat, daemon=True, name="heartbeat")
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._is_over.set()
        self._thread.join()

    def failed(self, message: str, code: int, *, is_lost: bool) -> None:
        """Say how this rank ended. is_lost: because another one was gone."""
        _replace(self.folder / f"end-{self.rank}.json", {"message": message, "code": code, "is_lost": is_lost})

    def _beat(self) -> None:
        for number in itertools.count(1):
            # no name for the frame: it would keep what it holds, such as activations, alive until the next beat
            place = where(sys._current_frames().get(self._main or 0))
            _replace(self.folder / f"beat-{self.rank}.json", {"number": number, "cpu_s": time.process_time(), **place})
            if self._is_over.wait(EVERY_S):
                return


def where(frame: FrameType | None) -> dict[str, Any]:
    """What a thread does: for whom it waits (`peers`, `outside`, or nobody known), and the innermost place in code of ours."""
    waits, place = "", ""
    while frame is not None:
        name = frame.f_code.co_filename
        waits = waits or next((word for word, parts in (("peers", PEERS), ("outside", OUTSIDE)) if any(part in name for part in parts)), "")
        if not place and name.startswith(OURS):
            place = f"{name.removeprefix(OURS)}:{frame.f_lineno} in {frame.f_code.co_name}"
        frame = frame.f_back
    return {"waits": waits, "place": place}


def read(folder: Path, name: str) -> dict[str, Any]:
    """A file of a rank; empty if it is not there (yet)."""
    try:
        return json.loads((folder / name).read_text())
    except (FileNotFoundError, ValueError):
        return {}


def _replace(path: Path, content: dict[str, Any]) -> None:
    """Not synced: it tells the living how things are, and nobody reads it later."""
    temporary = path.with_suffix(".tmp")
    try:
        temporary.write_text(json.dumps(content))
        temporary.replace(path)
    except OSError:  # a full disk is found by whoever has something to keep
        return
