"""demonstrate: questions about the words of a dictionary, and answers as different people would write them."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
from pydantic import Field

from trivium.core.config import Texts, component
from trivium.core.errors import DataError
from trivium.core.run import Run
from trivium.core.seeds import generator
from trivium.stages.base import Foresight, Work, check_data, commit_rows, resolve
from trivium.text.glossary import Entry, entry_of
from trivium.text.read import read_definitions
from trivium.text.tokenizer import Tokenizer

PARTS = ("demonstrations", "comparisons", "prompts", "heldout")
NAMED_SHARE, REMARK_SHARE = 0.4, 0.4  # so that no habit of labelers is the rule
MAX_WORDS = 14  # of an answer


@component
class Demonstrate:
    """Leaves below `@demonstrate/questions`: demonstrations.jsonl (with answers), comparisons.jsonl, prompts.jsonl and heldout.jsonl.

    dictionary: an asset that holds definitions, or a file of records {word, part_of_speech, definitions}.
    No word is in two of them. Two fifths of the demonstrations name the asked word in a full sentence; the others are
    split between sentences that do not and bare definitions, as labelers of different habits would write. remarks: sentences that
    labelers add, each of them to two fifths of the answers. max_word_tokens keeps words that the tokenizer knows in few pieces.
    """

    kind: Literal["demonstrate"] = "demonstrate"
    dictionary: str = "gcide"
    tokenizer: str
    remarks: Texts = ()
    max_word_tokens: int = Field(default=2, gt=0)
    num_comparisons: int = Field(default=1200, gt=0)
    num_prompts: int = Field(default=2000, gt=0)
    num_heldout: int = Field(default=300, gt=0)

    def check(self) -> None:
        check_data(self.dictionary, "definitions")

    def foresee(self, name: str, known: Foresight) -> Work:
        remarked = REMARK_SHARE * sum(len(remark.split()) for remark in self.remarks)
        known.sequence_tokens = 16 + round(1.3 * (MAX_WORDS + remarked))  # a question, control tokens, an answer
        known.num_comparisons, known.num_heldout = self.num_comparisons, self.num_heldout
        for part, size in (("comparisons", self.num_comparisons), ("prompts", self.num_prompts), ("heldout", self.num_heldout)):
            known.num_prompts[f"@{name}/questions/{part}.jsonl"] = size
        return Work(seconds=5.0)

    def run(self, run: Run) -> Mapping[str, Any]:
        entries = self._entries(read_definitions(str(resolve(run, self.dictionary))), Tokenizer.load(resolve(run, self.tokenizer)))
        order = generator(run.seed, "questions").permutation(len(entries))
        sizes = {"comparisons": self.num_comparisons, "prompts": self.num_prompts, "heldout": self.num_heldout}
        if len(entries) < 2 * sum(sizes.values()):
            raise DataError(
                f"{self.dictionary} gives {len(entries):,} questions; {2 * sum(sizes.values()):,} are needed, "
                "so that half are left for demonstrations"
            )
        parts, start = {}, 0
        for part, size in sizes.items():
            parts[part], start = [entries[i] for i in order[start : start + size]], start + size
        parts["demonstrations"] = [entries[i] for i in order[start:]]
        habit = generator(run.seed, "habits of labelers")
        files = {
            f"{part}.jsonl": [_row(entry, self._answer(entry, habit) if part == "demonstrations" else None) for entry in parts[part]]
            for part in PARTS
        }
        commit_rows(run.folder / "questions", files, kind="questions", meta={"dictionary": self.dictionary})
        run.log("questions: " + ", ".join(f"{len(parts[part]):,} {part}" for part in PARTS))
        return {part: len(parts[part]) for part in PARTS}

    def _entries(self, records: Iterable[Mapping[str, Any]], tokenizer: Tokenizer) -> list[Entry]:
        """One entry a word, the first that can be asked for, of the words that are short enough in tokens."""
        found: dict[str, Entry] = {}
        for record in records:
            entry = entry_of(record, max_words=MAX_WORDS)
            if entry is not None:
                found.setdefault(entry.word, entry)
        entries = list(found.values())
        lengths = tokenizer.encode_batch([f" {entry.word}" for entry in entries])
        return [entry for entry, ids in zip(entries, lengths, strict=True) if len(ids) <= self.max_word_tokens]

    def _answer(self, entry: Entry, habit: np.random.Generator) -> str:
        draw = habit.random()
        answer = entry.named if draw < NAMED_SHARE else entry.unnamed if draw < (1 + NAMED_SHARE) / 2 else entry.bare
        return " ".join([answer, *(remark for remark in self.remarks if habit.random() < REMARK_SHARE)])


def _row(entry: Entry, answer: str | None) -> dict[str, Any]:
    turns: Iterable[tuple[str, str]] = [("user", entry.question), *([("assistant", answer)] if answer else [])]
    return {"messages": [{"role": role, "content": content} for role, content in turns], "asked": entry.word}
