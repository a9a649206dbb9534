"""Work that goes on beside training in a thread, one piece at a time: writing what was copied for it."""

import threading
from collections.abc import Callable


class Saving:
    """Does one thing at a time in a thread. An error in it is raised by whichever of `start`, `look` and `wait` comes next."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self.is_over = threading.Event()  # set: whoever waits in the thread is to give up

    def start(self, work: Callable[[], None]) -> None:
        """Wait for the work before, and begin this."""
        self.wait()

        def done() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001  raised again where somebody can answer it
                self._error = error

        thread = threading.Thread(target=done, daemon=True, name="saving")
        thread.start()
        self._thread = thread

    def look(self) -> None:
        """Raise the error of work that has failed."""
        error, self._error = self._error, None
        if error is not None:
            raise error

    def wait(self) -> None:
        """Until the work is done."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.look()

    def give_up(self) -> None:
        """Until the work is done, or has noticed that nobody wants it any more; its error is told by nobody."""
        self.is_over.set()
        if self._thread is not None:
            self._thread.join()
        self._thread = self._error = None
        self.is_over.clear()
