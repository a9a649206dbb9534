"""Modules that are loaded when they are used."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from trivium.core.world import keep_memory

ROOT = Path(__file__).parents[2]
BEFORE = "import sys; from trivium.core.world import defer; defer('xml', 'xml.dom', 'xml.dom.minidom')\n"


@pytest.mark.parametrize(
    "statement", ["import xml.dom.minidom as m", "from xml.dom import minidom as m", "import xml.dom.minidom; m = xml.dom.minidom"]
)
def test_a_deferred_module_is_loaded_when_something_in_it_is_used(statement):
    lines = [
        f"{statement}",
        "assert type(sys.modules['xml.dom.minidom']).__name__ == '_Deferred'",
        "assert m.parseString('<a><b/></a>').documentElement.tagName == 'a'",
        "import xml.dom",
        "assert xml.dom.Node.ELEMENT_NODE == 1",
    ]
    ended = subprocess.run([sys.executable, "-c", BEFORE + "\n".join(lines)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is asked of the C library")
def test_the_c_library_is_told_to_keep_memory(monkeypatch):
    asked = []
    monkeypatch.setattr("ctypes.CDLL", lambda _: SimpleNamespace(mallopt=lambda *option: asked.append(option)))
    keep_memory()
    assert dict(asked) == {-4: 0, -1: -1, -2: 256 << 20}  # no maps, no trimming, 256 MiB at a time
    monkeypatch.setattr("ctypes.CDLL", lambda _: SimpleNamespace())
    keep_memory()  # one without mallopt is left alone
