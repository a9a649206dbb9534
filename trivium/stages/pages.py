"""pages: short texts out of a dictionary, and questions that they answer: reading comprehension that a small model can learn."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from trivium.core.commit import commit
from trivium.core.config import component
from trivium.core.errors import DataError
from trivium.core.run import Run
from trivium.core.seeds import generator
from trivium.stages.base import Foresight, Work, resolve
from trivium.text.glossary import Entry, entry_of
from trivium.text.read import check_head, read_definitions
from trivium.text.write import write_jsonl


@component
class Pages:
    """Leaves below `@pages/pages`, of pages with words_per_page definitions: readings.jsonl, all questions with their answers; raw.jsonl,
    text alone; demonstrations.jsonl and heldout.jsonl, a page with one question, of which the last waits for an answer.

    Questions ask what a word means or which word has a meaning, and are answered in words of the page. No word is in two of the files.
    dictionary: an asset that holds definitions, or a file of records {word, part_of_speech, definitions}.
    """

    kind: Literal["pages"] = "pages"
    dictionary: str = "gcide"
    words_per_page: int = Field(default=3, gt=1)
    max_words: int = Field(default=8, gt=2)  # of a definition
    num_readings: int = Field(default=2000, gt=0)
    num_raw: int = Field(default=4000, gt=0)
    num_demonstrations: int = Field(default=1000, gt=0)
    num_heldout: int = Field(default=500, gt=0)

    @property
    def sizes(self) -> dict[str, int]:
        """File -> how many pages it is made of."""
        return {
            "heldout": self.num_heldout, "readings": self.num_readings, "demonstrations": self.num_demonstrations, "raw": self.num_raw,
        }  # fmt: skip

    def check(self) -> None:
        if not self.dictionary.startswith("@"):
            check_head(self.dictionary, "definitions")

    def foresee(self, name: str, known: Foresight) -> Work:
        known.sequence_tokens = 16 + round(1.3 * self.words_per_page * (self.max_words + 3))
        known.num_heldout = self.num_heldout
        known.num_prompts |= {f"@{name}/pages/{part}.jsonl": size for part, size in self.sizes.items()}
        return Work(seconds=5.0)

    def run(self, run: Run) -> Mapping[str, Any]:
        entries = _entries(read_definitions(str(resolve(run, self.dictionary))), self.max_words)
        needed = sum(self.sizes.values()) * self.words_per_page
        if len(entries) < needed:
            raise DataError(
                f"{self.dictionary} has {len(entries):,} words that can be asked for, {sum(self.sizes.values()):,} pages need {needed:,};"
                " raise max_words, or lower num_raw or words_per_page"
            )
        order = generator(run.seed, "pages").permutation(len(entries))[:needed]
        pages = iter([[entries[i] for i in row] for row in order.reshape(-1, self.words_per_page)])
        draw = generator(run.seed, "questions of pages")

        def write(folder: Path) -> None:
            for part, size in self.sizes.items():
                rows = (_row(part, next(pages), int(draw.integers(2 * self.words_per_page))) for _ in range(size))
                write_jsonl(folder / f"{part}.jsonl", rows)

        commit(run.folder / "pages", write, kind="pages", meta={"dictionary": self.dictionary})
        run.log("pages: " + ", ".join(f"{size:,} {part}" for part, size in self.sizes.items()))
        return self.sizes


def questions(page: Sequence[Entry]) -> Iterator[tuple[str, str]]:
    """Two questions a word with their answers, in the order of the page.

    >>> list(questions([Entry("axiom", "noun", "a self-evident truth")]))
    [('What is an axiom?', 'a self-evident truth'), ('Which word means a self-evident truth?', 'axiom')]
    """
    for entry in page:
        yield entry.question, entry.definition
        yield f"Which word means {entry.definition}?", entry.word


def _row(part: str, page: Sequence[Entry], asked: int) -> dict[str, Any]:
    text = "\n".join(entry.named for entry in page)
    pairs = list(questions(page))
    if part == "raw":
        return {"text": text, "id": page[0].word, "source": "pages"}
    if part == "readings":
        listed = [{"question": question, "answer": answer} for question, answer in pairs]
        return {"context": text, "pairs": listed, "id": page[0].word, "source": "pages"}
    question, answer = pairs[asked]
    turns = [{"role": "user", "content": f"{text}\n\n{question}"}, {"role": "assistant", "content": answer}]
    return {"messages": turns if part == "demonstrations" else turns[:1], "answer": answer}


def _entries(records: Iterable[Mapping[str, Any]], max_words: int) -> list[Entry]:
    """One entry a word and one a definition, the first that can be asked for."""
    by_word: dict[str, Entry] = {}
    meanings: set[str] = set()
    for record in records:
        entry = entry_of(record, max_words=max_words)
        if entry is not None and entry.word not in by_word and entry.definition not in meanings:
            by_word[entry.word] = entry
            meanings.add(entry.definition)
    return list(by_word.values())
