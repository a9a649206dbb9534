"""Documents through filters in one pass, as `clean_units` does it piece by piece: what tests of the counts compare with."""

from collections.abc import Sequence

from trivium.core.types import Document
from trivium.text.judge import Rule, batches
from trivium.text.pii import Kind
from trivium.text.pipeline import Funnel, settle
from trivium.text.workers import Judges, Task


def settled(
    documents: Sequence[Document], filters: Sequence[Rule] = (), *, funnel: Funnel, scrub: Sequence[Kind] = (), num_workers: int = 1
) -> list[Document]:  # fmt: skip
    """Those that stay, counted in the funnel."""
    with Judges(Task(filters, scrub), num_workers) as judges:
        return [document for judged in judges(batches(documents)) for document in settle(judged, funnel)]
