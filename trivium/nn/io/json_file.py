"""Small JSON files of a model directory, read with a limit on their size: they may come from anywhere."""

from pathlib import Path
from typing import Any

from trivium.core.errors import ArtefactError, DataError
from trivium.core.regular import regular
from trivium.text.strict_json import parse

MAX_BYTES = 64 << 20


def read_json(file: Path) -> dict[str, Any]:
    """The object in a file. Raises ArtefactError: missing, a pipe or a device, too large, not UTF-8, not JSON, not an object."""
    try:
        size = regular(file).stat().st_size
        if size > MAX_BYTES:
            raise ArtefactError(f"{file}: has {size:,} bytes; such a file has {MAX_BYTES:,} at most")
        value = parse(file.read_text(encoding="utf-8"), str(file))
    except FileNotFoundError:
        raise ArtefactError(f"{file}: there is no such file; a model is a folder with config.json and model.safetensors") from None
    except OSError as error:
        raise ArtefactError(f"{file}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ArtefactError(f"{file}: is not UTF-8 text") from None
    except DataError as error:
        raise ArtefactError(str(error)) from None
    if not isinstance(value, dict):
        raise ArtefactError(f"{file}: is a JSON {type(value).__name__}, not an object")
    return value
