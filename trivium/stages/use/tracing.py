"""Looking back at a run: which documents a step was trained on, which steps saw a document, and where the model may have a phrase from.

Everything is computed from the run folder: the order of training is a function of what run.toml says, so nothing was stored for it but
a digest a step in metrics.jsonl. Steps are numbered as there, from 1; rows of a step from 0. What is found is in stages/use/traces.py.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trivium.core.errors import ArtefactError, ConfigError, DataError, did_you_mean
from trivium.core.run import read_digests
from trivium.data.lineage import Lineage
from trivium.data.ngrams import Match, longest_matches
from trivium.data.sources import Span
from trivium.data.training_order import TrainingOrder
from trivium.stages.corpus import read_text
from trivium.stages.pretrain import Pretrain
from trivium.stages.recipe import load_recipe
from trivium.stages.use.traces import Found, Origin, Phrase, Seen, Shown, Step, Verified, pattern_of, snippet
from trivium.text.tokenizer import Tokenizer
from trivium.text.tokenizer.pieces import decoder_of

SHORTEST = 6  # tokens: shorter phrases stand everywhere


@dataclass(frozen=True, slots=True)
class Trace:
    """A pre-training stage of a run folder, with its text in the order of training. digests: step -> what was logged of its data."""

    folder: Path
    stage: str
    options: Pretrain
    tokenizer: Tokenizer
    lineage: Lineage
    digests: dict[int, str]

    @staticmethod
    def open(folder: Path, stage: str = "") -> "Trace":
        """Read a run folder; stage: which, if several of its stages are pre-training.

        Raises ArtefactError: no run, or shards that are damaged or gone; ConfigError: no such stage.
        """
        file = folder / "run.toml"
        if not file.is_file():
            raise ArtefactError(f"{folder}: is no run folder (there is no {file.name} in it)")
        recipe = load_recipe(str(file), {})
        stages = {name: options for name, options in recipe.stages.items() if isinstance(options, Pretrain)}
        if not stages:
            raise ConfigError(f"{folder}: no stage of this run is pre-training; tracing works on the text that `pretrain` reads")
        if stage and stage not in stages:
            raise ConfigError(f"{folder}: no pre-training stage is called '{stage}'{did_you_mean(stage, stages)}")
        if not stage and len(stages) > 1:
            raise ConfigError(f"{folder}: several stages are pre-training; choose with --stage: {', '.join(stages)}")
        stage = stage or next(iter(stages))
        text = read_text(stages[stage], folder, stages[stage].seed_of(recipe.seed))
        lineage = Lineage(TrainingOrder(text.source), text.shards)
        return Trace(folder, stage, stages[stage], text.tokenizer, lineage, read_digests(folder, stage))

    @property
    def order(self) -> TrainingOrder:
        """The order of training."""
        return self.lineage.order

    @property
    def steps_done(self) -> int:
        """How many steps the run has taken. Raises DataError if none."""
        if not self.digests:
            raise DataError(f"{self.folder}: stage {self.stage} has not recorded a step yet")
        return max(self.digests)

    def range_of(self, steps: str) -> tuple[int, int]:
        """First and last step of `a:b`, both included; either may be left out, and then it is the first or the last so far."""
        found = re.fullmatch(r"(\d*):(\d*)", steps or ":")
        if not found:
            raise ConfigError(f"'steps' is {steps!r}; it is a range such as 100:200, with both ends included")
        first, last = int(found[1] or 1), int(found[2] or self.steps_done)
        if first > last:
            raise ConfigError(f"'steps' is {steps!r}; the first may not be after the last")
        if first < 1 or last > self.steps_done:
            raise ConfigError(f"'steps' is {steps!r}; {self.stage} has taken steps 1 to {self.steps_done:,}")
        return first, last

    def show(self, step: int, row: int | None = None) -> Iterator[Step | Shown]:
        """The documents of a step, row by row; a step that is still to come is shown too, for it is known."""
        rows = self._numbers_of(step)
        if row is not None and not 0 <= row < len(rows):
            raise ConfigError(f"row is {row}; step {step} has rows 0 to {len(rows) - 1}")
        if row is None:
            digest = self.order.digest(step - 1)
            yield Step(step, len(rows), self.options.seq_len, digest, self.digests.get(step, ""))
        for place in range(len(rows)) if row is None else [row]:
            for excerpt in self.lineage.excerpts(int(rows[place])):
                facts = (excerpt.first, excerpt.last, excerpt.num_tokens, self.tokenizer.decode(excerpt.tokens))
                document = self.lineage.document(excerpt)
                yield Shown(step, place, document.id, excerpt.part, document.source, *facts)

    def where(self, document: str) -> Iterator[Origin | Seen]:
        """The steps so far that saw a document."""
        named, num_steps = self.lineage.named(document), self.steps_done
        if not named:
            raise DataError(f"{self.folder}: no training document has the id '{document}'; `trivium data show` prints those of a step")
        for part, found in named:
            span = self.lineage.span_of(part, found)
            places = self.order.places_with(span, num_steps)
            yield Origin(found.id, found.source, part, found.num_tokens, found.num_bytes, len(places))
            for place in places:
                step, row = divmod(int(place), self.options.rows_per_step)
                number = int(self.order.source.rows_at(int(place), 1)[0])
                held = [piece for piece in self.order.source.spans(number) if piece.stream == span.stream]
                for first, last in ((max(piece.start, span.start), min(piece.end, span.end)) for piece in held):
                    if first < last:
                        yield Seen(step + 1, row, found.id, first - span.start, last - 1 - span.start)

    def grep(self, term: str, first: int, last: int, *, is_exact: bool = False) -> Iterator[Found]:
        """The rows of steps first to last whose text has a term, in one document; costs about a second for a million tokens.

        is_exact: as a word or a number of its own, so 12 is not found in 128, 3.12 or 12,000.
        """
        if not term:
            raise ConfigError("the term is empty; give at least one letter")
        pattern, text_of = pattern_of(term, is_exact=is_exact), decoder_of(self.tokenizer)
        for step in range(first, last + 1):
            for place, row in enumerate(self._numbers_of(step)):
                if term not in text_of(self.order.source.row(int(row)).tokens):
                    continue  # most rows; looking at their documents one by one would take three times as long
                for excerpt in self.lineage.excerpts(int(row)):
                    text = text_of(excerpt.tokens)
                    hits = list(pattern.finditer(text))
                    if hits:
                        name = self.lineage.document(excerpt).id
                        yield Found(step, place, name, excerpt.part, len(hits), snippet(text, hits[0].span()))

    def verify(self) -> Verified:
        """Compute what every recorded step was trained on again, and compare. Raises ArtefactError if it is not the same."""
        num_steps, steps = self.steps_done, range(self.options.first_step + 1, self.steps_done + 1)
        silent = [step for step in steps if not self.digests.get(step)]
        if silent:
            more = f", nor of {len(silent) - 1:,} other steps" if len(silent) > 1 else ""
            raise ArtefactError(f"{self.folder}: metrics.jsonl has no digest of step {silent[0]} of {self.stage}{more}")
        differ = [step for step in steps if self.order.digest(step - 1) != self.digests[step]]
        if differ:
            raise ArtefactError(
                f"{self.folder}: step {differ[0]} of {self.stage} was trained on other tokens than its shards and run.toml give now "
                f"(logged {self.digests[differ[0]]}, computed {self.order.digest(differ[0] - 1)}); "
                f"{len(differ):,} of {len(steps):,} steps differ"
            )
        num_rows, sha256 = len(steps) * self.options.rows_per_step, self.order.sha256(self.options.first_step, num_steps)
        return Verified(self.stage, len(steps), num_rows, num_rows * self.options.seq_len, sha256)

    def trace(self, text: str, *, shortest: int = SHORTEST, num_phrases: int = 10, num_documents: int = 5) -> Iterator[Phrase]:
        """The longest phrases of a text that the training text has, how often, in which documents, and at which steps they were seen."""
        num_steps, phrases = self.steps_done, []
        for number, (part, shard) in enumerate(self.lineage.shards.items()):
            query, matches = max(
                (self._matches(written, shard.tokens, shortest) for written in (text, f" {text.lstrip()}")),
                key=lambda found: sum(match.length for match in found[1]),
            )
            phrases += [(match.length, number, part, query, match) for match in matches]
        for length, number, part, query, match in sorted(phrases, key=lambda phrase: -phrase[0])[:num_phrases]:
            seen = []
            for start in match.starts[:num_documents]:
                [excerpt, *_] = self.lineage.of(Span(int(start), length, number))
                places = self.order.places_with(Span(int(start), length, number), num_steps, is_whole=True)
                steps = sorted({int(place) // self.options.rows_per_step + 1 for place in places})
                document = self.lineage.document(excerpt)
                seen.append((document.id, document.source, excerpt.first, steps))
            words = self.tokenizer.decode(query[match.first : match.first + length], skip_special=False)
            yield Phrase(words, length, len(match.starts), part, tuple(seen))

    def _matches(self, text: str, tokens: np.ndarray, shortest: int) -> tuple[np.ndarray, list[Match]]:
        query = self.tokenizer.encode(text)
        return query, longest_matches(tokens, query, shortest=shortest)

    def _numbers_of(self, step: int) -> np.ndarray:
        if not 1 <= step <= self.options.steps:
            raise ConfigError(f"step is {step}; {self.stage} has steps 1 to {self.options.steps:,}")
        return self.order.source.rows_at((step - 1) * self.options.rows_per_step, self.options.rows_per_step)
