"""The container of llama.cpp's models: header, metadata and the places of tensors, with every number checked before it is used.

Format: GGUF versions 2 and 3, little endian (docs/gguf.md of ggml). A file may come from anywhere, so no count, length, dimension
or offset is believed: what does not fit inside the file is refused before memory is taken for it. Left out: split files.
"""

import math
import struct
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from trivium.core.errors import ArtefactError
from trivium.nn.io.gguf_blocks import BLOCK_TYPES, BlockType

MAGIC, VERSIONS = b"GGUF", (2, 3)
ALIGNMENT = 32  # where general.alignment does not say otherwise
MAX_HEADER_BYTES = 64 << 20  # the largest vocabularies need 15 MB
MAX_DIMENSIONS = 4
BOOL, STRING, ARRAY = 7, 8, 9
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", BOOL: "?", 10: "Q", 11: "q", 12: "d"}  # kind -> code of `struct`


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """Where a tensor is. shape: as numpy and torch count, which is the file's order backwards. start, end: bytes in the file."""

    shape: tuple[int, ...]
    packing: BlockType
    start: int
    end: int


class GgufFile:
    """A GGUF file whose header was read and whose tensors can be.

    metadata: key -> number, flag, text, list of texts or array of numbers. tensors: name -> where it is.
    Raises ArtefactError naming the file and the field or tensor: not GGUF, cut off, damaged, of a type that is not read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            size = path.stat().st_size
            self._bytes = np.memmap(path, np.uint8, "r") if size else np.empty(0, np.uint8)
        except FileNotFoundError:
            raise ArtefactError(f"{path}: there is no such file") from None
        except OSError as error:
            raise ArtefactError(f"{path}: cannot be read ({error.strerror})") from None
        header = _Header(path, bytes(self._bytes[:MAX_HEADER_BYTES]))
        num_tensors, num_fields = header.begin()
        self.metadata: dict[str, Any] = header.fields(num_fields)
        self.tensors = self._places(header.tensors(num_tensors), header.at)

    def read(self, name: str) -> np.ndarray:
        """A tensor in fp32, as a copy. Raises ArtefactError if it has values that are not finite."""
        tensor = self.tensors[name]
        blocks = self._bytes[tensor.start : tensor.end].reshape(-1, tensor.packing.num_bytes)
        with np.errstate(all="ignore"):  # infinite scales are found below
            numbers = tensor.packing.unpack(blocks).reshape(tensor.shape)
        if not np.isfinite(numbers).all():
            raise ArtefactError(f"{self.path}: tensor {name} has values that are not finite")
        return numbers

    def _places(self, listed: dict[str, tuple[tuple[int, ...], int, int]], header_end: int) -> dict[str, GgufTensor]:
        alignment = self.metadata.get("general.alignment", ALIGNMENT)
        if type(alignment) is not int or not 0 < alignment <= 1 << 16:
            raise ArtefactError(f"{self.path}: general.alignment is {str(alignment)[:80]}; it must be a whole number from 1 to 65,536")
        base, places = -(-header_end // alignment) * alignment, {}
        for name, (shape, kind, offset) in listed.items():
            if kind not in BLOCK_TYPES:
                known = ", ".join(packing.name for packing in BLOCK_TYPES.values())
                raise ArtefactError(f"{self.path}: tensor {name} is packed as type {kind}, which is not read; it is one of: {known}")
            packing = BLOCK_TYPES[kind]
            if not all(shape) or shape[-1] % packing.size:
                allowed = f"no dimension may be 0, and rows of {packing.name} are multiples of {packing.size}"
                raise ArtefactError(f"{self.path}: tensor {name} has shape {list(shape)}; {allowed}")
            start = base + offset
            end = start + math.prod(shape) // packing.size * packing.num_bytes
            if end > len(self._bytes):
                raise ArtefactError(f"{self.path}: tensor {name} ends at byte {end:,}, the file has {len(self._bytes):,}; is it cut off?")
            places[name] = GgufTensor(shape, packing, start, end)
        self._refuse_overlap(places)
        return places

    def _refuse_overlap(self, places: dict[str, GgufTensor]) -> None:
        """Tensors that share bytes would let a small file ask for much memory."""
        for (_, before), (name, tensor) in pairwise(sorted(places.items(), key=lambda item: item[1].start)):
            if tensor.start < before.end:
                raise ArtefactError(f"{self.path}: tensor {name} overlaps another one")


class _Header:
    """What is read from the first bytes of a file, from front to back."""

    def __init__(self, path: Path, content: bytes) -> None:
        self.path, self.content, self.at = path, content, 0

    def begin(self) -> tuple[int, int]:
        """How many tensors and how many metadata fields follow."""
        if self.content[:4] != MAGIC:
            raise ArtefactError(f"{self.path}: is not a GGUF file")
        self.at = 4
        version = self.number("I", "its version")
        if version not in VERSIONS:
            raise ArtefactError(f"{self.path}: is GGUF version {version}; versions 2 and 3, little endian, are read")
        return self.number("Q", "the number of tensors"), self.number("Q", "the number of fields")

    def fields(self, count: int) -> dict[str, Any]:
        self.expect(count, 13, "the metadata")  # a length, a type and a value of one byte at least
        found: dict[str, Any] = {}
        for index in range(count):
            name = self.text(f"the name of field {index}")
            if name in found:
                self.fail(f"{name} is given twice")
            found[name] = self.value(self.number("I", name), name)
        return found

    def tensors(self, count: int) -> dict[str, tuple[tuple[int, ...], int, int]]:
        """name -> (shape, type, offset); not yet compared with the size of the file."""
        self.expect(count, 32, "the list of tensors")
        found = {}
        for index in range(count):
            name = self.text(f"the name of tensor {index}")
            if name in found:
                self.fail(f"tensor {name} is given twice")
            num_dimensions = self.number("I", name)
            if not 0 < num_dimensions <= MAX_DIMENSIONS:
                self.fail(f"tensor {name} has {num_dimensions:,} dimensions; 1 to {MAX_DIMENSIONS} are allowed")
            shape = tuple(self.number("Q", name) for _ in range(num_dimensions))[::-1]
            found[name] = (shape, self.number("I", name), self.number("Q", name))
        return found

    def value(self, kind: int, what: str) -> Any:
        if kind == STRING:
            return self.text(what)
        if kind == ARRAY:
            return self.array(what)
        if kind not in NUMBERS:
            self.fail(f"{what} is of type {kind}, which GGUF does not have")
        return self.number(NUMBERS[kind], what)

    def array(self, what: str) -> list[str] | np.ndarray:
        kind, count = self.number("I", what), self.number("Q", what)
        if kind == STRING:
            self.expect(count, 8, what)
            return [self.text(what) for _ in range(count)]
        if kind not in NUMBERS:
            self.fail(f"{what} is a list of type {kind}; lists of numbers and of texts are read")
        dtype = np.dtype(f"<{NUMBERS[kind]}" if kind != BOOL else "?")
        self.expect(count, dtype.itemsize, what)
        numbers = np.frombuffer(self.content, dtype, count, self.at)
        self.at += count * dtype.itemsize
        return numbers

    def number(self, code: str, what: str) -> Any:
        size = struct.calcsize(f"<{code}")
        self.expect(1, size, what)
        [number] = struct.unpack_from(f"<{code}", self.content, self.at)
        self.at += size
        return number

    def text(self, what: str) -> str:
        length = self.number("Q", what)
        self.expect(length, 1, what)
        self.at += length
        try:
            return self.content[self.at - length : self.at].decode()
        except UnicodeDecodeError:
            self.fail(f"{what[:80]} is not UTF-8 text")

    def expect(self, count: int, size: int, what: str) -> None:
        """Refuse what would reach beyond the end of the header: `count` things of at least `size` bytes."""
        if count * size > len(self.content) - self.at:
            end = "file; is it cut off?" if len(self.content) < MAX_HEADER_BYTES else f"largest header, {MAX_HEADER_BYTES:,} bytes"
            self.fail(f"{what[:80]} reaches beyond the end of the {end}")

    def fail(self, problem: str) -> NoReturn:
        raise ArtefactError(f"{self.path}: {problem}")
