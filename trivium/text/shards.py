"""Token shards: documents as one long array of ids on disk, memory-mapped, checked by hash.

A shard is a folder: `tokens.bin` and `tokens.idx` as Megatron, NeMo and GPT-NeoX read them (MMIDIDX version 1; a sequence
is a document), `docs.parquet` that says where every document came from, and the manifest. It leaves the order of
training out: that is a function in `data/order.py`.
"""

from __future__ import annotations  # a type of pyarrow in a signature would load it

import struct
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trivium.core.commit import commit, read_manifest, verify
from trivium.core.errors import ArtefactError, DataError
from trivium.core.types import Document
from trivium.text.tokenizer import Tokenizer

KIND = "token shard"
DOCUMENT_START = "<|endoftext|>"  # what stands before every document in training
_MAGIC = b"MMIDIDX\x00\x00"
_HEADER = struct.Struct("<9sQBQQ")  # magic, version, dtype code, sequences, documents + 1
_DTYPE_CODES = {4: np.dtype("<i4"), 8: np.dtype("<u2")}  # of megatron/core/datasets/indexed_dataset.py
_COLUMNS = {"id": "string", "source": "string", "offset": "int64", "num_tokens": "int32", "num_bytes": "int64"}  # of docs.parquet
_BATCH_DOCUMENTS, _BATCH_CHARACTERS = 1000, 8 << 20

OnProgress = Callable[[int, int], None]  # documents and tokens written so far


@dataclass(frozen=True, slots=True)
class ShardDocument:
    """Where a document lies: its tokens are `shard.tokens[offset : offset + num_tokens]`; num_bytes is its UTF-8 size."""

    index: int
    id: str
    source: str
    offset: int
    num_tokens: int
    num_bytes: int


def write_shard(
    path: Path, documents: Iterable[Document], tokenizer: Tokenizer, *, on_progress: OnProgress | None = None
) -> dict[str, Any]:
    """Tokenize documents into the folder `path`, in constant memory, and return the manifest.

    Every document is DOCUMENT_START and then its tokens; ids are uint16 where the vocabulary allows it (at most 65,536),
    else int32. Raises DataError when there is no document, ArtefactError when an id is outside the vocabulary.
    """
    dtype = _DTYPE_CODES[8 if tokenizer.vocab_size <= 1 << 16 else 4]
    meta: dict[str, Any] = {
        "tokenizer": tokenizer.fingerprint,
        "vocab_size": tokenizer.vocab_size,
        "dtype": dtype.name,
        "document_start": tokenizer.id_of(DOCUMENT_START),
    }

    def write(folder: Path) -> None:
        writer = _Writer(folder, tokenizer, dtype, meta["document_start"])
        with writer.open():
            for batch in _batches(documents):
                writer.add(batch)
                if on_progress is not None:
                    on_progress(len(writer.lengths), writer.num_tokens)
        if not writer.lengths:
            raise DataError("there are no documents to write into a shard; did the filters drop everything?")
        _write_index(folder / "tokens.idx", np.frombuffer(writer.lengths, np.int32), dtype)
        meta.update(num_tokens=writer.num_tokens, num_documents=len(writer.lengths), num_bytes=writer.num_bytes)

    return commit(path, write, kind=KIND, meta=meta)  # the manifest is made after `write`, so it holds the counts


class Shard:
    """A memory-mapped shard: `tokens` is one read-only array of all its ids."""

    def __init__(self, path: Path, meta: dict[str, Any]) -> None:
        self.path, self.meta = path, meta
        self.num_tokens: int = meta["num_tokens"]
        self.num_bytes: int = meta["num_bytes"]
        self.num_documents: int = meta["num_documents"]
        self.vocab_size: int = meta["vocab_size"]
        lengths, dtype = read_index(path / "tokens.idx")
        self.starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])  # (documents + 1,) offsets of the documents
        if self.starts[-1] != self.num_tokens or (path / "tokens.bin").stat().st_size != self.num_tokens * dtype.itemsize:
            raise ArtefactError(f"{path}: tokens.idx, tokens.bin and the manifest disagree on the number of tokens; tokenize again")
        self.tokens = np.memmap(path / "tokens.bin", dtype=dtype, mode="r")

    @classmethod
    def open(cls, path: Path | str, tokenizer_fingerprint: str | None = None, check: bool = True) -> Shard:
        """Map a shard; `check` reads it once to compare its hashes (about 9 GB/s).

        Raises ArtefactError: not a shard, a changed bit, or made with another tokenizer than the one asked for.
        """
        path = Path(path)
        meta = (verify(path, kind=KIND) if check else read_manifest(path, kind=KIND))["meta"]
        if tokenizer_fingerprint is not None and meta.get("tokenizer") != tokenizer_fingerprint:
            theirs = str(meta.get("tokenizer"))
            raise ArtefactError(
                f"{path}: was made with tokenizer {theirs[:12]}, this run uses {tokenizer_fingerprint[:12]}; tokenize again"
            )
        try:
            return cls(path, meta)
        except KeyError as error:
            raise ArtefactError(f"{path}: its manifest lacks {error}; tokenize again") from None

    def document(self, index: int) -> ShardDocument:
        """Where document number `index` lies, and what it is called."""
        group = int(np.searchsorted(self._group_starts, index, side="right")) - 1
        row = self._sidecar.read_row_group(group, columns=list(_COLUMNS)).slice(index - int(self._group_starts[group]), 1).to_pylist()[0]
        return ShardDocument(index, **row)

    def documents_between(self, start: int, end: int) -> range:
        """Numbers of the documents that have a token at start .. end - 1."""
        first, last = np.searchsorted(self.starts, [start, end - 1], side="right")
        return range(int(first) - 1, int(last))

    def documents_named(self, name: str) -> list[ShardDocument]:
        """Every document with this id; reads the column of all ids."""
        ids = self._sidecar.read(columns=["id"]).column("id")
        return [self.document(int(index)) for index in np.flatnonzero(ids.to_numpy() == name)]

    def documents(self) -> Iterator[ShardDocument]:
        """All documents in order, in constant memory."""
        rows = (row for batch in self._sidecar.iter_batches(columns=list(_COLUMNS)) for row in batch.to_pylist())
        return (ShardDocument(index, **row) for index, row in enumerate(rows))

    def document_tokens(self, index: int) -> np.ndarray:
        """Ids of document `index`, a view on the map."""
        return self.tokens[self.starts[index] : self.starts[index + 1]]

    @cached_property
    def _sidecar(self) -> pq.ParquetFile:
        return pq.ParquetFile(self.path / "docs.parquet")

    @cached_property
    def _group_starts(self) -> np.ndarray:
        rows = [self._sidecar.metadata.row_group(group).num_rows for group in range(self._sidecar.num_row_groups)]
        return np.concatenate([[0], np.cumsum(rows)])


class _Writer:
    """Appends batches of documents to tokens.bin and docs.parquet, and counts."""

    def __init__(self, folder: Path, tokenizer: Tokenizer, dtype: np.dtype, start: int) -> None:
        self.lengths = array("i")  # tokens of each document
        self.num_tokens = self.num_bytes = 0
        self._folder, self._tokenizer, self._dtype, self._start = folder, tokenizer, dtype, start

    @contextmanager
    def open(self) -> Iterator[None]:
        """Hold both files open."""
        with (
            (self._folder / "tokens.bin").open("wb") as self._tokens,
            pq.ParquetWriter(self._folder / "docs.parquet", _schema(), compression="zstd") as self._sidecar,
        ):
            yield

    def add(self, batch: list[Document]) -> None:
        """Encode and append a batch."""
        rows = []
        for document, ids in zip(batch, self._tokenizer.encode_batch([document.text for document in batch]), strict=True):
            name = document.id or str(len(self.lengths))
            if ids.size and not 0 <= ids.min() <= ids.max() < self._tokenizer.vocab_size:
                raise ArtefactError(f"document {name}: an id is outside the vocabulary of {self._tokenizer.vocab_size:,}")
            self._tokens.write(np.concatenate([[self._start], ids]).astype(self._dtype).tobytes())
            num_tokens, num_bytes = len(ids) + 1, len(document.text.encode())
            facts = (name, document.source, self.num_tokens, num_tokens, num_bytes)
            rows.append(dict(zip(_COLUMNS, facts, strict=True)))
            self.lengths.append(num_tokens)
            self.num_tokens += num_tokens
            self.num_bytes += num_bytes
        self._sidecar.write_batch(pa.RecordBatch.from_pylist(rows, schema=_schema()))


def _schema() -> pa.Schema:
    return pa.schema(list(_COLUMNS.items()))


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """Batches for the encoder, bounded in documents and in characters."""
    batch: list[Document] = []
    characters = 0
    for document in documents:
        batch.append(document)
        characters += len(document.text)
        if len(batch) >= _BATCH_DOCUMENTS or characters >= _BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _write_index(path: Path, lengths: np.ndarray, dtype: np.dtype) -> None:
    num_documents = len(lengths)
    code = next(code for code, known in _DTYPE_CODES.items() if known == dtype)
    pointers = np.zeros(num_documents, "<i8")
    pointers[1:] = np.cumsum(lengths[:-1], dtype=np.int64) * dtype.itemsize
    with path.open("wb") as file:
        file.write(_HEADER.pack(_MAGIC, 1, code, num_documents, num_documents + 1))
        for part in (lengths.astype("<i4"), pointers, np.arange(num_documents + 1, dtype="<i8")):
            file.write(part.tobytes())


def read_index(path: Path) -> tuple[np.ndarray, np.dtype]:
    """Lengths of the sequences, mapped and not read, and the type of the ids. Every count is checked against the size of the file.

    Raises ArtefactError: missing, no Megatron index, or one of a version or type of ids that is not built.
    """
    if not path.is_file():
        raise ArtefactError(f"{path}: there is no such file")
    with path.open("rb") as file:
        head = file.read(_HEADER.size)
    if len(head) < _HEADER.size or not head.startswith(_MAGIC):
        raise ArtefactError(f"{path}: is not a Megatron index (MMIDIDX)")
    _, version, code, num_sequences, num_boundaries = _HEADER.unpack(head)
    if version != 1 or code not in _DTYPE_CODES or path.stat().st_size != _HEADER.size + num_sequences * 12 + num_boundaries * 8:
        raise ArtefactError(f"{path}: damaged, or not a version 1 index of uint16 or int32 ids")
    if not num_sequences:
        return np.empty(0, "<i4"), _DTYPE_CODES[code]
    return np.memmap(path, "<i4", mode="r", offset=_HEADER.size, shape=(num_sequences,)), _DTYPE_CODES[code]
