"""tokenize: learn a byte-level BPE on a corpus and write its token shards."""

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from trivium.core.commit import MANIFEST, verify
from trivium.core.config import component
from trivium.core.run import Run
from trivium.core.types import Document
from trivium.report.quantities import words_per_token
from trivium.stages.base import Foresight, Work, check_data, resolve
from trivium.text.read import read_documents
from trivium.text.shards import write_shard
from trivium.text.tokenizer import Tokenizer, train_bpe

WORDS_DOCUMENTS = 1000  # of the held-out text, for words a token
MAX_CHARS = 10_000  # of one document, so that one long page cannot fill the vocabulary with its own words
TRAINING_DOCUMENTS = 200_000  # more change hardly any word of a vocabulary, and take memory


@component
class Tokenize:
    """Leaves `tokenizer.json`, and the shards `train` and `heldout`, below `@tokenize`.

    corpus: a folder with train.jsonl.zst or train-*.jsonl.zst, which are read by name, and the same for heldout; as `prepare` leaves it.
    tokenizer: use this one instead of training one.
    """

    kind: Literal["tokenize"] = "tokenize"
    corpus: str
    vocab_size: int = Field(default=8192, ge=263)
    tokenizer: str | None = None

    def check(self) -> None:
        check_data(self.corpus, "documents")
        if self.tokenizer is not None and not self.tokenizer.startswith("@"):
            Tokenizer.load(self.tokenizer)

    def foresee(self, name: str, known: Foresight) -> Work:
        if self.tokenizer is None:
            known.vocab_size = self.vocab_size
        elif not self.tokenizer.startswith("@"):  # one of an earlier stage is known from there
            known.vocab_size = Tokenizer.load(self.tokenizer).vocab_size
        return Work(seconds=15.0)

    def run(self, run: Run) -> Mapping[str, Any]:
        corpus = resolve(run, self.corpus)
        if (corpus / MANIFEST).is_file():
            verify(corpus)
        tokenizer = self._tokenizer(run, corpus)
        tokenizer.save(run.folder / "tokenizer.json")
        facts: dict[str, Any] = {"vocab_size": tokenizer.vocab_size}
        for part in ("heldout", "train"):
            with run.progress(0, f"{part} shard") as progress:
                manifest = write_shard(
                    run.folder / part, documents_of(corpus, part), tokenizer,
                    on_progress=lambda documents, tokens, bar=progress: bar.update(0, f"{documents:,} documents, {tokens:,} tokens"),
                )  # fmt: skip
            facts[f"{part}_tokens"], facts[f"{part}_bytes"] = manifest["meta"]["num_tokens"], manifest["meta"]["num_bytes"]
        texts = [document.text for document in islice(documents_of(corpus, "heldout"), WORDS_DOCUMENTS)]
        num_tokens = sum(len(ids) for ids in tokenizer.encode_batch(texts))
        facts["words_per_token"] = round(words_per_token(sum(len(text.split()) for text in texts), num_tokens), 4)
        if tokenizer.why_slow:
            run.log_once(f"encoding by tokenizers, which is slower: {tokenizer.why_slow}")
        run.log(
            f"vocabulary of {tokenizer.vocab_size:,}; {facts['train_tokens']:,} training tokens, "
            f"{facts['train_bytes'] / facts['train_tokens']:.2f} bytes and {facts['words_per_token']:.2f} words a token"
        )
        return facts | {"tokens": facts["train_tokens"]}

    def _tokenizer(self, run: Run, corpus: Path) -> Tokenizer:
        if self.tokenizer is not None:
            return Tokenizer.load(resolve(run, self.tokenizer))

        def texts() -> Iterator[str]:
            for document in islice(documents_of(corpus, "train"), TRAINING_DOCUMENTS):
                yield document.text[:MAX_CHARS]

        return train_bpe(texts(), self.vocab_size)


def documents_of(corpus: Path, part: str) -> Iterator[Document]:
    """All documents of a part of a corpus: of NAME.jsonl.zst, and of NAME-*.jsonl.zst by name."""
    whole = corpus / f"{part}.jsonl.zst"
    pieces = sorted(corpus.glob(f"{part}-*.jsonl.zst"))
    for file in [whole] * (whole.exists() or not pieces) + pieces:  # with none of them, reading says which is missing
        yield from read_documents(file)
