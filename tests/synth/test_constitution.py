"""Constitutions: the shipped ones are read, what is wrong with another is one line that names it, principles are drawn by lot."""

import re
import shlex
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from trivium.core.config import build, parse_overrides, write_toml
from trivium.core.errors import ConfigError
from trivium.stages.recipe import single
from trivium.synth.constitution import Constitution, Principle, need_phrases, read_constitution, shipped_constitutions

PRINCIPLE = {"name": "insult", "critique": "Is it rude?", "revision": "Be polite.", "comparison": "Which is politer?"}
REVISED = {"principle": "insult", "prompt": "p", "response": "r", "critique": "c", "revision": "v"}
COMPARED = {"principle": "insult", "prompt": "p", "first": "a", "second": "b", "reasoning": "r", "answer": "A"}


def write(path, **options):
    path.write_text(write_toml({"principles": [PRINCIPLE], **options}))
    return str(path)


def test_the_shipped_ones_are_read():
    assert set(shipped_constitutions()) == {"harmless", "manners"}
    harmless, manners = read_constitution("harmless"), read_constitution("manners")
    assert (len(harmless.principles), len(manners.principles)) == (16, 4)
    assert harmless.revised
    assert {example.answer for example in harmless.compared} == {"A", "B"}  # or the examples themselves would teach a place
    need_phrases(manners, "manners")


def test_one_of_ones_own_is_read_by_its_path(tmp_path):
    found = read_constitution(write(tmp_path / "mine.toml", revised=[REVISED], compared=[COMPARED]))
    assert found == Constitution(principles=(Principle(**PRINCIPLE),), revised=found.revised, compared=found.compared)
    assert found.named("insult").critique == "Is it rude?"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"principles": []}, r"mine.toml: a constitution has a table \[\[principles\]\]"),
        ({"principles": "insult"}, r"a constitution has a table \[\[principles\]\]"),
        ({"principles": [{"name": "x"}]}, r"mine.toml: 'principles.0.critique' is missing"),
        ({"principles": [PRINCIPLE | {"comparision": "x"}]}, r"unknown option 'principles.0.comparision'"),
        ({"principles": [PRINCIPLE | {"critique": ""}]}, "'principles.0.critique' is ''"),
        ({"principles": [PRINCIPLE | {"critique": 3}]}, "'principles.0.critique' is 3"),
        ({"principles": [PRINCIPLE, PRINCIPLE]}, "two principles are called 'insult'"),
        ({"revised": [REVISED | {"principle": "insults"}]}, r"revised\[0\].principle is 'insults'; did you mean 'insult'"),
        ({"compared": [COMPARED | {"answer": "C"}]}, "'compared.0.answer' is 'C'"),
        ({"principle": []}, "unknown option 'principle'; did you mean 'principles'"),
    ],
)
def test_what_is_wrong_is_one_line_that_names_the_file(tmp_path, options, message):
    with pytest.raises(ConfigError, match=message) as raised:
        read_constitution(write(tmp_path / "mine.toml", **options))
    assert "mine.toml" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_one_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match="no constitution 'harmles'; did you mean 'harmless'.*TOML file"):
        read_constitution("harmles")


def test_broken_toml_names_the_line(tmp_path):
    (tmp_path / "mine.toml").write_text("[[principles]\n")
    with pytest.raises(ConfigError, match=r"mine.toml: not readable as TOML.*line 1"):
        read_constitution(str(tmp_path / "mine.toml"))


def test_a_simulated_reader_needs_phrases():
    with pytest.raises(ConfigError, match="'harmless': principle 'harm' has no phrases"):
        need_phrases(read_constitution("harmless"), "harmless")


def test_principles_are_drawn_evenly_and_the_same_for_the_same_number():
    found = read_constitution("manners")
    drawn = [tuple(each.name for each in found.drawn(1, "x", number, 4)) for number in range(1000)]
    assert drawn[7] == tuple(each.name for each in found.drawn(1, "x", 7, 4))
    counts = Counter(name for names in drawn for name in names)
    assert all(abs(count - 1000) < 5 * (4000 * 0.25 * 0.75) ** 0.5 for count in counts.values())
    assert any(len(set(names)) < 4 for names in drawn)  # with replacement, as published
    assert all(len({each.name for each in found.different(1, "x", number, 4)}) == 4 for number in range(50))
    assert len({found.different(1, "x", number, 1)[0].name for number in range(50)}) == 4


PAGE = (Path(__file__).parents[2] / "docs" / "ai-feedback.md").read_text()


def test_the_constitution_of_the_page_is_one():
    [block] = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    found = build(Constitution, tomllib.loads(block))
    assert (len(found.principles), len(found.revised), len(found.compared)) == (1, 1, 1)


def test_the_commands_of_the_page_have_options_that_exist():
    commands = re.findall(r"(?m)^trivium (critique|finetune|feedback|reward|reinforce) (.*)$", PAGE)
    assert len(commands) == 6
    for kind, words in commands:
        single(kind, parse_overrides(shlex.split(words.split(" --out")[0])))


def test_the_judges_of_the_page_are_judges():
    judges = re.findall(r"(?m)^\| `(\{kind=.*?\})`", PAGE)
    assert len(judges) == 3
    for judge in judges:
        named = judge.replace("=M", '="m"').replace("=U", '="http://localhost/v1"')
        assert single("feedback", {"model": "m", "prompts": "p", **parse_overrides([f"judge={named}"])})
