"""Which items of a task stand in a corpus: runs of words in common (text/decontaminate.py), told beside the score."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from trivium.core.types import Document
from trivium.evals.task import Item
from trivium.text.decontaminate import Contamination, Evaluations
from trivium.text.read import texts_in

_BATCH = 1024


def contamination(tasks: Mapping[str, Sequence[Item]], documents: Iterable[Document]) -> tuple[dict[str, Any], dict[str, set[int]]]:
    """(what the report shows of each task, the items of each that are in the corpus). Costs one pass over the documents."""
    evaluations = Evaluations({name: [texts_in(item.fields) for item in items] for name, items in tasks.items()})
    found, stream = Contamination(evaluations), iter(documents)
    while batch := list(islice(stream, _BATCH)):
        for document, overlap in zip(batch, evaluations.find([document.text for document in batch]), strict=True):
            if overlap is not None:
                found.add(document.id, document.text, overlap)
    numbers = {name: {items[place].number for place in found.items.get(name, ())} for name, items in tasks.items()}
    return found.to_dict(), numbers
