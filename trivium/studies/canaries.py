"""The canaries of a training (text/planted.py): what each says, and at which places whole copies of it were seen."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from trivium.core.seeds import generator
from trivium.data.sources import Span
from trivium.studies.evidence import Training

SOURCE = "canaries"


@dataclass(frozen=True, slots=True)
class Canary:
    """One text. tokens: its ids without the document's first. places: of the order of training, ascending, where a row had all of it."""

    id: str
    tokens: np.ndarray
    places: np.ndarray


def canaries_of(training: Training, size: int) -> list[Canary]:
    """Those of at least `size` tokens, by name; only their first `size` must have been whole in a row. None where none were planted."""
    if training.trace is None:
        return []
    found: dict[str, Canary] = {}
    places: dict[str, list[np.ndarray]] = defaultdict(list)
    num_steps = training.num_rows // training.order.source.rows_per_step
    for stream, shard in enumerate(training.trace.lineage.shards.values()):
        for document in shard.documents():
            if document.source != SOURCE or document.num_tokens <= size:
                continue
            span = Span(document.offset + 1, size, stream)
            places[document.id].append(training.order.places_with(span, num_steps, is_whole=True))
            found[document.id] = Canary(document.id, shard.document_tokens(document.index)[1:], np.empty(0, np.int64))
    return [Canary(name, found[name].tokens, np.unique(np.concatenate(places[name]))) for name in sorted(found)]


def never_planted(canaries: list[Canary], prompt: int) -> list[np.ndarray]:
    """The same beginnings with other ends, the ids of each in an order drawn by lot: texts that nothing was trained on."""
    draw = generator(1, "canaries that were never planted")
    return [np.concatenate([canary.tokens[:prompt], draw.permutation(canary.tokens[prompt:])]) for canary in canaries]
