"""Data sets of the Hugging Face hub, `hf:owner/name[subset]@revision#split[:rows]`, streamed by `datasets` (extra `hub`).

The name goes to the network because the user wrote it. No code of a data set is run: `datasets` from 4.0 on cannot.
"""

import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

from trivium.core.errors import ConfigError, ResourceError
from trivium.text.rows import Row

_REFERENCE = re.compile(
    r"hf:(?P<name>[\w.-]+(?:/[\w.-]+)?)(?:\[(?P<subset>[\w.-]+)\])?(?:@(?P<revision>[\w./-]+))?"
    r"(?:#(?P<split>[\w.-]+)(?:\[:(?P<rows>[1-9]\d*)\])?)?"
)
_NO_CODE_FROM = 4  # the first release of datasets that runs no code of a data set


def is_hub(source: str | Path) -> bool:
    """Whether a source names a data set of the hub."""
    return isinstance(source, str) and source.startswith("hf:")


def parse(source: str) -> Mapping[str, str | None]:
    """name, subset, revision, split and number of rows of a reference. Raises ConfigError if it is none."""
    found = _REFERENCE.fullmatch(source)
    if not found:
        raise ConfigError(
            f"'{source}' names no data set of the hub; the form is hf:owner/name[subset]@revision#split[:rows], all after name if wanted"
        )
    return found.groupdict()


def hub_rows(source: str) -> Iterator[Row]:
    """The rows of a split, `train` if none is named, or its first ones. Raises ConfigError, ResourceError (network, no such data set)."""
    asked = parse(source)
    try:
        datasets: Any = import_module("datasets")  # an extra of its own, not even for development
    except ImportError:
        raise ConfigError(f"{source}: data sets of the hub are read by the package datasets: pip install 'trivium[hub]'") from None
    if int(datasets.__version__.split(".")[0]) < _NO_CODE_FROM:
        raise ConfigError(f"{source}: datasets {datasets.__version__} may run code of a data set; install datasets>={_NO_CODE_FROM}")
    try:
        place = {"revision": asked["revision"], "split": asked["split"] or "train"}
        stream = datasets.load_dataset(asked["name"], asked["subset"], **place, streaming=True)
        for number, values in enumerate(islice(stream, int(asked["rows"]) if asked["rows"] else None)):
            yield Row(Path(source), number, "row", values)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise ResourceError(f"{source}: cannot be read from the hub ({' '.join(str(error).split())[:200]})") from None
