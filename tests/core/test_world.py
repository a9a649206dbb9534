"""Modules that are loaded when they are used."""

import subprocess
import sys
from pathlib import Path

import pytest

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
