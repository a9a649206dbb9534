"""pages: short texts of facts, and questions that they answer, so simple that a small model can learn to read them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from trivium.core.config import component
from trivium.core.run import Run
from trivium.core.seeds import generator
from trivium.stages.base import Foresight, Work, commit_rows
from trivium.text.facts import Fact, page, table, text_of

MOST = 1_000_000  # of 4 million different texts; those of all files are held in memory


@component
class Pages:
    """Leaves below `@pages/pages`: readings.jsonl, texts with all their questions and answers; raw.jsonl, text alone;
    demonstrations.jsonl and heldout.jsonl, a text with one question, of which the last waits for its `answer`.

    Each text tells facts_per_page facts about as many people (text/facts.py). No text is in two of the files, or twice in one.
    """

    kind: Literal["pages"] = "pages"
    facts_per_page: int = Field(default=3, ge=2, le=5)
    num_readings: int = Field(default=2000, gt=0, le=MOST)
    num_raw: int = Field(default=4000, gt=0, le=MOST)
    num_demonstrations: int = Field(default=1000, gt=0, le=MOST)
    num_heldout: int = Field(default=500, gt=0, le=MOST)

    @property
    def sizes(self) -> dict[str, int]:
        """File -> how many texts are in it."""
        return {
            "heldout": self.num_heldout, "readings": self.num_readings, "demonstrations": self.num_demonstrations, "raw": self.num_raw,
        }  # fmt: skip

    def check(self) -> None:
        table()

    def foresee(self, name: str, known: Foresight) -> Work:
        known.sequence_tokens = 16 + 8 * self.facts_per_page
        known.num_heldout = self.num_heldout
        known.num_prompts |= {f"@{name}/pages/{part}.jsonl": size for part, size in self.sizes.items()}
        return Work(seconds=2.0)

    def run(self, run: Run) -> Mapping[str, Any]:
        pages, draw = self._pages(run.seed), generator(run.seed, "questions of pages")

        def rows(part: str, size: int) -> Iterator[dict[str, Any]]:
            return (_row(part, next(pages), f"{part} {number}", int(draw.integers(self.facts_per_page))) for number in range(size))

        files = {f"{part}.jsonl": rows(part, size) for part, size in self.sizes.items()}
        commit_rows(run.folder / "pages", files, kind="pages", meta={"facts_per_page": self.facts_per_page})
        run.log("pages: " + ", ".join(f"{size:,} {part}" for part, size in self.sizes.items()))
        return self.sizes

    def _pages(self, seed: int) -> Iterator[Sequence[Fact]]:
        """Different pages without end: two facts make more than 4 million."""
        draw, seen = generator(seed, "pages"), set[str]()
        while True:
            facts = page(draw, self.facts_per_page)
            if (text := text_of(facts)) not in seen:
                seen.add(text)
                yield facts


def _row(part: str, facts: Sequence[Fact], name: str, asked: int) -> dict[str, Any]:
    text = text_of(facts)
    if part == "raw":
        return {"text": text, "id": name, "source": "pages"}
    if part == "readings":
        pairs = [{"question": fact.question, "answer": fact.sentence} for fact in facts]
        return {"context": text, "pairs": pairs, "id": name, "source": "pages"}
    fact = facts[asked]
    turns = [{"role": "user", "content": f"{text}\n\n{fact.question}"}, {"role": "assistant", "content": fact.sentence}]
    return {"messages": turns if part == "demonstrations" else turns[:1], "answer": fact.sentence}
