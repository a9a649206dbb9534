"""Exported shards, read back as the other trainers read them."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from trivium.core.errors import ArtefactError, ConfigError
from trivium.core.types import Document
from trivium.text.read import read_documents
from trivium.text.shard_formats import FORMATS, export_tokens
from trivium.text.shards import Shard, write_shard
from trivium.text.tokenizer import Tokenizer

DOCUMENTS = [Document(f"the king has {number} ships\nand é <|end|>", f"d{number}", "one.txt") for number in range(30)]


class Wide(Tokenizer):
    """Says that its vocabulary needs four bytes."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.__dict__.update(tokenizer.__dict__)
        self.vocab_size = 70_000


@pytest.fixture
def folder(tmp_path, tokenizer) -> Path:
    """What `tokenize` leaves."""
    tokenizer.save(tmp_path / "tokenize" / "tokenizer.json")
    write_shard(tmp_path / "tokenize" / "train", DOCUMENTS, tokenizer)
    write_shard(tmp_path / "tokenize" / "heldout", DOCUMENTS[:3], tokenizer)
    return tmp_path / "tokenize"


def tokens(folder: Path, name: str) -> list[int]:
    return Shard.open(folder / name).tokens.tolist()


def test_nanogpt_reads_uint16_and_nothing_else(folder, tmp_path):
    files = export_tokens(folder, tmp_path / "out", "nanogpt")
    assert {file.name for file in files} == {"train.bin", "val.bin"}
    for name, ours in (("train.bin", "train"), ("val.bin", "heldout")):
        assert np.memmap(tmp_path / "out" / name, np.uint16, mode="r").tolist() == tokens(folder, ours)


def test_llm_c_reads_a_header_and_uint16(folder, tmp_path):
    export_tokens(folder / "train", tmp_path / "out", "llm.c")
    content = (tmp_path / "out" / "train.bin").read_bytes()
    header = np.frombuffer(content[:1024], np.int32)
    assert header[:3].tolist() == [20240520, 1, len(tokens(folder, "train"))]
    assert not header[3:].any()
    assert np.frombuffer(content[1024:], np.uint16).tolist() == tokens(folder, "train")


def test_olmo_reads_the_bare_ids_and_a_file_beside_them_says_their_type(folder, tmp_path, tokenizer):
    export_tokens(folder / "train", tmp_path / "out", "olmo")
    facts = json.loads((tmp_path / "out" / "train.json").read_text())
    assert facts["dtype"] == "uint16"
    assert np.memmap(tmp_path / "out" / "train.npy", facts["dtype"], mode="r").tolist() == tokens(folder, "train")
    write_shard(tmp_path / "wide", DOCUMENTS, Wide(tokenizer))
    export_tokens(tmp_path / "wide", tmp_path / "out", "olmo")
    assert json.loads((tmp_path / "out" / "wide.json").read_text())["dtype"] == "int32"
    assert np.memmap(tmp_path / "out" / "wide.npy", np.int32, mode="r").tolist() == tokens(tmp_path, "wide")


def test_hugging_face_reads_a_row_a_document(folder, tmp_path):
    files = export_tokens(folder, tmp_path / "out", "hf")
    assert sorted(file.name for file in files) == ["train-00000-of-00001.parquet", "validation-00000-of-00001.parquet"]
    rows = pq.read_table(tmp_path / "out" / "data" / "train-00000-of-00001.parquet").to_pylist()
    assert [(row["id"], row["source"]) for row in rows] == [(document.id, document.source) for document in DOCUMENTS]
    assert sum((row["input_ids"] for row in rows), []) == tokens(folder, "train")


def test_the_datasets_library_reads_it(folder, tmp_path):
    datasets = pytest.importorskip("datasets")
    export_tokens(folder, tmp_path / "out", "hf")
    read = datasets.load_dataset("parquet", data_dir=str(tmp_path / "out" / "data"), cache_dir=str(tmp_path / "cache"))
    assert (read["train"].num_rows, read["validation"].num_rows) == (30, 3)
    assert sum(read["train"]["input_ids"], []) == tokens(folder, "train")


def test_json_lines_are_the_documents_again(folder, tmp_path):
    export_tokens(folder, tmp_path / "out", "jsonl")
    assert list(read_documents(tmp_path / "out" / "train.jsonl")) == DOCUMENTS


def test_many_documents_are_written_in_groups(tmp_path, tokenizer):
    write_shard(tmp_path / "train", (Document("x" * (number % 3), str(number)) for number in range(2500)), tokenizer)
    export_tokens(tmp_path / "train", tmp_path / "out", "hf")
    file = pq.ParquetFile(tmp_path / "out" / "data" / "train-00000-of-00001.parquet")
    assert (file.num_row_groups, file.metadata.num_rows) == (3, 2500)
    assert sum(file.read().column("input_ids").to_pylist(), []) == tokens(tmp_path, "train")


@pytest.mark.parametrize("to", ["nanogpt", "llm.c"])
def test_ids_of_four_bytes_do_not_become_two(tmp_path, tokenizer, to):
    write_shard(tmp_path / "wide", DOCUMENTS, Wide(tokenizer))
    with pytest.raises(ConfigError, match="a vocabulary of 70,000 needs more than the two bytes of an id"):
        export_tokens(tmp_path / "wide", tmp_path / "out", to)
    assert not (tmp_path / "out").exists()


def test_what_else_is_wrong_is_one_line(folder, tmp_path):
    with pytest.raises(ConfigError, match="format is 'nanogtp'; did you mean 'nanogpt'"):
        export_tokens(folder, tmp_path / "out", "nanogtp")
    with pytest.raises(ArtefactError, match="is no token shard and no folder with the shards"):
        export_tokens(tmp_path, tmp_path / "out", "olmo")
    with pytest.raises(ConfigError, match="is a folder with other content"):
        export_tokens(folder, folder, "olmo")
    Tokenizer.load(folder).save(folder / "tokenizer.json")
    (folder / "tokenizer.json").write_text((folder / "tokenizer.json").read_text().replace("<|pad|>", "<|bad|>"))
    with pytest.raises(ArtefactError, match=r"its tokenizer\.json is not the one that made the shard train"):
        export_tokens(folder, tmp_path / "out", "jsonl")


@pytest.mark.parametrize("to", FORMATS)
def test_the_command_names_what_it_wrote_and_replaces_its_own(folder, tmp_path, light, to):
    for _ in range(2):
        ended = light.run(["data", "export", "tokenize", "out", "--format", to], tmp_path)
        assert (ended.code, ended.err, ended.loaded_torch) == (0, "", False)
        assert all((tmp_path / line).is_file() for line in ended.out.splitlines())
        assert len(ended.out.splitlines()) >= 2
