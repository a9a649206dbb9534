"""All studies by name, in the order in which `trivium study all` goes through them."""

from typing import Any

from trivium.studies.abstention import Abstention
from trivium.studies.adapt import Adapt
from trivium.studies.batch_size import BatchSize
from trivium.studies.books import Books
from trivium.studies.constitutional import Constitutional
from trivium.studies.dedup import Dedup
from trivium.studies.diversity import Diversity
from trivium.studies.emergent import Emergent
from trivium.studies.gender import Gender
from trivium.studies.instruction_pretraining import InstructionPretraining
from trivium.studies.magpie import Magpie
from trivium.studies.memorization import Memorization
from trivium.studies.order import Order
from trivium.studies.overoptimisation import Overoptimisation
from trivium.studies.process_supervision import ProcessSupervision
from trivium.studies.rlhf import RLHF
from trivium.studies.routing import Routing
from trivium.studies.scaling import Scaling
from trivium.studies.stock import DataStock
from trivium.studies.term_frequency import TermFrequency

STUDIES: dict[str, type[Any]] = {study.name: study for study in (
    DataStock,
    Books,
    Scaling,
    Dedup,
    Memorization,
    Emergent,
    Order,
    TermFrequency,
    BatchSize,
    Gender,
    Abstention,
    Diversity,
    RLHF,
    Overoptimisation,
    ProcessSupervision,
    InstructionPretraining,
    Adapt,
    Magpie,
    Constitutional,
    Routing,
)}  # fmt: skip
