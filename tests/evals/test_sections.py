"""Sections of a task, counted by hand."""

import pytest

from trivium.core.errors import ConfigError, DataError
from trivium.evals.measures import by_group, measured
from trivium.evals.sections import ALL, sections_of
from trivium.evals.task import NamedTask, Section


def rows(**groups):
    found = [(group, value) for group, values in groups.items() for value in values]
    return by_group([{"item": number, "group": group, "scores": {"acc": value}} for number, (group, value) in enumerate(found)])


def values(found, measure="acc"):
    return {name: measured(part, measure)["value"] for name, part in found.items()}


GROUPS = rows(a=[1, 0], b=[1, 1, 1, 1], c=[0, 0, 1])


@pytest.mark.parametrize(
    ("section", "value"),
    [
        (Section(groups=("a", "b")), 5 / 6),  # every item counts the same
        (Section(groups=("a", "b"), weights={"b": 2.0}), (1 + 2 * 4) / (2 + 2 * 4)),
        (Section(groups=("a", "b"), is_even=True), (1 / 2 + 1) / 2),
        (Section(groups=("a", "b"), is_even=True, weights={"b": 3.0}), (1 / 2 + 3) / 4),
        (Section(groups=("c", "nowhere")), 1 / 3),
    ],
)
def test_a_section_is_the_weighted_mean_of_its_items(section, value):
    found = sections_of(GROUPS, {"one": section}, "acc")
    assert values(found) == {"one": pytest.approx(value)}
    assert measured(found["one"], "acc")["n"] == len(found["one"])


def test_the_mean_of_all_is_that_of_the_sections_by_their_weights_whatever_their_sizes():
    sections = {"one": Section(groups=("a", "b")), "two": Section(groups=("c",), weight=0.5), "none": Section(groups=("nowhere",))}
    found = values(sections_of(GROUPS, sections, "acc"))
    assert found == {"one": pytest.approx(5 / 6), "two": pytest.approx(1 / 3), ALL: pytest.approx((5 / 6 + 0.5 / 3) / 1.5)}


def test_an_interval_is_as_wide_as_the_items_say():
    groups = rows(a=[1, 0] * 50)
    plain, weighted = (measured(part, "acc") for part in (groups["a"], sections_of(groups, {"s": Section(groups=("a",))}, "acc")["s"]))
    assert weighted["stderr"] == pytest.approx(plain["stderr"])
    assert (weighted["low"], weighted["high"]) == pytest.approx((plain["low"], plain["high"]), abs=0.01)


TASK = 'data = "rows.jsonl"\nprompt = "{{q}}"\ngroup = "part"\n[scoring]\nkind = "continuation"\ntarget = "b"\n'


def own(folder, sections, task=TASK):
    (folder / "rows.jsonl").write_text('{"q": "a", "part": "north"}\n{"q": "b", "part": "south"}\n')
    (folder / "own.toml").write_text(f"{task}{sections}")
    return NamedTask.read(str(folder / "own.toml"))


def test_a_group_that_no_record_is_of_is_one_line_before_anything_is_asked(tmp_path):
    named = own(tmp_path, '[sections.Lands]\ngroups = ["north", "suoth"]\n')
    for looked in (named.check, lambda: named.items(limit=1)):
        with pytest.raises(DataError, match="own.toml: section 'Lands' names group 'suoth', of which .*; did you mean 'south'") as error:
            looked()
        assert "\n" not in str(error.value)
    own(tmp_path, '[sections.Lands]\ngroups = ["north", "south"]\n').check()


def test_a_weight_or_a_section_that_nobody_would_read_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="'nroth' is none of the section's groups; did you mean 'north'"):
        own(tmp_path, '[sections.Lands]\ngroups = ["north"]\nweights = { nroth = 2.0 }\n')
    with pytest.raises(ConfigError, match="say with group which one an item is of"):
        own(tmp_path, '[sections.Lands]\ngroups = ["north"]\n', TASK.replace('group = "part"\n', ""))


def test_reward_bench_has_its_sections_and_math_counts_as_much_as_code():
    """Lambert et al. 2024: 447 records of math-prm count as 984, the number of the six programming languages, 164 each."""
    sections = NamedTask.read("reward_bench:pairs.jsonl").task.sections
    assert list(sections) == ["Chat", "Chat Hard", "Safety", "Reasoning", "Prior Sets"]
    reasoning = sections["Reasoning"]
    assert reasoning.weights["math-prm"] * 447 == pytest.approx(984) == len(reasoning.groups[1:]) * 164
    assert len({group for section in sections.values() for group in section.groups}) == 23 + 4
