"""prepare: raw text to a clean corpus, with a held-out part and a funnel of what was dropped and why."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from trivium.core.commit import commit, commit_file
from trivium.core.config import component
from trivium.core.errors import DataError
from trivium.core.progress import Progress
from trivium.core.run import Run
from trivium.core.seeds import generator
from trivium.core.types import Document
from trivium.core.world import num_cores
from trivium.stages.base import Foresight, Work, resolve
from trivium.text.decontaminate import Contamination, Evaluations, OnOverlap, without_evaluations
from trivium.text.dedup import SHORTEST_COPY, ExactDedup, LineDedup, NearDedup, SubstringDedup
from trivium.text.filters import Filter
from trivium.text.near_duplicates import cluster_rows, drop_near_duplicates
from trivium.text.pii import Kind
from trivium.text.pipeline import DUPLICATE, Count, Funnel, clean
from trivium.text.read import check_head, read_documents, read_texts
from trivium.text.repeated import cut_copies, cut_shared_lines
from trivium.text.write import document_row, write_jsonl

CLUSTERS = "near_duplicates.jsonl"


@component
class Prepare:
    """Read, filter, drop exact duplicates, shuffle, and split; leaves `@prepare/corpus` with train.jsonl.zst and heldout.jsonl.zst.

    heldout_share is the share of documents kept for evaluation. The corpus is shuffled in memory.

    line_dedup: a line of at least 20 characters that so many documents share stays in the first of them and is cut from the others
    (5 is usual, 0: off). substring_dedup: a passage of at least so many characters that stood before is cut (200 is usual, 0: off).
    Switch them on for pages with menus and boilerplate; what is cut is counted and sampled.
    near_dedup: Jaccard similarity from which a document is dropped for an earlier one (0.8 is usual, Pythia's 0.87; 0: off). Switch it
    on for text of the web and wherever copies differ a little; it takes 512 bytes of memory a document and leaves
    near_duplicates.jsonl. decontaminate: sources of evaluation texts; switch it on when the model will be
    compared on them. on_overlap: whether a document that has 13 words of one in a row is dropped, loses them with what
    is around, or is only flagged; all is counted in decontamination.json.

    scrub: kinds of personal data (`["email", "ip", "phone", "iban", "card", "key"]`) that are replaced by placeholders, for text of
    unknown people that a model may repeat; the report counts and shows what was done.
    """

    kind: Literal["prepare"] = "prepare"
    sources: tuple[str, ...] = Field(min_length=1)
    filters: tuple[Filter, ...] = ()
    scrub: tuple[Kind, ...] = ()
    has_dedup: bool = True
    heldout_share: float = Field(default=0.01, gt=0, lt=1)
    line_dedup: int = Field(default=0, ge=0)
    substring_dedup: int = Field(default=0, ge=0)
    near_dedup: float = Field(default=0.0, ge=0, le=1)
    decontaminate: tuple[str, ...] = ()
    on_overlap: OnOverlap = "drop"
    max_documents: int = Field(default=0, ge=0)  # read at most this many; 0: all

    def __post_init__(self) -> None:
        if self.line_dedup == 1:
            raise ValueError("line_dedup is 1; a line is shared by at least 2 documents (5 is usual, 0: off)")
        if 0 < self.substring_dedup < SHORTEST_COPY:
            raise ValueError(
                f"substring_dedup is {self.substring_dedup}; below {SHORTEST_COPY} characters ordinary phrases are copies (200 is usual, 0: off)"
            )

    def check(self) -> None:
        for source in self.sources:
            if not source.startswith("@"):
                check_head(source, "documents")
        for source in self.decontaminate:
            if not source.startswith("@"):
                check_head(source, "texts")

    def foresee(self, name: str, known: Foresight) -> Work:
        return Work(seconds=5.0)

    def run(self, run: Run) -> Mapping[str, Any]:
        funnel = Funnel()
        read = chain.from_iterable(read_documents(str(resolve(run, source))) for source in self.sources)
        dedup = ExactDedup() if self.has_dedup else None
        shown = _shown(run, islice(read, self.max_documents or None))
        cleaned = clean(shown, self.filters, dedup, funnel=funnel, scrub=self.scrub, num_workers=num_cores())
        documents = list(self._decontaminated(run, cleaned, funnel))
        if self.near_dedup:  # before anything is cut: what is left of a near duplicate is no longer like its original
            documents = self._without_near_duplicates(run, documents, funnel)
        if self.line_dedup:
            documents = cut_shared_lines(documents, LineDedup(min_documents=self.line_dedup), funnel=funnel)
        if self.substring_dedup:
            documents = cut_copies(documents, SubstringDedup(min_chars=self.substring_dedup), funnel=funnel)
        if len(documents) < 2:
            raise DataError(
                f"only {len(documents)} of {funnel.read.documents:,} documents are left after cleaning; loosen the filters or add sources"
            )
        order = generator(run.seed, "shuffle documents").permutation(len(documents))
        num_heldout = max(1, round(len(documents) * self.heldout_share))

        def write(folder: Any) -> None:
            write_jsonl(folder / "heldout.jsonl.zst", (document_row(documents[i]) for i in order[:num_heldout]))
            write_jsonl(folder / "train.jsonl.zst", (document_row(documents[i]) for i in order[num_heldout:]))

        commit(run.folder / "corpus", write, kind="corpus", meta={"documents": len(documents), "sources": list(self.sources)})
        commit_file(run.folder / "funnel.json", json.dumps(_report_form(funnel), indent=1, ensure_ascii=False))
        run.log(
            f"kept {funnel.kept.documents:,} of {funnel.read.documents:,} documents ({funnel.kept.bytes / 1e6:.1f} MB), "
            f"dropped {funnel.duplicates.documents:,} exact duplicates"
        )
        for kind, replaced in funnel.replaced.items():
            run.log(f"replaced {replaced.count:,} of kind {kind} by <{kind.upper()}> in {replaced.documents:,} documents")
        return {"documents": funnel.kept.documents, "bytes": funnel.kept.bytes}

    def _decontaminated(self, run: Run, documents: Iterable[Document], funnel: Funnel) -> Iterator[Document]:
        """The stream without what it shares with evaluation texts; writes what that was when it ends."""
        if not self.decontaminate:
            yield from documents
            return
        contamination = Contamination(
            Evaluations({name: read_texts(str(resolve(run, source))) for name, source in benchmark_names(self.decontaminate).items()})
        )
        yield from without_evaluations(documents, contamination, self.on_overlap, funnel=funnel)
        report = contamination.to_dict()
        commit_file(run.folder / "decontamination.json", json.dumps(report, indent=1, ensure_ascii=False))
        for name, found in report.items():
            run.log(
                f"{name}: {found['hit_items']:,} of {found['items']:,} evaluation texts are in {found['documents']:,} documents "
                f"({self.on_overlap}); {found['too_short']:,} are too short to be recognised"
            )

    def _without_near_duplicates(self, run: Run, documents: list[Document], funnel: Funnel) -> list[Document]:
        """The documents that are like none before; writes who went for whom."""
        kept, clusters = drop_near_duplicates(documents, NearDedup(threshold=self.near_dedup), funnel=funnel)
        rows = cluster_rows(documents, clusters)
        commit_file(run.folder / CLUSTERS, lambda path: write_jsonl(path, rows))
        skipped = f"; {clusters.num_skipped:,} texts of one template were not compared with all others" if clusters.num_skipped else ""
        run.log(f"dropped {len(documents) - len(kept):,} near duplicates (similarity {self.near_dedup:g}){skipped}")
        return kept


def benchmark_names(sources: Sequence[str]) -> dict[str, str]:
    """What evaluation sources are called in reasons and reports -> the source: the file's name alone, where that tells them apart."""
    short = [Path(source).name.split(".")[0] for source in sources]
    return {name if name and short.count(name) == 1 else source: source for name, source in zip(short, sources, strict=True)}


def _shown(run: Run, documents: Iterable[Document]) -> Iterator[Document]:
    """Pass documents on, with a line of progress now and then; their number is not known beforehand."""
    with Progress(run.stage, 0) as progress:
        for count, document in enumerate(documents):
            if count % 1000 == 0:
                progress.update(0, f"{count:,} documents read")
            yield document


def _report_form(funnel: Funnel) -> dict[str, Any]:
    """The funnel as the report reads it."""

    def listed(counts: Mapping[str, Count]) -> list[dict[str, Any]]:
        return [
            {
                "reason": reason,
                "documents": count.documents,
                "bytes": count.bytes,
                "samples": [sample["text"] for sample in funnel.samples[reason]],
            }
            for reason, count in counts.items()
            if reason != DUPLICATE
        ]

    ends = {
        name: {"documents": count.documents, "bytes": count.bytes}
        for name, count in (("read", funnel.read), ("duplicates", funnel.duplicates), ("kept", funnel.kept))
    }
    gone = {"dropped": listed(funnel.dropped)} | ({"cut": listed(funnel.cut)} if funnel.cut else {})
    counts = funnel.to_dict()
    return ends | gone | {name: counts[name] for name in ("replaced", "scrubbed")}
