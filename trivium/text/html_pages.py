"""Pages of HTML to their main text, by trafilatura (`pip install 'trivium[html]'`), in a process that may fail without taking us along."""

import atexit
import json
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from threading import Timer

from trivium.core.errors import ConfigError, DataError

SECONDS = 20.0  # for one page; usual ones take milliseconds
_PROGRAM = Path(__file__).with_name("html_sandbox.py")
_MAX_PAGES = 2000  # then the process is replaced: parsers keep memory


class Extractor:
    """Asks a process for the text of pages, and starts another one when it ended."""

    def __init__(self, seconds: float = SECONDS) -> None:
        if find_spec("trafilatura") is None:
            raise ConfigError("HTML is read by the package trafilatura, which is not installed: pip install 'trivium[html]'")
        self.seconds, self._num_pages = seconds, 0
        self._process: subprocess.Popen[str] | None = None

    def __call__(self, page: str, where: str) -> str:
        """The main text of a page, "" if it has none. Raises DataError that begins with `where`: too slow, or it broke the parser."""
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        patience = Timer(self.seconds, process.kill)
        patience.start()
        try:
            process.stdin.write(json.dumps(page) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            is_late = not patience.is_alive()
            patience.cancel()
        if not line:
            code = process.wait()
            self.close()
            reason = f"takes longer than {self.seconds:g} s" if is_late else f"ended the process that reads it (code {code})"
            raise DataError(f"{where}: {reason}; its text is not taken out")
        found = json.loads(line)
        if "error" in found:
            raise DataError(f"{where}: its text cannot be taken out ({found['error']})")
        return found["text"]

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
        self._process = None

    def _running(self) -> subprocess.Popen[str]:
        self._num_pages += 1
        if self._process is None or self._num_pages % _MAX_PAGES == 0:
            self.close()
            program = [sys.executable, "-P", str(_PROGRAM)]  # -P: the modules beside the program are not its own
            streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
            self._process = subprocess.Popen(program, **streams, text=True, encoding="utf-8")
        return self._process


@cache
def extractor() -> Extractor:
    """The one of this process. Raises ConfigError if the package is missing."""
    found = Extractor()
    atexit.register(found.close)
    return found
