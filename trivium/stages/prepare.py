"""prepare: raw text to a clean corpus, with a held-out part and a funnel of what was dropped and why."""

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
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
from trivium.text.dedup import ExactDedup
from trivium.text.filters import Filter
from trivium.text.pii import Kind
from trivium.text.pipeline import DUPLICATE, Funnel, clean
from trivium.text.read import check_head, read_documents
from trivium.text.write import document_row, write_jsonl


@component
class Prepare:
    """Read, filter, drop exact duplicates, shuffle, and split; leaves `@prepare/corpus` with train.jsonl.zst and heldout.jsonl.zst.

    heldout_share is the share of documents kept for evaluation. The corpus is shuffled in memory. scrub: kinds of personal data
    (`["email", "ip", "phone", "iban", "card", "key"]`) that are replaced by placeholders, for text of unknown people that a model may
    repeat; it is the one option that changes text, and the report counts and shows what it did.
    """

    kind: Literal["prepare"] = "prepare"
    sources: tuple[str, ...] = Field(min_length=1)
    filters: tuple[Filter, ...] = ()
    scrub: tuple[Kind, ...] = ()
    has_dedup: bool = True
    heldout_share: float = Field(default=0.01, gt=0, lt=1)
    max_documents: int = Field(default=0, ge=0)  # read at most this many; 0: all

    def check(self) -> None:
        for source in self.sources:
            if not source.startswith("@"):
                check_head(source, "documents")

    def foresee(self, name: str, known: Foresight) -> Work:
        return Work(seconds=5.0)

    def run(self, run: Run) -> Mapping[str, Any]:
        funnel = Funnel()
        read = chain.from_iterable(read_documents(str(resolve(run, source))) for source in self.sources)
        dedup = ExactDedup() if self.has_dedup else None
        shown = _shown(run, islice(read, self.max_documents or None))
        documents = list(clean(shown, self.filters, dedup, funnel=funnel, scrub=self.scrub, num_workers=num_cores()))
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


def _shown(run: Run, documents: Iterable[Document]) -> Iterator[Document]:
    """Pass documents on, with a line of progress now and then; their number is not known beforehand."""
    with Progress(run.stage, 0) as progress:
        for count, document in enumerate(documents):
            if count % 1000 == 0:
                progress.update(0, f"{count:,} documents read")
            yield document


def _report_form(funnel: Funnel) -> dict[str, Any]:
    """The funnel as the report reads it."""
    dropped = [
        {
            "reason": reason,
            "documents": count.documents,
            "bytes": count.bytes,
            "samples": [sample["text"] for sample in funnel.samples[reason]],
        }
        for reason, count in funnel.dropped.items()
        if reason != DUPLICATE
    ]
    ends = {
        name: {"documents": count.documents, "bytes": count.bytes}
        for name, count in (("read", funnel.read), ("duplicates", funnel.duplicates), ("kept", funnel.kept))
    }
    return ends | {"dropped": dropped, "replaced": funnel.to_dict()["replaced"]}
