"""How the command line ends: an exit code for every expected failure, and one line, which a rank leaves to its launcher."""

import signal
import sys
from typing import Any

import typer

from trivium.core.errors import RankError, TriviumError
from trivium.core.heartbeat import Heartbeat
from trivium.core.interrupt import interrupted
from trivium.core.world import HEAVY, defer, end_with_parent, prepare_environment, ranks_folder, world

# typer carries a click of its own since 0.2x; the base class of its complaints is reached through the one that it exports
UsageMistake: type[Any] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def run_app(app: typer.Typer) -> None:
    """Run the command line."""
    prepare_environment()
    defer(*HEAVY)
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, interrupted)
    folder = ranks_folder()
    if folder is None:
        _run(app, None)
        return
    end_with_parent()
    with Heartbeat(folder, world().rank) as heartbeat:
        try:
            _run(app, heartbeat)
        except Exception as error:
            heartbeat.failed(f"{type(error).__name__}: {error}", 1, is_lost=False)
            raise


def _run(app: typer.Typer, heartbeat: Heartbeat | None) -> None:
    is_debug = "--debug" in sys.argv
    arguments = [word for word in sys.argv[1:] if word != "--debug"]
    code = 0
    try:
        code = app(arguments, standalone_mode=False, prog_name="trivium")
    except TriviumError as error:
        if is_debug:
            raise
        _fail(str(error), error.exit_code, heartbeat, is_lost=isinstance(error, RankError))
    except UsageMistake as error:
        if not error.format_message():  # without arguments the help was shown
            sys.exit(2)
        _fail(_usage(error), 2, heartbeat)
    except typer.Abort:
        _fail("stopped", 130, heartbeat)
    except OSError as error:  # what no room below has words for, such as a file that may not be read
        if is_debug:
            raise
        _fail(f"{error.filename or 'input or output'}: {error.strerror or error}", 6, heartbeat)
    except (MemoryError, RuntimeError) as error:
        if is_debug or not (isinstance(error, MemoryError) or "allocate memory" in str(error)):  # torch has no type of its own for it
            raise
        _fail("memory ran out; in training lower micro_batch_rows or seq_len, in cleaning leave out the longest documents", 6, heartbeat)
    if code == 130:  # typer turns Ctrl-C into this code and says nothing
        _fail("stopped", 130, heartbeat)
    sys.exit(code or 0)


def _usage(error: Any) -> str:
    """A mistake in the command line, in one line."""
    message = " ".join(str(error.format_message()).split()).rstrip(".").replace("'. Did you", "'; did you")
    return f"{message[:1].lower()}{message[1:]}; see trivium --help"


def _fail(message: str, code: int, heartbeat: Heartbeat | None, *, is_lost: bool = False) -> None:
    """Say why, or leave it to the launcher, which knows what the other ranks say."""
    if heartbeat is None:
        sys.stderr.write(f"trivium: {message}\n")
    else:
        heartbeat.failed(message, code, is_lost=is_lost)
    sys.exit(code)
