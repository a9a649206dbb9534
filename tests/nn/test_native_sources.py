"""The kernels' sources compile for other processors than this one."""

import platform
import shutil
import subprocess

import pytest

from trivium.nn.native.library import COMPILERS, FLAGS, SOURCES

COMPILER = next(filter(None, map(shutil.which, COMPILERS)), None)
# no AVX; AVX2; AVX-512 without VNNI; with VNNI and bf16
PROCESSORS = ("x86-64", "x86-64-v3", "x86-64-v4", "sapphirerapids")


@pytest.mark.skipif(COMPILER is None or platform.machine() != "x86_64", reason="needs a C++ compiler for x86-64")
@pytest.mark.parametrize("processor", PROCESSORS)
def test_the_sources_compile_for(processor, tmp_path):
    flags = ["-O0" if flag == "-O3" else flag for flag in FLAGS if flag not in ("-shared", "-march=native")]
    for source in (source for source in SOURCES if source.suffix == ".cpp"):
        command = [COMPILER, *flags, f"-march={processor}", "-c", "-o", str(tmp_path / "out.o"), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[:2000]
