"""Files that have an end: opening a pipe waits for somebody to write into it, and a device may never stop giving."""

import errno
import stat
from pathlib import Path


def regular(path: Path) -> Path:
    """The path, to be opened. Raises OSError if it is not there, or a pipe, a socket or a device; a folder is left to what opens it."""
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "it is a pipe, a socket or a device; give a file")
    return path
