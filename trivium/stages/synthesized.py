"""What `synthesize` leaves of chains of texts with pairs: readings, text for pre-training, what was dropped, and a few to look at.

Chains are read from the start for each file, one at a time; nothing but counts and a few samples is held.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, count, islice
from typing import Any

from trivium.core.errors import DataError
from trivium.core.run import Run
from trivium.core.seeds import generator
from trivium.data.order import epoch_rows
from trivium.stages.base import commit_rows, sample_row
from trivium.synth.forms import Form, drawn
from trivium.synth.rounds import Item, chains, runs
from trivium.synth.tally import Tally
from trivium.text.records.readings import Reading

READINGS = "readings.jsonl.zst"

Chains = Callable[[], Iterable[Sequence[Item]]]
Read = Callable[[], Iterable[Reading]]


def known_chains(read: Read, rounds: int, *, is_shuffled: bool, seed: int) -> Chains:
    """Chains of texts whose pairs are known. is_shuffled: each text has the pairs of another. Raises DataError for fewer than two texts."""
    total = sum(1 for _ in read())
    if total < 2:
        raise DataError(f"there {'is one text' if total else 'is no text'} with questions; at least 2 are needed")
    away = int(generator(seed, "shuffled pairs").integers(1, total)) if is_shuffled else 0

    def paired() -> Iterator[Reading]:
        others = chain(islice(read(), away, None), islice(read(), away))
        return (replace(own, pairs=other.pairs) for own, other in zip(read(), others, strict=True))

    return lambda: ([*_known(members)] for members in chains(paired if is_shuffled else read, total, rounds))


def leave(run: Run, found: Chains, heldout_share: float) -> Tally:
    """Commit everything below the stage's folder. Raises DataError where the texts make one new text only."""
    tally = Tally()

    def rows() -> Iterator[dict[str, Any]]:
        for item in _in_order(found):
            tally.count(item)
            yield _reading_row(item.reading)

    commit_rows(run.folder / "readings", {READINGS: rows()}, kind="readings")
    for readings, form, text in _texts(found, run.seed):
        tally.count_document(readings, form, text)
    if tally.documents < 2:
        raise DataError(
            f"{tally.texts:,} texts make one new text, which cannot be held out and trained on; lower rounds, or give more texts"
        )
    num_heldout = min(tally.documents - 1, max(1, round(heldout_share * tally.documents)))
    heldout = set(epoch_rows(0, num_heldout, tally.documents, run.seed, "held-out texts").tolist())

    def documents(*, is_heldout: bool) -> Iterator[dict[str, Any]]:
        return (_row(*text) for number, text in enumerate(_texts(found, run.seed)) if (number in heldout) == is_heldout)

    files = {"heldout.jsonl.zst": documents(is_heldout=True), "train.jsonl.zst": documents(is_heldout=False)}
    commit_rows(run.folder / "corpus", files, kind="corpus", meta={"documents": tally.documents})
    run.leave("funnel.json", tally.funnel())
    shown = [sample_row(run.stage, each.context, _said(each), stopped=True) for each in tally.shown]
    run.leave("samples.json", shown)
    return tally


def _in_order(found: Chains) -> Iterator[Item]:
    """All texts in the order of the corpus: those of the first round, then those of the second; chains are read once a round."""
    for number in count():
        members = (each[number] for each in found() if number < len(each))
        first = next(members, None)
        if first is None:
            return
        yield first
        yield from members


def _known(members: Iterable[Reading]) -> Iterator[Item]:
    """Texts with known pairs, each after the one before it where both have some."""
    before = False
    for reading in members:
        yield Item(reading, before and bool(reading.pairs))
        before = bool(reading.pairs)


def _texts(found: Chains, seed: int) -> Iterator[tuple[list[Reading], Form | None, str]]:
    """Every new text: what it is made of, its form, and itself. One without pairs is as it was."""
    for number, readings in enumerate(made for members in found() for made in runs(members)):
        if not readings[0].pairs:
            yield readings, None, readings[0].context
            continue
        form = drawn(readings, seed, number)
        yield readings, form, form(readings)


def _row(readings: Sequence[Reading], form: Form | None, text: str) -> dict[str, Any]:
    """A document; `meta` says how it was made."""
    ids = [str(reading.meta.get("id", "")) for reading in readings]
    pairs = [_pairs(reading) for reading in readings]
    return {
        "text": text, "id": ids[0], "source": readings[0].source,
        "meta": {"form": form.name if form else "raw", "ids": ids, "pairs": pairs},
    }  # fmt: skip


def _reading_row(reading: Reading) -> dict[str, Any]:
    return {"context": reading.context, "pairs": _pairs(reading), "source": reading.source, **reading.meta}


def _pairs(reading: Reading) -> list[dict[str, str]]:
    return [{"question": pair.question, "answer": pair.answer} for pair in reading.pairs]


def _said(reading: Reading) -> str:
    return "\n".join(f"{pair.question} -> {pair.answer}" for pair in reading.pairs)
