"""What holds for the whole room."""

import subprocess
import sys


def test_text_never_imports_torch_or_transformers():
    code = "import sys, trivium.text; sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
