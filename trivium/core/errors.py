"""The errors a user may meet: each is one line that says what it is, what is allowed and what to do.

    TriviumError            exit code
    |- ConfigError          2   an option, a recipe, a command line
    |- DataError            3   a document, a chat, a preference, a prompt
    |  `- DamagedError          a file that cannot be read to its end
    |- ArtefactError        4   a model, tokenizer, shard or checkpoint that is corrupt or does not fit
    |- DivergedError        5   the numbers are not finite any more
    |- ResourceError        6   disk or memory
    |- LockedError          7   another process owns the run folder
    |- RankError            8   a peer process failed
    |- MachineError         9   the machine computes wrong numbers
    `- EngineError         10   a sampler elsewhere is lost, or answers with other weights than it should

130, 143 and 138 are an interrupt (SIGINT, SIGTERM, SIGUSR1) after the run was saved. Anything else that escapes is a bug of ours and
shows a traceback.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class TriviumError(Exception):
    """An expected failure; its text is the whole answer, in one line."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        line = " ".join(message.split())  # names in it may come from a file that somebody else wrote
        super().__init__("".join(letter if letter.isprintable() else "\ufffd" for letter in line))


class ConfigError(TriviumError):
    """An option is unknown, missing, of the wrong type or out of range."""

    exit_code = 2


class DataError(TriviumError):
    """A record cannot be read or used; the text names file, line and field."""

    exit_code = 3


class DamagedError(DataError):
    """A file cannot be read to its end; the records before that place may be used."""


class ArtefactError(TriviumError):
    """Something on disk is damaged, missing or belongs to another tokenizer or model."""

    exit_code = 4


class DivergedError(TriviumError):
    """Training left the finite numbers and could not be brought back."""

    exit_code = 5


class ResourceError(TriviumError):
    """Disk or memory ran out."""

    exit_code = 6


class LockedError(TriviumError):
    """Another process owns the run folder."""

    exit_code = 7


class RankError(TriviumError):
    """A peer process failed or disagreed."""

    exit_code = 8


class MachineError(TriviumError):
    """The machine computes numbers that cannot be trusted."""

    exit_code = 9


class EngineError(TriviumError):
    """A sampler in another process or on another machine is lost, or does not give what it was asked for."""

    exit_code = 10


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the closest allowed word, else the list of what is allowed."""
    words = sorted(set(allowed))
    close = get_close_matches(word, words, n=1, cutoff=0.6)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; it is one of: {', '.join(words)}" if words else ""
