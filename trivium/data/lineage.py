"""From rows of training to the documents they are made of, and back."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from trivium.core.errors import DataError
from trivium.data.sources import Span
from trivium.data.training_order import TrainingOrder
from trivium.text.shards import Shard, ShardDocument


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Tokens first .. last (from 0, both included) of document number `index` of its shard, as a row holds them.

    part: which text of a mixture, "" if it is one. num_tokens: of the whole document.
    """

    part: str
    index: int
    first: int
    last: int
    num_tokens: int
    tokens: np.ndarray


class Lineage:
    """A training order with the shards that its streams come from, by the name of their part."""

    def __init__(self, order: TrainingOrder, shards: Mapping[str, Shard]) -> None:
        self.order, self.shards, self.parts = order, shards, list(shards)

    def excerpts(self, row: int) -> list[Excerpt]:
        """What row number `row` holds, from left to right."""
        return [excerpt for span in self.order.source.spans(row) for excerpt in self.of(span)]

    def of(self, span: Span) -> list[Excerpt]:
        """The parts of documents that a span is. Raises DataError of rows that were published without their documents."""
        if not self.parts:
            raise DataError(
                "these rows were published without the documents that they were made of; `trivium data verify` can look at them"
            )
        part = self.parts[span.stream]
        shard = self.shards[part]
        found = []
        for index in shard.documents_between(span.start, span.end):
            offset, after = int(shard.starts[index]), int(shard.starts[index + 1])
            start, end = max(span.start, offset), min(span.end, after)
            found.append(Excerpt(part, index, start - offset, end - 1 - offset, after - offset, shard.tokens[start:end]))
        return found

    def document(self, excerpt: Excerpt) -> ShardDocument:
        """What an excerpt is of; reads a thousand rows of docs.parquet."""
        return self.shards[excerpt.part].document(excerpt.index)

    def named(self, name: str) -> list[tuple[str, ShardDocument]]:
        """Every document with this id, and its part."""
        return [(part, document) for part, shard in self.shards.items() for document in shard.documents_named(name)]

    def span_of(self, part: str, document: ShardDocument) -> Span:
        """All tokens of a document."""
        return Span(document.offset, document.num_tokens, self.parts.index(part))
