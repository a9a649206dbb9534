"""All studies by name, in the order in which `trivium study all` goes through them."""

from typing import Any

from trivium.studies.adapt import Adapt
from trivium.studies.batch_size import BatchSize
from trivium.studies.dedup import Dedup
from trivium.studies.memorization import Memorization
from trivium.studies.order import Order
from trivium.studies.overoptimisation import Overoptimisation
from trivium.studies.term_frequency import TermFrequency

STUDIES: dict[str, type[Any]] = {study.name: study for study in (
    Dedup,
    Memorization,
    Order,
    TermFrequency,
    BatchSize,
    Overoptimisation,
    Adapt,
)}  # fmt: skip
