import pytest

from trivium.core.errors import ConfigError
from trivium.studies.books import Books, is_quoted
from trivium.studies.run import run_study


def test_a_trillion_tokens_are_15_million_books(tmp_path):
    facts, _ = run_study("books", [], {}, tmp_path)
    assert facts["verdict"] == "1e+12 tokens are 14.9 million books of 67,000 tokens."
    assert facts["outcome"] == "seen"
    assert facts["table"][0]["books"] == pytest.approx(1e12 / 67_000)
    assert {row["data set"] for row in facts["table"]} >= {"GPT-3", "Gopher", "LLaMA"}


@pytest.mark.parametrize(("tokens", "is_right"), [(1e12, True), (1.02e12, False), (0.99e12, False), (15e6 * 67_000, True)])
def test_the_rule_is_one_percent(tokens, is_right):
    assert is_quoted(tokens) == is_right


def test_folders_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="looks at quoted numbers, not at folders"):
        Books().find([tmp_path])
