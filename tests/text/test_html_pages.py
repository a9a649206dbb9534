"""Pages: their main text, and that a page cannot stop us."""

import pytest

from trivium.core.errors import ConfigError, DataError
from trivium.text import html_pages
from trivium.text.html_pages import Extractor
from trivium.text.read import read_documents

PROSE = "The harbour was quiet that morning, and the captain counted his ships again while the wind turned slowly to the west. " * 6
PAGE = (
    "<html><head><title>A day</title></head><body><nav><a href='/'>Home</a> <a href='/x'>News</a></nav>"
    f"<article><h1>A day</h1><p>{PROSE}</p></article><footer>imprint</footer></body></html>"
)


@pytest.fixture
def program(tmp_path, monkeypatch):
    """The other side is played by a few lines."""

    def set_to(code: str) -> None:
        (tmp_path / "program.py").write_text(code)
        monkeypatch.setattr(html_pages, "_PROGRAM", tmp_path / "program.py")
        monkeypatch.setattr(html_pages, "find_spec", lambda _: True)

    return set_to


def test_the_main_text_is_taken_and_menus_are_not(tmp_path):
    pytest.importorskip("trafilatura")
    for name in ("a.html", "b.htm", "c.xhtml"):
        (tmp_path / name).write_text(PAGE)
        [document] = read_documents(tmp_path / name)
        assert "counted his ships" in document.text
        assert "Home" not in document.text
    (tmp_path / "empty.html").write_text("<html><body></body></html>")
    assert [document.text for document in read_documents(tmp_path / "empty.html")] == [""]


def test_a_page_that_takes_too_long_is_one_line_and_the_next_one_is_read(program):
    program("import sys, time\nfor line in sys.stdin:\n    time.sleep(60 * ('slow' in line)); print('{\"text\": \"ok\"}', flush=True)")
    extract = Extractor(seconds=1.0)
    with pytest.raises(DataError, match=r"page 1: takes longer than 1 s"):
        extract("slow", "page 1")
    assert extract("quick", "page 2") == "ok"
    extract.close()


def test_a_page_that_ends_the_process_is_one_line_and_the_next_one_is_read(program):
    program(
        "import os, sys\n"
        "for line in sys.stdin:\n"
        "    'bad' in line and os._exit(9)\n"
        '    print(\'{"error": "odd"}\' if \'odd\' in line else \'{"text": ""}\', flush=True)'
    )
    extract = Extractor()
    with pytest.raises(DataError, match=r"page 1: ended the process that reads it \(code 9\)"):
        extract("bad", "page 1")
    with pytest.raises(DataError, match=r"page 2: its text cannot be taken out \(odd\)"):
        extract("odd", "page 2")
    assert extract("good", "page 3") == ""
    extract.close()


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr(html_pages, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"pip install 'trivium\[html\]'"):
        Extractor()
