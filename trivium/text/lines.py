"""Files as lines and chunks of text: decompressed as they are read, decoded strictly, never more than a bounded part in memory."""

import codecs
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

import zstandard

from trivium.core.errors import DataError
from trivium.core.regular import regular

MAX_LINE_BYTES = 64 << 20
_CHUNK = 1 << 20
OnSkip = Callable[[DataError], None]
_BOM = "\ufeff"


def lines(path: Path, on_skip: OnSkip | None = None) -> Iterator[tuple[int, str]]:
    """Numbered lines (from 1) without their newline; a byte order mark is dropped.

    on_skip: called with the error of a line that is too long or no UTF-8, and reading goes on; without it the error is raised.
    Raises DataError naming file and line: not there, a pipe or a device, bad UTF-8, above 64 MiB, truncated or damaged
    compression.
    """
    with _reading(path), open_binary(path) as file:
        number = 0
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            try:
                if len(line) > MAX_LINE_BYTES:
                    raise DataError(f"{path} line {number}: is longer than {MAX_LINE_BYTES >> 20} MiB")
                text = _decode(line, path, number)
            except DataError as error:
                if on_skip is None:
                    raise
                on_skip(error)
                while line and not line.endswith(b"\n"):  # to the end of a line that is too long
                    line = file.readline(_CHUNK)
                continue
            yield number, (text.removeprefix(_BOM) if number == 1 else text).removesuffix("\n")


def whole_text(path: Path) -> str:
    """A file as one string of at most 64 MiB. Raises DataError as `lines` does."""
    with _reading(path), open_binary(path) as file:
        content = file.read(MAX_LINE_BYTES + 1)
    if len(content) > MAX_LINE_BYTES:
        raise DataError(f"{path}: a text file is one document of at most {MAX_LINE_BYTES >> 20} MiB; split it, or write JSON lines")
    return _decode(content, path, 1).removeprefix(_BOM)


def chunks(path: Path) -> Iterator[str]:
    """A file as pieces of text of about 1 MiB, for parsers that do not work by lines."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    number = 1
    with _reading(path), open_binary(path) as file:
        while True:
            block = file.read1(_CHUNK)  # no more than there is: what stands before damage is given
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                raise _bad_utf8(path, number + bytes(error.object)[: error.start].count(b"\n"), error) from None
            number += text.count("\n")
            if text:
                yield text
            if not block:
                return


@contextmanager
def open_binary(path: Path) -> Iterator[io.BufferedReader]:
    """The bytes of a file, decompressed if its name ends in .gz or .zst."""
    with regular(path).open("rb") as file:
        start = _FRAMES.get(path.suffix)
        yield io.BufferedReader(_Unpacked(file, start)) if start else file


class _Frame(Protocol):
    """A decompressor of one frame, or member as gzip has it. unused_data: what follows its end."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


_MAX_WINDOW_BYTES = 128 << 20  # of zstd
_FRAMES: dict[str, Callable[[], _Frame]] = {
    ".gz": lambda: zlib.decompressobj(wbits=16 + zlib.MAX_WBITS),
    ".zst": lambda: zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES).decompressobj(),
}


class _Unpacked(io.RawIOBase):
    """Decompresses frame after frame, gives what there is before it complains, and says when the last frame is cut off.

    zstandard's own stream_reader does not say it, and GzipFile keeps back some kilobytes before the damage.
    """

    _INPUT_BYTES = 2048  # a block of 4 bytes may become 128 KiB, so a hostile file gets 64 MiB of memory at most

    def __init__(self, file: BinaryIO, start: Callable[[], _Frame]) -> None:
        super().__init__()
        self._file, self._start, self._ready, self._unread = file, start, memoryview(b""), b""
        self._frame: _Frame | None = None
        self._num_frames = 0

    def readable(self) -> bool:
        return True

    def readinto(self, target: memoryview) -> int:  # type: ignore[override]
        while not self._ready:
            block = self._unread or self._file.read(self._INPUT_BYTES)
            self._unread = b""
            if not block:
                if self._frame is not None:
                    raise EOFError("the last frame is cut off")
                return 0
            if self._frame is None:
                block = block.lstrip(b"\0") if self._num_frames else block  # tapes fill the end of a gzip file with zeros
                if not block:
                    continue
                self._frame = self._start()
                self._num_frames += 1
            self._ready = memoryview(self._frame.decompress(block))
            if self._frame.eof:
                self._unread, self._frame = self._frame.unused_data, None
        size = min(len(target), len(self._ready))
        target[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what goes wrong below us into one line that names the file."""
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file") from None
    except EOFError:
        raise DataError(f"{path}: is truncated; copy or download it again") from None
    except (zlib.error, zstandard.ZstdError) as error:
        raise DataError(f"{path}: its compression is damaged ({error})") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None


def _decode(content: bytes, path: Path, line: int) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise _bad_utf8(path, line + content[: error.start].count(b"\n"), error) from None


def _bad_utf8(path: Path, line: int, error: UnicodeDecodeError) -> DataError:
    return DataError(f"{path} line {line}: is not UTF-8 (byte 0x{error.object[error.start]:02x}); convert it, for example with iconv")
