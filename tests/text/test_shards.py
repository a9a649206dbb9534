"""Token shards: byte layout by hand, provenance, and refusal of everything that does not fit."""

import struct

import numpy as np
import pytest

from trivium.core.errors import ArtefactError, DataError
from trivium.core.types import Document
from trivium.text.shards import Shard, write_shard
from trivium.text.tokenizer import Tokenizer

DOCUMENTS = [Document("the king", "a", "one.txt"), Document("", "b", "two.txt"), Document("é <|end|>", "", "two.txt")]


class Wide(Tokenizer):
    """Says that its vocabulary is larger than it is."""

    def __init__(self, tokenizer: Tokenizer, vocab_size: int) -> None:
        self.__dict__.update(tokenizer.__dict__)
        self.vocab_size = vocab_size


def test_tokens_are_the_documents_each_after_its_start(tmp_path, tokenizer):
    manifest = write_shard(tmp_path / "shard", DOCUMENTS, tokenizer)
    shard = Shard.open(tmp_path / "shard", tokenizer.fingerprint)
    ids = [[0, *tokenizer.encode(document.text).tolist()] for document in DOCUMENTS]
    assert shard.tokens.tolist() == sum(ids, [])
    assert shard.tokens.dtype == np.uint16
    assert [shard.document_tokens(index).tolist() for index in range(3)] == ids
    assert (shard.num_tokens, shard.num_documents, shard.num_bytes) == (len(sum(ids, [])), 3, 8 + 0 + 10)
    assert manifest["kind"] == "token shard"
    assert manifest["meta"]["tokenizer"] == tokenizer.fingerprint


def test_the_index_is_megatrons_byte_for_byte(tmp_path, tokenizer):
    write_shard(tmp_path / "shard", DOCUMENTS[:2], tokenizer)
    length = len(tokenizer.encode("the king")) + 1
    assert (tmp_path / "shard/tokens.idx").read_bytes() == (
        b"MMIDIDX\x00\x00"
        + struct.pack("<QBQQ", 1, 8, 2, 3)
        + struct.pack("<2i", length, 1)
        + struct.pack("<2q", 0, 2 * length)
        + struct.pack("<3q", 0, 1, 2)
    )


@pytest.mark.parametrize(("vocab_size", "dtype"), [(65_536, np.uint16), (65_537, np.int32)])
def test_ids_are_two_bytes_up_to_65536_and_four_above(tmp_path, tokenizer, vocab_size, dtype):
    write_shard(tmp_path / "shard", DOCUMENTS, Wide(tokenizer, vocab_size))
    assert Shard.open(tmp_path / "shard").tokens.dtype == dtype


def test_every_position_knows_its_document(tmp_path, tokenizer):
    write_shard(tmp_path / "shard", DOCUMENTS, tokenizer)
    shard = Shard.open(tmp_path / "shard")
    first = len(tokenizer.encode("the king")) + 1
    assert [[*shard.documents_between(at, at + 1)] for at in (0, first - 1, first)] == [[0], [0], [1]]
    last = shard.document(2)
    assert (last.index, last.id, last.source, last.offset, last.num_bytes) == (2, "2", "two.txt", first + 1, 10)


def test_documents_of_many_batches_are_found(tmp_path, tokenizer):
    seen = []
    write_shard(
        tmp_path / "shard",
        (Document("x" * (index % 3), str(index)) for index in range(2500)),
        tokenizer,
        on_progress=lambda documents, tokens: seen.append((documents, tokens)),
    )
    shard = Shard.open(tmp_path / "shard")
    assert [shard.document(index).id for index in (0, 999, 1000, 2499)] == ["0", "999", "1000", "2499"]
    assert [documents for documents, _ in seen] == [1000, 2000, 2500]
    assert seen[-1][1] == shard.num_tokens


def test_writing_twice_gives_the_same_bytes(tmp_path, tokenizer):
    first = write_shard(tmp_path / "one", DOCUMENTS, tokenizer)
    assert write_shard(tmp_path / "two", DOCUMENTS, tokenizer) == first


def test_another_tokenizer_is_refused(tmp_path, tokenizer):
    write_shard(tmp_path / "shard", DOCUMENTS, tokenizer)
    with pytest.raises(ArtefactError, match="tokenize again"):
        Shard.open(tmp_path / "shard", "0" * 64)


@pytest.mark.parametrize("name", ["tokens.bin", "tokens.idx", "docs.parquet"])
def test_a_flipped_bit_is_found_and_named(tmp_path, tokenizer, name):
    write_shard(tmp_path / "shard", DOCUMENTS, tokenizer)
    content = bytearray((tmp_path / "shard" / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "shard" / name).write_bytes(content)
    with pytest.raises(ArtefactError, match=name):
        Shard.open(tmp_path / "shard")


@pytest.mark.parametrize(
    "content", [b"", b"MMIDIDX", b"MMIDIDX\x00\x00" + bytes(25), b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, 8, 2**60, 1)]
)
def test_a_damaged_index_is_refused_even_unchecked(tmp_path, tokenizer, content):
    write_shard(tmp_path / "shard", DOCUMENTS, tokenizer)
    (tmp_path / "shard/tokens.idx").write_bytes(content)
    with pytest.raises(ArtefactError, match=r"tokens\.idx"):
        Shard.open(tmp_path / "shard", check=False)


def test_an_id_outside_the_vocabulary_is_refused_and_nothing_is_left(tmp_path, tokenizer):
    with pytest.raises(ArtefactError, match="document a: an id is outside"):
        write_shard(tmp_path / "shard", DOCUMENTS, Wide(tokenizer, 10))
    assert list(tmp_path.iterdir()) == []


def test_no_documents_is_an_error_and_nothing_is_left(tmp_path, tokenizer):
    with pytest.raises(DataError, match="no documents"):
        write_shard(tmp_path / "shard", [], tokenizer)
    assert list(tmp_path.iterdir()) == []


def test_documents_are_found_by_name_and_by_range(tmp_path, tokenizer):
    write_shard(tmp_path / "shard", [*DOCUMENTS, Document("again", "a", "three.txt")], tokenizer)
    shard = Shard.open(tmp_path / "shard")
    assert [(document.index, document.source) for document in shard.documents_named("a")] == [(0, "one.txt"), (3, "three.txt")]
    assert shard.documents_named("z") == []
    for start in range(shard.num_tokens):
        for end in range(start + 1, shard.num_tokens + 1):
            held = {index for index in range(4) if shard.starts[index] < end and start < shard.starts[index + 1]}
            assert list(shard.documents_between(start, end)) == sorted(held)
