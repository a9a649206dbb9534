"""A synthesizer reads every text, piece by piece on disk.

A piece holds the chains that fill the engine's rows a few times, with all their rounds; it is committed, below the stage's checkpoints,
when it is whole. So a stage that was killed goes on after its last piece, and memory does not grow with the corpus. What is written about a
text depends on (seed, name of the stage, number of the text, weights), not on its neighbours in the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trivium.core.errors import DataError
from trivium.core.run import Run
from trivium.core.types import Example
from trivium.stages.computing.answering import ROUNDS
from trivium.stages.computing.models import Speaker, engine_of
from trivium.stages.pieces import in_pieces
from trivium.synth.rounds import Item, chains, synthesize
from trivium.synth.template import Dropped, Template
from trivium.text.records.readings import Pair, Reading

if TYPE_CHECKING:
    from trivium.stages.synthesize import Synthesize

KIND = "chains of texts with pairs"


def written(options: Synthesize, run: Run, read: Callable[[], Iterable[Reading]]) -> Callable[[], Iterator[list[Item]]]:
    """Synthesize for all texts, which are read once to count them and once a round, from the first piece that is not there yet.

    Returns what gives the chains, in order. Raises DataError if there is no text, ArtefactError if the model is no synthesizer.
    """
    speaker = Speaker.of(run, options.model)
    template = Template.of(speaker.tokenizer, speaker.chat)
    total = sum(1 for _ in read())
    room = speaker.model.config.max_seq_len - options.sampling.max_new_tokens
    if not total or room < 1:
        raise DataError(
            "there is no text to read"
            if not total
            else f"the model reads {room + options.sampling.max_new_tokens:,} tokens, and as many may be new; lower sampling.max_new_tokens"
        )
    engine = engine_of(run, speaker, rows=options.rows)

    def make(_: int, part: Sequence[Sequence[tuple[int, Reading]]], on_done: Callable[[int], None]) -> Iterator[dict[str, Any]]:
        done = 0

        def generate(prompts: Sequence[np.ndarray], numbers: Sequence[int]) -> list[Example]:
            nonlocal done
            before, done = done, done + len(prompts)
            return engine.generate(
                prompts, options.sampling, seed=run.seed, purpose=run.stage, numbers=numbers, on_done=lambda new: on_done(before + new)
            )

        given = [[reading for _, reading in members] for members in part]
        found = synthesize(given, [[which for which, _ in members] for members in part], template, generate, room=room)
        return ({"texts": [_entry(item) for item in members]} for members in found)

    stream = chains(lambda: enumerate(read()), total, options.rounds)
    block, size = -(-total // options.rounds), ROUNDS * options.rows
    pieces = in_pieces(run, stream, make, total=block, size=size, kind=KIND, steps=options.rounds)
    return lambda: ([_item(entry) for entry in row["texts"]] for row in pieces())


def _entry(item: Item) -> dict[str, Any]:
    reading = item.reading
    return {
        "context": reading.context, "pairs": [[pair.question, pair.answer] for pair in reading.pairs], "source": reading.source,
        "meta": dict(reading.meta), "follows": item.follows, "dropped": [[gone.reason, gone.text] for gone in item.dropped],
        "tokens": item.tokens,
    }  # fmt: skip


def _item(entry: dict[str, Any]) -> Item:
    reading = Reading(entry["context"], tuple(Pair(*pair) for pair in entry["pairs"]), entry["source"], entry["meta"])
    return Item(reading, entry["follows"], tuple(Dropped(*gone) for gone in entry["dropped"]), entry["tokens"])
