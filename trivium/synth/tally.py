"""What a synthesis came to: counts, why pieces were dropped, and a few of them and of the pairs to look at."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from trivium.synth.forms import Form
from trivium.synth.rounds import Item
from trivium.text.records.readings import Reading

NUM_SAMPLES, MAX_SAMPLE_CHARS = 5, 600  # of each reason
NUM_SHOWN = 12


@dataclass(slots=True)
class Tally:
    """follow: texts that were shown others and became one text with them. tokens: generated. *_bytes: UTF-8."""

    texts: int = 0
    texts_with_pairs: int = 0
    follow: int = 0
    pairs: int = 0
    tokens: int = 0
    documents: int = 0
    document_bytes: int = 0
    instruction_bytes: int = 0
    pair_bytes: int = 0
    dropped: Counter[str] = field(default_factory=Counter)  # reason -> pieces
    dropped_bytes: Counter[str] = field(default_factory=Counter)
    samples: dict[str, list[str]] = field(default_factory=dict)
    shown: list[Reading] = field(default_factory=list)

    def count(self, item: Item) -> None:
        """Count a text."""
        reading = item.reading
        self.texts += 1
        self.texts_with_pairs += bool(reading.pairs)
        self.follow += item.follows
        self.pairs += len(reading.pairs)
        self.tokens += item.tokens
        self.pair_bytes += sum(len((pair.question + pair.answer).encode()) for pair in reading.pairs)
        for gone in item.dropped:
            self.dropped[gone.reason] += 1
            self.dropped_bytes[gone.reason] += len(gone.text.encode())
            if len(kept := self.samples.setdefault(gone.reason, [])) < NUM_SAMPLES:
                kept.append(gone.text[:MAX_SAMPLE_CHARS])
        if reading.pairs and len(self.shown) < NUM_SHOWN:
            self.shown.append(reading)

    def count_document(self, readings: Sequence[Reading], form: Form | None, text: str) -> None:
        """Count a new text, which was made of these."""
        self.documents += 1
        self.document_bytes += len(text.encode())
        self.instruction_bytes += sum(len(form.pairs(reading).encode()) for reading in readings) if form else 0

    @property
    def instruction_share(self) -> float:
        """The share of the bytes of the new texts that are pairs."""
        return self.instruction_bytes / max(1, self.document_bytes)

    def facts(self) -> dict[str, Any]:
        """Numbers for the report."""
        return {
            "texts": self.texts, "texts_with_pairs": self.texts_with_pairs, "follow": self.follow, "pairs": self.pairs,
            "dropped": self.dropped.total(), "documents": self.documents, "instruction_share": self.instruction_share,
            "tokens": self.tokens,
        }  # fmt: skip

    def funnel(self) -> dict[str, Any]:
        """As the report draws it: pieces that were written, dropped and why, kept."""
        written = {"documents": self.pairs + self.dropped.total(), "bytes": self.pair_bytes + self.dropped_bytes.total()}
        dropped = [
            {"reason": reason, "documents": count, "bytes": self.dropped_bytes[reason], "samples": self.samples[reason]}
            for reason, count in self.dropped.most_common()
        ]
        return {"unit": "pairs", "read": written, "dropped": dropped, "kept": {"documents": self.pairs, "bytes": self.pair_bytes}}
