"""prepare: raw text to a clean corpus, with a held-out part and a funnel of what was dropped and why."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from trivium.core.commit import commit, commit_file
from trivium.core.config import Texts, component
from trivium.core.errors import ConfigError, DataError
from trivium.core.progress import counted
from trivium.core.run import CHECKPOINTS, Run
from trivium.core.seeds import generator
from trivium.core.world import num_cores
from trivium.stages.base import Foresight, Unreadable, Work, check_data
from trivium.text.cleaning import DIGESTS, Cleaning, clean_units, counts_of, gathered, units_of
from trivium.text.decontaminate import Contamination, Evaluations, OnOverlap
from trivium.text.dedup import SHORTEST_COPY, LineDedup, MinHash, NearDedup, SubstringDedup
from trivium.text.filters import Filter
from trivium.text.pii import Kind
from trivium.text.pipeline import DAMAGED, UNREADABLE, Funnel
from trivium.text.read import read_texts
from trivium.text.store import Documents, Joined, Selected, Store, document_row, in_order, stored
from trivium.text.whole import cluster_rows, cut_copies, cut_shared_lines, drop_duplicates, drop_near_duplicates
from trivium.text.write import write_jsonl

CLUSTERS = "near_duplicates.jsonl"
_BLOCK_BYTES = 64 << 20  # of text that is put in order at once


@component
class Prepare:
    """Read, filter, drop exact duplicates, shuffle, and split; leaves `@prepare/corpus` with train.jsonl.zst and heldout.jsonl.zst.

    heldout_share is the share of documents kept for evaluation. Text is read once, piece by piece; what is done is kept, so a run that
    was stopped goes on where it was, and only some of the text is in memory at a time. pieces: a folder for them that other processes
    fill too (`trivium data clean`); otherwise they are in the run folder until the stage ends. unreadable: whether a record that
    cannot be read stops the run, or is left out and counted, and a damaged file read up to the damage.

    line_dedup: a line of at least 20 characters that so many documents share stays in the first of them and is cut from the others
    (5 is usual, 0: off). substring_dedup: a passage of at least so many characters that stood before is cut (200 is usual, 0: off).
    Switch them on for pages with menus and boilerplate; what is cut is counted and sampled.
    near_dedup: Jaccard similarity from which a document is dropped for an earlier one (0.8 is usual, Pythia's 0.87; 0: off). It is
    estimated, so that nearly all from it on go, and many of those up to 0.07 below it. Switch it on for text of the web and wherever
    copies differ a little; it takes 512 bytes of disk a document and leaves
    near_duplicates.jsonl. decontaminate: sources of evaluation texts; switch it on when the model will be
    compared on them. on_overlap: whether a document that has 13 words of one in a row is dropped, loses them with what
    is around, or is only flagged; all is counted in decontamination.json.

    scrub: kinds of personal data (`["email", "ip", "phone", "iban", "card", "key"]`) that are replaced by placeholders, for text of
    unknown people that a model may repeat; the report counts and shows what was done.
    """

    kind: Literal["prepare"] = "prepare"
    sources: Texts = Field(min_length=1)
    filters: tuple[Filter, ...] = ()
    scrub: tuple[Kind, ...] = ()
    has_dedup: bool = True
    heldout_share: float = Field(default=0.01, gt=0, lt=1)
    line_dedup: int = Field(default=0, ge=0)
    substring_dedup: int = Field(default=0, ge=0)
    near_dedup: float = Field(default=0.0, ge=0, le=1)
    decontaminate: Texts = ()
    on_overlap: OnOverlap = "drop"
    max_documents: int = Field(default=0, ge=0)  # read at most this many; 0: all
    unreadable: Unreadable = "stop"
    pieces: str = ""

    def __post_init__(self) -> None:
        if not all(self.sources):
            raise ValueError("sources has an empty name; a name is a file, a folder, a pattern or an asset")
        if self.line_dedup == 1:
            raise ValueError("line_dedup is 1; a line is shared by at least 2 documents (5 is usual, 0: off)")
        if 0 < self.substring_dedup < SHORTEST_COPY:
            raise ValueError(
                f"substring_dedup is {self.substring_dedup}; below {SHORTEST_COPY} characters ordinary phrases are copies"
                " (200 is usual, 0: off)"
            )

    def check(self) -> None:
        for source in self.sources:
            if self.pieces and Path(source).is_dir() and Path(self.pieces).resolve().is_relative_to(Path(source).resolve()):
                raise ConfigError(f"pieces is {self.pieces}, inside of the source {source}; they would be read as text: put them elsewhere")
            check_data(source, "documents", is_lenient=self.unreadable == "skip")
        for source in self.decontaminate:
            check_data(source, "texts")

    def foresee(self, name: str, known: Foresight) -> Work:
        return Work(seconds=5.0)

    def run(self, run: Run) -> Mapping[str, Any]:
        work = run.folder / CHECKPOINTS
        cleaning = self.cleaning(run.path)
        pieces = self._cleaned(run, cleaning, Path(self.pieces) if self.pieces else work / "pieces")
        contamination = Contamination(Evaluations(cleaning.evaluations)) if self.decontaminate else None
        funnel = counts_of(pieces, contamination)
        documents = self._deduplicated(run, pieces, work, funnel)
        if len(documents) < 2:
            raise DataError(_too_few(len(documents), funnel))
        order = generator(run.seed, "shuffle documents").permutation(len(documents))
        num_heldout = max(1, round(len(documents) * self.heldout_share))
        block = max(1, _BLOCK_BYTES * len(documents) // max(1024 * len(documents), funnel.kept.bytes))  # an empty one takes memory too

        def write(folder: Path) -> None:
            for name, numbers in (("heldout", order[:num_heldout]), ("train", order[num_heldout:])):
                write_jsonl(folder / f"{name}.jsonl.zst", map(document_row, in_order(documents, numbers, block=block)))

        commit(run.folder / "corpus", write, kind="corpus", meta={"documents": len(documents), "sources": list(self.sources)})
        run.leave("funnel.json", funnel.to_report())
        self._say(run, funnel, contamination)
        return {"documents": funnel.kept.documents, "bytes": funnel.kept.bytes}

    def cleaning(self, folder: Path = Path()) -> Cleaning:
        """What is done to every document by itself. folder: of the run, where `@` begins."""
        names = benchmark_names(self.decontaminate)
        evaluations = {name: list(read_texts(_located(folder, source))) for name, source in names.items()}
        minhash = MinHash() if self.near_dedup else None
        return Cleaning(self.filters, self.scrub, minhash, evaluations, self.on_overlap, is_lenient=self.unreadable == "skip")

    def _cleaned(self, run: Run, cleaning: Cleaning, folder: Path) -> list[Path]:
        units = units_of([_located(run.path, source) for source in self.sources], self.max_documents)
        with run.progress(len(units) if len(units) > 1 else 0) as progress:
            return clean_units(
                units, cleaning, folder, num_workers=num_cores(), on_note=run.log,
                on_progress=lambda done, documents, chars: progress.update(
                    done, f"{counted(documents, 'document')}, {chars / 1e6:,.0f} MB read, {chars / 1e6 / progress.seconds:,.1f} MB/s"
                ),
            )  # fmt: skip

    def _deduplicated(self, run: Run, pieces: Sequence[Path], work: Path, funnel: Funnel) -> Documents:
        """The documents that stay when the whole corpus is known, with what is left of them."""
        joined = Joined([Store.open(piece) for piece in pieces])
        selected = Selected(joined, np.arange(len(joined)))
        if self.has_dedup:
            digest_D = np.concatenate([np.load(piece / DIGESTS) for piece in pieces])
            selected = drop_duplicates(joined, digest_D, funnel=funnel)
        documents: Documents = selected
        if self.near_dedup:  # before anything is cut: what is left of a near duplicate is no longer like its original
            signature_DK = gathered(pieces, selected.index_K, work / "signatures.bin")
            documents, clusters = drop_near_duplicates(
                selected, NearDedup(threshold=self.near_dedup), funnel=funnel, signature_DK=signature_DK
            )
            commit_file(run.folder / CLUSTERS, lambda path: write_jsonl(path, cluster_rows(selected, clusters)))
            skipped = f"; {clusters.num_skipped:,} texts of one template were not compared with all others" if clusters.num_skipped else ""
            run.log(f"dropped {len(selected) - len(documents):,} near duplicates (similarity {self.near_dedup:g}){skipped}")
        if self.line_dedup:
            documents = stored(cut_shared_lines(documents, LineDedup(min_documents=self.line_dedup), funnel=funnel), work / "lines")
        if self.substring_dedup:
            documents = stored(cut_copies(documents, SubstringDedup(min_chars=self.substring_dedup), funnel=funnel), work / "copies")
        return documents

    def _say(self, run: Run, funnel: Funnel, contamination: Contamination | None) -> None:
        """Tell what became of the text; writes decontamination.json."""
        run.log(
            f"kept {funnel.kept.documents:,} of {funnel.read.documents:,} documents ({funnel.kept.bytes / 1e6:.1f} MB), "
            f"dropped {funnel.duplicates.documents:,} exact duplicates"
        )
        for reason, what, fate in ((UNREADABLE, "record", "that cannot be read"), (DAMAGED, "end", "of a damaged file")):
            if reason in funnel.dropped:
                number, first = funnel.dropped[reason].documents, funnel.samples[reason][0]["text"]
                run.log(f"left out {counted(number, what)} {fate}; the first: {first}")
        for kind, replaced in funnel.replaced.items():
            run.log(f"replaced {replaced.count:,} of kind {kind} by <{kind.upper()}> in {replaced.documents:,} documents")
        if contamination is None:
            return
        report = contamination.to_dict()
        run.leave("decontamination.json", report)
        for name, found in report.items():
            run.log(
                f"{name}: {found['hit_items']:,} of {found['items']:,} evaluation texts are in {found['documents']:,} documents "
                f"({self.on_overlap}); {found['too_short']:,} are too short to be recognised"
            )


def benchmark_names(sources: Sequence[str]) -> dict[str, str]:
    """What evaluation sources are called in reasons and reports -> the source: the file's name alone, where that tells them apart."""
    short = [Path(source).name.split(".")[0] for source in sources]
    return {name if name and short.count(name) == 1 else source: source for name, source in zip(short, sources, strict=True)}


def _located(folder: Path, source: str) -> str:
    """A source as reading understands it: what an earlier stage left is a path."""
    return str(folder / source[1:]) if source.startswith("@") else source


def _too_few(left: int, funnel: Funnel) -> str:
    """Why nothing can be made of what is left, with the first record or file that could not be read."""
    if not funnel.read.documents:
        return "the sources hold no document"
    unread = next((funnel.samples[reason][0]["text"] for reason in (UNREADABLE, DAMAGED) if reason in funnel.dropped), None)
    advice = f"the first that cannot be read: {unread}" if unread else "loosen the filters or add sources"
    return f"only {left} of {funnel.read.documents:,} documents are left after cleaning; {advice}"
