"""All studies by name, in the order in which `trivium study all` goes through them."""

from typing import Any

from trivium.studies.adapt import Adapt
from trivium.studies.overoptimisation import Overoptimisation

STUDIES: dict[str, type[Any]] = {study.name: study for study in (
    Overoptimisation,
    Adapt,
)}  # fmt: skip
