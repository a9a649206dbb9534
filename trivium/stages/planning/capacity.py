"""`prepare --plan 1e12`: what a corpus of so many tokens takes, from rates measured on a sample of the sources on this machine.

Left out, and said so: taking the text out of web pages, which a process of its own does.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import zstandard

from trivium.core.config import parse_overrides
from trivium.core.errors import ConfigError, DataError
from trivium.core.types import Document
from trivium.report.quantities import in_books
from trivium.report.units import size
from trivium.stages.prepare import Prepare
from trivium.stages.recipe import single
from trivium.text.assets import ASSETS
from trivium.text.cleaning import Cleaning, units_of
from trivium.text.decontaminate import Contamination, Evaluations, settle_overlaps
from trivium.text.dedup import LineDedup, NearDedup, SubstringDedup
from trivium.text.hub import is_hub
from trivium.text.judge import batches
from trivium.text.marks import Marks, first_of_each
from trivium.text.pipeline import Funnel, settle
from trivium.text.read import files_of
from trivium.text.rows import HTML, format_of
from trivium.text.store import row_bytes
from trivium.text.tokenizer import train_bpe
from trivium.text.whole import cut_copies, cut_shared_lines
from trivium.text.workers import Task

SAMPLE_CHARS = 16 << 20
_LEAST_BYTES = 1_000_000  # read; rates of less are those of starting
_VOCAB_SIZE = 8192
_TRAINING_CHARS = 2 << 20
_BYTES_A_DOCUMENT = {"digest": 16, "while they are sorted": 32, "near duplicates": 56}  # of memory, marks/NearDedup


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """What was measured on one core. Rates in bytes of text a second, of what is read (read, clean) or kept."""

    num_read: int
    bytes_read: int
    documents: list[Document]
    marks: Marks
    read: float
    clean: float
    write: float
    compress: float
    encode: float
    bytes_a_token: float
    compressed: float
    near: float  # documents a second
    decontaminate: float = math.inf
    lines: float = math.inf
    copies: float = math.inf

    @property
    def bytes_kept(self) -> int:
        """UTF-8 bytes of what the filters keep."""
        return sum(len(document.text.encode()) for document in self.documents)


def plan_of(options: Sequence[str], tokens: float) -> str:
    """The plan for options as the command line has them. Raises ConfigError."""
    if not (math.isfinite(tokens) and tokens >= 1):
        raise ConfigError(f"'plan' is {tokens:g}; it is a number of tokens, such as 1e12")
    [stage] = single("prepare", parse_overrides(options)).stages.values()
    assert isinstance(stage, Prepare)
    stage.check()
    return plan(stage, tokens)


def measure(stage: Prepare) -> Sample:
    """Clean a sample of the sources as `prepare` does, on one core. Raises DataError if nothing is kept."""
    cleaning = stage.cleaning()
    task = Task(cleaning.filters, cleaning.scrub, has_marks=True, minhash=cleaning.minhash)
    documents, reading = _timed(lambda: list(_head(stage)))
    if not documents:
        raise DataError("the sources hold no document to measure with")
    bytes_read = sum(len(document.text.encode()) for document in documents)
    judged, judging = _timed(lambda: list(map(task, batches(documents))))
    kept = [document for one in judged for document in settle(one, Funnel())]
    if not kept:
        raise DataError(f"the filters keep none of the first {len(documents):,} documents, so there is nothing to measure")
    size = sum(len(document.text.encode()) for document in kept)
    rows, writing = _timed(lambda: b"".join(map(row_bytes, kept)))
    packed, packing = _timed(lambda: zstandard.ZstdCompressor(level=3).compress(rows))
    tokenizer = train_bpe(_first_chars(kept), _VOCAB_SIZE)
    num_tokens, encoding = _timed(
        lambda: sum(len(ids) for batch in batches(kept) for ids in tokenizer.encode_batch([document.text for document in batch]))
    )
    found = [one.marks for one in judged if one.marks is not None]
    marks = Marks(np.concatenate([each.digest_D for each in found]), np.concatenate([each.signature_DK for each in found]))
    decontaminate, lines, copies = (size / seconds for seconds in _other_passes(stage, cleaning, kept))
    return Sample(
        num_read=len(documents), bytes_read=bytes_read, documents=kept, marks=marks, read=bytes_read / reading, clean=bytes_read / judging,
        write=size / writing, compress=size / packing, encode=size / encoding, bytes_a_token=size / num_tokens,
        compressed=len(packed) / size, near=_near_rate(stage, marks), decontaminate=decontaminate, lines=lines, copies=copies,
    )  # fmt: skip


def plan(stage: Prepare, tokens: float, sample: Sample | None = None) -> str:
    """Core-hours, disk and memory for so many tokens that are kept, as lines."""
    found = sample or measure(stage)
    kept = tokens * found.bytes_a_token
    read = kept * found.bytes_read / found.bytes_kept
    documents = kept / found.bytes_kept * len(found.documents)
    work = {
        "reading": read / found.read,
        "cleaning" + (" and signatures" if stage.near_dedup else ""): read / found.clean,
        "writing pieces and the corpus": kept / found.write + kept / found.compress,
        "tokenizing": kept / found.encode,
    }
    whole = {"near duplicates": documents / found.near} if stage.near_dedup else {}
    work |= {"evaluation texts": kept / found.decontaminate} if stage.decontaminate else {}
    whole |= {"lines of many documents": kept / found.lines} if stage.line_dedup else {}
    whole |= {"passages that came before": kept / found.copies} if stage.substring_dedup else {}
    memory = _BYTES_A_DOCUMENT["digest"] + max(
        _BYTES_A_DOCUMENT["while they are sorted"], _BYTES_A_DOCUMENT["near duplicates"] * bool(stage.near_dedup)
    )
    signatures = documents * found.marks.signature_DK.shape[1] * 4
    lines = [
        f"measured on {found.num_read:,} documents, {found.bytes_read / 1e6:.1f} MB: {found.bytes_kept / found.bytes_read:.1%} of it kept, "
        f"{found.bytes_a_token:.2f} bytes a token with a vocabulary of {_VOCAB_SIZE:,}",
        f"{tokens:.3g} tokens, {in_books(tokens)}, are {size(kept)} of text in {documents:,.3g} documents; {size(read)} to be read",
        *(f"{name:<32} {seconds / 3600:>12,.1f} core-hours ({read / 1e6 / seconds:,.1f} MB/s a core)" for name, seconds in work.items()),
        *(f"{name:<32} {seconds / 3600:>12,.1f} hours on one core, after all the rest" for name, seconds in whole.items()),
        f"{'together':<32} {sum(work.values()) / 3600:>12,.1f} core-hours; on 100 cores {sum(work.values()) / 360000:,.1f} hours",
        f"disk: {size(kept * 1.02 + documents * 16 + signatures)} for pieces while it runs, "
        f"{size(kept * found.compressed)} for the corpus, {size(2 * tokens)} for tokens (vocabulary up to 65,536)",
        f"memory: {size(documents * memory)} where the whole corpus is looked at, about 1 GB for every process that cleans",
    ]
    return "\n".join(lines + _cautions(stage, found))


def _cautions(stage: Prepare, found: Sample) -> list[str]:
    """What the plan does not know."""
    cautions = []
    if found.bytes_read < _LEAST_BYTES:
        cautions.append(f"caution: only {found.bytes_read / 1e6:.2f} MB measured; below 1 MB rates are a guess; give more text")
    if stage.line_dedup or stage.substring_dedup:
        cautions.append("left out: memory for lines and passages, 1 to 4 GB and more passes over the text when that is not enough")
    sources = [source for source in stage.sources if source not in ASSETS and not is_hub(source)]
    if any(format_of(file) in HTML for source in sources for file in files_of(source)):
        cautions.append("left out: taking the text out of web pages, which a process of its own does")
    return cautions


def _other_passes(stage: Prepare, cleaning: Cleaning, documents: list[Document]) -> tuple[float, float, float]:
    """Seconds that decontamination, line and substring deduplication take; about none for what the options do not ask for."""
    contamination = Contamination(Evaluations(cleaning.evaluations))
    passes: list[tuple[Any, Callable[[], Any]]] = [
        (stage.decontaminate, lambda: settle_overlaps(documents, contamination, cleaning.on_overlap, funnel=Funnel())),
        (stage.line_dedup, lambda: list(cut_shared_lines(documents, LineDedup(min_documents=stage.line_dedup), funnel=Funnel()))),
        (stage.substring_dedup, lambda: list(cut_copies(documents, SubstringDedup(min_chars=stage.substring_dedup), funnel=Funnel()))),
    ]
    first, second, third = (_timed(call)[1] if is_asked else 1e-6 for is_asked, call in passes)
    return first, second, third


def _head(stage: Prepare) -> Iterator[Document]:
    """The first documents of the sources, up to SAMPLE_CHARS; each source gives its share."""
    on_skip = None if stage.unreadable == "stop" else lambda _: None
    for source in stage.sources:
        size = 0
        for document in chain.from_iterable(unit.documents(on_skip) for unit in units_of([source])):
            size += len(document.text)
            yield document
            if size >= SAMPLE_CHARS // len(stage.sources):
                break


def _first_chars(documents: list[Document]) -> Iterator[str]:
    size = 0
    for document in documents:
        size += len(document.text)
        yield document.text
        if size >= _TRAINING_CHARS:
            return


def _near_rate(stage: Prepare, marks: Marks) -> float:
    """Documents a second of what is done with the marks of the whole corpus."""
    digest_D, signature_DK = marks.digest_D, marks.signature_DK
    times = max(1, 20_000 // max(1, len(digest_D)))  # too few would measure the calls
    _, seconds = _timed(lambda: first_of_each(np.tile(digest_D, (times, 1))))
    if stage.near_dedup:
        salted = np.concatenate([signature_DK ^ np.uint32(number) for number in range(times)])
        seconds += _timed(lambda: NearDedup(threshold=stage.near_dedup)(salted, np.arange(len(salted))))[1]
    return times * len(digest_D) / seconds


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """What it returns, and the processor seconds of all threads that it took."""
    started = time.process_time()
    return call(), max(time.process_time() - started, 1e-6)
