"""plant: a corpus with something put into it on purpose, so that what it does to a model can be measured."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from trivium.core.commit import commit
from trivium.core.config import component
from trivium.core.run import Run
from trivium.core.seeds import generator
from trivium.stages.base import Foresight, Work, check_data, resolve
from trivium.text.planted import Planted
from trivium.text.read import read_documents
from trivium.text.store import document_row
from trivium.text.write import write_jsonl


@component
class Plant:
    """Leaves `@plant/corpus`, as `prepare` does: the training documents of `corpus` and what is planted, shuffled; held out is the same.

    what: copies (of a few documents, to a share of all text), canaries (random words, each so many times) or sums, whose first number
    is drawn by Zipf's law or evenly: text/planted.py. For studies of what data does; their documents are held in memory.
    """

    kind: Literal["plant"] = "plant"
    corpus: str
    what: Planted

    def check(self) -> None:
        check_data(f"{self.corpus}/train.jsonl.zst", "documents")

    def foresee(self, name: str, known: Foresight) -> Work:
        return Work(seconds=3.0)

    def run(self, run: Run) -> Mapping[str, Any]:
        corpus = resolve(run, self.corpus)
        documents = list(read_documents(corpus / "train.jsonl.zst"))
        planted = self.what(documents, run.seed)
        everything = [*documents, *planted]
        order = generator(run.seed, "shuffle what is planted").permutation(len(everything))

        def write(folder: Path) -> None:
            write_jsonl(folder / "train.jsonl.zst", (document_row(everything[number]) for number in order.tolist()))
            (folder / "heldout.jsonl.zst").write_bytes((corpus / "heldout.jsonl.zst").read_bytes())

        commit(run.folder / "corpus", write, kind="corpus", meta={"documents": len(everything), "planted": len(planted)})
        share = sum(len(document.text) for document in planted) / sum(len(document.text) for document in everything)
        run.log(f"planted {len(planted):,} documents of {self.what.kind} among {len(documents):,}: {share:.1%} of the text")
        return {"documents": len(everything), "planted": len(planted), "share": share}
