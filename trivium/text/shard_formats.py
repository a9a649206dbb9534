"""Token shards as other trainers read them: the same ids, one after the other, in their files.

    nanogpt   NAME.bin   uint16, nothing else (karpathy/nanoGPT, data/*/prepare.py)
    llm.c     NAME.bin   256 x int32 of header (20240520, version 1, number of tokens), then uint16 (llm.c, modded-nanogpt)
    olmo      NAME.npy   the ids alone, in spite of the name; NAME.json says their type, which the file does not (OLMo, dolma)
    hf        data/NAME-00000-of-00001.parquet   a row a document: id, source, input_ids (load_dataset of Hugging Face datasets)
    jsonl     NAME.jsonl a line a document: id, source, text, as `trivium tokenize` reads it

NAME is train, and for the shard `heldout` what the others call it: val or validation. Megatron, NeMo and GPT-NeoX read tokens.bin and
tokens.idx of a shard as they are.
"""

from __future__ import annotations  # a type of pyarrow in a signature would load it

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trivium.core.commit import MANIFEST, commit, read_manifest
from trivium.core.errors import ArtefactError, ConfigError, did_you_mean
from trivium.core.types import Document
from trivium.text.shards import Shard, ShardDocument
from trivium.text.store import document_row
from trivium.text.tokenizer import Tokenizer
from trivium.text.write import write_jsonl

KIND = "exported tokens"
LLM_C_MAGIC, LLM_C_VERSION, LLM_C_HEADER = 20240520, 1, 256
_CHUNK = 1 << 20  # tokens copied in one go
_GROUP = 1000  # documents in a row group of parquet

Write = Callable[[Shard, Path, str], None]  # (shard, folder, name of its part)


def export_tokens(path: Path, out: Path, to: str) -> list[Path]:
    """Write a shard, or all shards of a folder that `tokenize` made, into the folder `out`; returns the files.

    Raises ConfigError: an unknown format, one whose ids have two bytes while these have four, or `out` holds something else.
    """
    if to not in FORMATS:
        raise ConfigError(f"format is {to!r}{did_you_mean(to, FORMATS)}")
    if out.is_dir() and any(out.iterdir()):
        if not (out / MANIFEST).exists():
            raise ConfigError(f"{out}: is a folder with other content; give a new or empty one")
        read_manifest(out, kind=KIND)  # what was exported before is replaced, and nothing else
    shards = {place.name: Shard.open(place) for place in _shards(path)}

    def write(folder: Path) -> None:
        for name, shard in shards.items():
            FORMATS[to](shard, folder, name)

    files = commit(out, write, kind=KIND, meta={"format": to, "from": str(path)})["files"]
    return [out / name for name in files]


def _shards(path: Path) -> list[Path]:
    """The shard at a path, or those below it."""
    if (path / MANIFEST).exists():
        return [path]
    below = [path / name for name in ("train", "heldout") if (path / name).is_dir()]
    if not below:
        raise ArtefactError(f"{path}: is no token shard and no folder with the shards train and heldout, as `tokenize` leaves them")
    return below


def _llm_c(shard: Shard, folder: Path, name: str) -> None:
    tokens = _narrow(shard, "llm.c")
    if shard.num_tokens >= 1 << 31:
        raise ConfigError(f"{shard.path}: has {shard.num_tokens:,} tokens; the header of llm.c counts to {(1 << 31) - 1:,}; use nanogpt")
    header = np.zeros(LLM_C_HEADER, "<i4")
    header[:3] = LLM_C_MAGIC, LLM_C_VERSION, shard.num_tokens
    _write_ids(folder / f"{_others_call(name, 'val')}.bin", tokens, header.tobytes())


def _olmo(shard: Shard, folder: Path, name: str) -> None:
    _write_ids(folder / f"{name}.npy", shard.tokens)
    facts = {"dtype": shard.tokens.dtype.name, **{fact: shard.meta[fact] for fact in ("num_tokens", "vocab_size", "document_start")}}
    (folder / f"{name}.json").write_text(json.dumps(facts, indent=1))


def _hugging_face(shard: Shard, folder: Path, name: str) -> None:
    schema = pa.schema({"id": pa.string(), "source": pa.string(), "input_ids": pa.list_(pa.int32())})
    (folder / "data").mkdir(exist_ok=True)
    file = folder / "data" / f"{_others_call(name, 'validation')}-00000-of-00001.parquet"
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        rows = []
        for document in shard.documents():
            rows.append({"id": document.id, "source": document.source, "input_ids": shard.document_tokens(document.index)})
            if len(rows) == _GROUP or document.index == shard.num_documents - 1:
                writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=schema))
                rows = []


def _jsonl(shard: Shard, folder: Path, name: str) -> None:
    tokenizer = Tokenizer.load(shard.path.parent)
    if tokenizer.fingerprint != shard.meta["tokenizer"]:
        raise ArtefactError(f"{shard.path.parent}: its tokenizer.json is not the one that made the shard {name}")

    def text_of(document: ShardDocument) -> Document:
        ids = shard.document_tokens(document.index)[1:]  # the first is its start
        return Document(tokenizer.decode(ids, skip_special=False), document.id, document.source)

    write_jsonl(folder / f"{name}.jsonl", map(document_row, map(text_of, shard.documents())))


FORMATS: dict[str, Write] = {
    "nanogpt": lambda shard, folder, name: _write_ids(folder / f"{_others_call(name, 'val')}.bin", _narrow(shard, "nanogpt")),
    "llm.c": _llm_c,
    "olmo": _olmo,
    "hf": _hugging_face,
    "jsonl": _jsonl,
}


def _narrow(shard: Shard, to: str) -> np.ndarray:
    """The ids of a shard if they have two bytes."""
    if shard.tokens.dtype.itemsize != 2:
        raise ConfigError(
            f"{shard.path}: a vocabulary of {shard.vocab_size:,} needs more than the two bytes of an id in {to}; use olmo, hf or jsonl"
        )
    return shard.tokens


def _write_ids(path: Path, tokens: np.ndarray, header: bytes = b"") -> None:
    with path.open("wb") as file:
        file.write(header)
        for start in range(0, len(tokens), _CHUNK):
            file.write(tokens[start : start + _CHUNK].tobytes())


def _others_call(name: str, heldout: str) -> str:
    return heldout if name == "heldout" else name
