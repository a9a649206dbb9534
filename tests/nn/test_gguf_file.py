"""The GGUF container: what is right is read bit for bit, what is wrong is refused in one line before it costs memory."""

import struct
import tracemalloc
from pathlib import Path

import gguf
import numpy as np
import pytest

from tests.nn.gguf_bytes import f32, gguf_bytes
from trivium.core.errors import ArtefactError
from trivium.nn.io.gguf_blocks import BLOCK_TYPES
from trivium.nn.io.gguf_file import GgufFile

ONES = {"a": f32(np.ones((2, 32), np.float32))}


def written(folder: Path, content: bytes) -> Path:
    file = folder / "model.gguf"
    file.write_bytes(content)
    return file


@pytest.mark.parametrize("number", BLOCK_TYPES)
def test_every_packing_gives_the_numbers_of_the_reference(number):
    """Random bytes: every bit of a block takes part. Their scales are set to finite numbers."""
    packing = BLOCK_TYPES[number]
    draw = np.random.default_rng(number)
    blocks = draw.integers(0, 256, (50, packing.num_bytes), dtype=np.uint8)
    halves = {"Q4_0": (0,), "Q4_1": (0, 2), "Q5_0": (0,), "Q5_1": (0, 2), "Q8_0": (0,), "Q4_K": (0, 2), "Q6_K": (208,)}
    for start in halves.get(packing.name, ()):
        blocks[:, start : start + 2] = draw.normal(size=(50, 1)).astype("<f2").view(np.uint8)
    if packing.name in ("F32", "F16", "BF16"):
        blocks = np.ascontiguousarray(blocks & 0x3F)  # no exponent of infinity
    theirs = gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType(number))
    ours = packing.unpack(blocks)
    assert ours.dtype == np.float32
    assert ours.tobytes() == theirs.reshape(ours.shape).tobytes()


def test_a_file_is_read_as_it_was_written(tmp_path):
    numbers = np.arange(6, dtype=np.float32).reshape(2, 3)
    fields = {"text": "é", "flag": True, "count": 7, "number": 0.5, "texts": ["a", "", "漢"], "counts": [1, 2, 3]}
    for version in (2, 3):
        file = GgufFile(written(tmp_path, gguf_bytes(fields, {"b": f32(numbers)}, version=version)))
        assert {**file.metadata, "counts": file.metadata["counts"].tolist()} == fields
        assert file.tensors["b"].shape == (2, 3)
        assert np.array_equal(file.read("b"), numbers)


def test_the_reference_reads_the_files_that_the_tests_write(tmp_path):
    numbers = np.arange(64, dtype=np.float32).reshape(2, 32)
    reader = gguf.GGUFReader(written(tmp_path, gguf_bytes({"general.architecture": "llama"}, {"b": f32(numbers)})))
    assert np.array_equal(reader.tensors[0].data, numbers)


def tensor(shape: tuple[int, ...], kind: int = 0, offset: int = 0) -> bytes:
    """A file whose only tensor says this, and 256 bytes."""
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + struct.pack("<Q", 1) + b"w"
    head += struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape[::-1], kind, offset)
    return head + bytes(-len(head) % 32 + 256)


def field(content: bytes) -> bytes:
    """A file whose only field is `k` with this type and value."""
    return b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"k" + content


HUGE = (1 << 63) - 1
HOSTILE = {
    "empty": (b"", "is not a GGUF file"),
    "another file": (b"PK\x03\x04" + bytes(64), "is not a GGUF file"),
    "version 1": (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "GGUF version 1"),
    "big endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "little endian"),
    "cut off in the header": (b"GGUF" + struct.pack("<IQ", 3, 0), "the number of fields reaches beyond the end"),
    "endless tensors": (b"GGUF" + struct.pack("<IQQ", 3, HUGE, 0), "the list of tensors reaches beyond"),
    "endless fields": (b"GGUF" + struct.pack("<IQQ", 3, 0, HUGE), "the metadata reaches beyond"),
    "an endless text": (field(struct.pack("<IQ", 8, HUGE)), "k reaches beyond"),
    "an endless list of texts": (field(struct.pack("<IIQ", 9, 8, HUGE)), "k reaches beyond"),
    "an endless list of numbers": (field(struct.pack("<IIQ", 9, 12, HUGE)), "k reaches beyond"),
    "a list of lists": (field(struct.pack("<IIQ", 9, 9, 1) + bytes(64)), "k is a list of type 9"),
    "an unknown type of value": (field(struct.pack("<I", 77) + bytes(8)), "k is of type 77"),
    "a text that is no text": (field(struct.pack("<IQ", 8, 2) + b"\xff\xfe"), "k is not UTF-8"),
    "a field twice": (gguf_bytes({"k": 1}, {})[:16] + struct.pack("<Q", 2) + 2 * gguf_bytes({"k": 1}, {})[24:41], "k is given twice"),
    "no dimensions": (tensor(()), "tensor w has 0 dimensions"),
    "many dimensions": (tensor((1,) * 9), "tensor w has 9 dimensions"),
    "a dimension of nothing": (tensor((0, 4)), "no dimension may be 0"),
    "an endless tensor": (tensor((HUGE, HUGE)), "tensor w ends at byte"),
    "an offset beyond the file": (tensor((4,), offset=HUGE), "tensor w ends at byte"),
    "rows that are no blocks": (tensor((2, 31), kind=8), "multiples of 32"),
    "an unknown packing": (tensor((4,), kind=19), "packed as type 19"),
    "no alignment": (gguf_bytes({"general.alignment": 0}, ONES), "general.alignment is 0"),
    "tensors that share bytes": (
        struct.pack("<IQ", 0, 0).join(gguf_bytes({}, ONES | {"b": ONES["a"]}).rsplit(struct.pack("<IQ", 0, 256), 1)),
        "overlaps another one",
    ),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_file_is_refused_in_one_line_without_cost(what, tmp_path):
    content, told = HOSTILE[what]
    file = written(tmp_path, content)
    tracemalloc.start()
    try:
        with pytest.raises(ArtefactError, match=told) as refused:
            GgufFile(file)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert "model.gguf" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ArtefactError, match="there is no such file"):
        GgufFile(tmp_path / "none.gguf")


def test_numbers_that_are_not_finite_are_refused_with_the_tensor(tmp_path):
    file = GgufFile(written(tmp_path, gguf_bytes({}, {"w": f32(np.array([1, np.inf], np.float32))})))
    with pytest.raises(ArtefactError, match="tensor w has values that are not finite"):
        file.read("w")
