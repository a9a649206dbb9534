"""Rules that drop documents, one a file. A filter judges a batch: for each document None (keep) or the reason; it never changes text."""

from typing import Annotated

from pydantic import Field

from trivium.text.filters.c4 import C4
from trivium.text.filters.fineweb import FineWeb
from trivium.text.filters.gopher_quality import GopherQuality
from trivium.text.filters.gopher_repetition import GopherRepetition
from trivium.text.filters.language import Language
from trivium.text.filters.length import Length
from trivium.text.filters.quality import Quality
from trivium.text.filters.toxicity import Toxicity
from trivium.text.filters.url import Url

Filter = Annotated[
    GopherQuality | GopherRepetition | C4 | FineWeb | Length | Language | Url | Toxicity | Quality, Field(discriminator="kind")
]

__all__ = ["C4", "Filter", "FineWeb", "GopherQuality", "GopherRepetition", "Language", "Length", "Quality", "Toxicity", "Url"]
