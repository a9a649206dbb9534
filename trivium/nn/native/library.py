"""The shared library of our kernels: compiled by the system's C++ compiler when first needed (about 10 s), then kept in the cache.

The compiler is the user's own and the sources lie beside this file; nothing is downloaded. The file's name is a hash of the sources,
the flags and the processor, so that a cache shared by two machines never runs the wrong instructions.
"""

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import torch  # loads the OpenMP that our library then shares, so that both count the same threads  # noqa: F401

from trivium.core.world import cache_folder, cpu_flags

SOURCES = tuple(sorted(path for path in Path(__file__).parent.iterdir() if path.suffix in (".cpp", ".h")))
FLAGS = ("-O3", "-march=native", "-fopenmp", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared", "-std=c++17", "-Wno-psabi")
COMPILERS = ("c++", "g++", "clang++")
LONGEST_S = 300


@cache
def library() -> ctypes.CDLL | str:
    """The loaded library, or the reason in one line why there is none."""
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        return "there is no C++ compiler (" + ", ".join(COMPILERS) + ")"
    identity = hashlib.sha256("\n".join([compiler, *FLAGS, *sorted(cpu_flags())]).encode())
    for source in SOURCES:
        identity.update(source.read_bytes())
    path = cache_folder() / "native" / f"{identity.hexdigest()[:24]}.so"
    try:
        if not path.exists():
            _compile(compiler, path)
        return ctypes.CDLL(str(path))
    except subprocess.SubprocessError as error:
        said = getattr(error, "stderr", None) or str(error)
        text = said.decode(errors="replace") if isinstance(said, bytes) else said
        return f"{compiler} failed: {' '.join(text.split())[:200]}"
    except OSError as error:
        return f"{path}: {error}"


def _compile(compiler: str, path: Path) -> None:
    """Under a name of its own first: two processes may compile at once, and the last rename wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(suffix=".so", dir=path.parent)
    os.close(handle)
    try:
        units = [str(source) for source in SOURCES if source.suffix == ".cpp"]
        subprocess.run(
            [compiler, *FLAGS, "-o", name, *units], check=True, capture_output=True, text=True, errors="replace", timeout=LONGEST_S
        )
        ctypes.CDLL(name)  # what cannot be loaded must not be kept
        os.chmod(name, 0o644)  # of a temporary file only its owner may read
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def why_not() -> str | None:
    """None if the kernels can be used, else the reason in one line."""
    found = library()
    return found if isinstance(found, str) else None


def loaded() -> ctypes.CDLL:
    """The library; `why_not` must have said None."""
    found = library()
    if isinstance(found, str):
        raise RuntimeError(found)
    return found


def lanes() -> int:
    """Numbers in a vector of the kernels: 16 with AVX-512, 8 with AVX, else 4."""
    return loaded().trivium_lanes()


def has_fast_int8() -> bool:
    """Whether the processor multiplies bytes several times faster than floats (AVX-512 VNNI, AVX-VNNI)."""
    return why_not() is None and bool(loaded().trivium_has_fast_int8())
