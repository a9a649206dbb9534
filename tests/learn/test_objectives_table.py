from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "objectives.py"


def test_the_page_says_what_the_code_says():
    """`python scripts/objectives.py` writes it."""
    spec = spec_from_file_location("objectives_page", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    page = module_from_spec(spec)
    spec.loader.exec_module(page)
    assert page.FILE.read_text(encoding="utf-8") == page.table()
