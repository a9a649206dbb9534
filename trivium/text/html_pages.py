"""Pages of HTML to their main text, by trafilatura (`pip install 'trivium[html]'`), in a process that may fail without taking us along."""

import json
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from trivium.core.errors import ConfigError, DataError
from trivium.core.line_process import LineProcess, NoReplyError

SECONDS = 20.0  # for one page; usual ones take milliseconds
_PROGRAM = Path(__file__).with_name("html_sandbox.py")
_MAX_PAGES = 2000  # then the process is replaced: parsers keep memory


class Extractor:
    """Asks a process for the text of pages, and starts another one when it ended."""

    def __init__(self, seconds: float = SECONDS) -> None:
        if find_spec("trafilatura") is None:
            raise ConfigError("HTML is read by the package trafilatura, which is not installed: pip install 'trivium[html]'")
        self.seconds, self._num_pages = seconds, 0
        self._process: LineProcess | None = None

    def __call__(self, page: str, where: str) -> str:
        """The main text of a page, "" if it has none. Raises DataError that begins with `where`: too slow, or it broke the parser."""
        self._num_pages += 1
        if self._num_pages % _MAX_PAGES == 0:
            self.close()
        if self._process is None:
            program = [sys.executable, "-P", str(_PROGRAM)]  # -P: the modules beside the program are not its own
            self._process = LineProcess(program, is_quiet=True)
        try:
            found = json.loads(self._process.ask(json.dumps(page), self.seconds))
        except NoReplyError as error:
            self._process = None
            ended = f"ended the process that reads it (code {error.code})"
            reason = f"takes longer than {self.seconds:g} s" if error.is_late else ended
            raise DataError(f"{where}: {reason}; its text is not taken out") from None
        if "error" in found:
            raise DataError(f"{where}: its text cannot be taken out ({found['error']})")
        return found["text"]

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.close()
        self._process = None


@cache
def extractor() -> Extractor:
    """The one of this process. Raises ConfigError if the package is missing."""
    return Extractor()
