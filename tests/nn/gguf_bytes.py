"""GGUF files written by hand, byte by byte, so that they can also be wrong."""

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

ALIGNMENT = 32
CODES = {bool: "<?", int: "<I", float: "<f"}
TYPES = {str: 8, bool: 7, int: 4, float: 6}


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def value(content: Any) -> bytes:
    """The type and the value: int is u32, float is f32; a list takes the type of its first element."""
    if isinstance(content, list):
        kind = TYPES[type(content[0])]
        return struct.pack("<IIQ", 9, kind, len(content)) + b"".join(value(each)[4:] for each in content)
    packed = text(content) if isinstance(content, str) else struct.pack(CODES[type(content)], content)
    return struct.pack("<I", TYPES[type(content)]) + packed


def gguf_bytes(fields: Mapping[str, Any], tensors: Mapping[str, tuple[tuple[int, ...], int, bytes]], *, version: int = 3) -> bytes:
    """A whole file. tensors: name -> (shape as numpy has it, type, content)."""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(fields))
    head += b"".join(text(key) + value(content) for key, content in fields.items())
    offset, contents = 0, b""
    for name, (shape, kind, content) in tensors.items():
        head += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape[::-1], kind, offset)
        contents += content + bytes(-len(content) % ALIGNMENT)
        offset = len(contents)
    return head + bytes(-len(head) % ALIGNMENT) + contents


def f32(numbers: np.ndarray) -> tuple[tuple[int, ...], int, bytes]:
    return numbers.shape, 0, numbers.astype("<f4").tobytes()
