"""Options become checked objects; every mistake is one line that names the option."""

import math
import tomllib
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given, strategies as st
from pydantic import Field

from trivium.core.config import KEEPS_REST, build, component, merge, parse_overrides, plain, read_toml, write_toml
from trivium.core.errors import ConfigError


@component
class DPO:
    kind: Literal["dpo"] = "dpo"
    beta: float = Field(default=0.1, gt=0)


@component
class IPO:
    kind: Literal["ipo"] = "ipo"
    beta: float = Field(default=0.1, gt=0)
    margin: float = 1.0

    def __post_init__(self) -> None:
        if self.margin < 0:
            raise ConfigError(f"margin is {self.margin}; it is a distance, so it must not be below 0")


Objective = Annotated[DPO | IPO, Field(discriminator="kind")]


@component
class Data:
    path: Path
    weights: dict[str, float] = Field(default_factory=dict)


@component
class Stage:
    objective: Objective = DPO()
    mode: Literal["fast", "exact"] = "fast"


@component
class Recipe:
    data: Data
    stage: Stage = Stage()
    anchor: Objective | None = None
    losses: tuple[Objective, ...] = ()
    stages: dict[str, Stage] = Field(default_factory=dict)
    steps: int = Field(default=10, ge=1, le=1000)
    lr: float = 1e-3
    name: str = "x"


GOOD = {"data": {"path": "corpus.txt"}}
MISTAKES = {
    "top_level": ({"stepz": 5}, "unknown option 'stepz'; did you mean 'steps'?"),
    "nested": ({"stage": {"mod": "fast"}}, "unknown option 'stage.mod'; did you mean 'stage.mode'?"),
    "union_default": (
        {"stage": {"objective": {"betta": 1}}},
        "unknown option 'stage.objective.betta'; did you mean 'stage.objective.beta'?",
    ),
    "union_chosen": (
        {"stage": {"objective": {"kind": "ipo", "marginn": 1}}},
        "unknown option 'stage.objective.marginn'; did you mean 'stage.objective.margin'?",
    ),
    "option_of_another_kind": ({"stage": {"objective": {"margin": 1}}}, "unknown option 'stage.objective.margin'"),
    "optional_union": ({"anchor": {"kind": "ipo", "bta": 1}}, "unknown option 'anchor.bta'; did you mean 'anchor.beta'?"),
    "list": ({"losses": [{"kind": "dpo", "bta": 1}]}, "unknown option 'losses.0.bta'; did you mean 'losses.0.beta'?"),
    "table_of_tables": ({"stages": {"one": {"mod": "x"}}}, "unknown option 'stages.one.mod'; did you mean 'stages.one.mode'?"),
    "text_for_int": ({"steps": "ten"}, "'steps' is 'ten': input should be a valid integer"),
    "float_for_int": ({"steps": 1.5}, "'steps' is 1.5"),
    "bool_for_int": ({"steps": True}, "'steps' is True"),
    "number_for_text": ({"name": 3}, "'name' is 3: input should be a valid string"),
    "text_for_table": ({"stage": {"objective": 3}}, "'stage.objective' is 3"),
    "below": ({"steps": 0}, "'steps' is 0: input should be greater than or equal to 1"),
    "above": ({"steps": 1001}, "'steps' is 1001: input should be less than or equal to 1000"),
    "range_in_union": ({"stage": {"objective": {"beta": 0}}}, "'stage.objective.beta' is 0: input should be greater than 0"),
    "infinite": ({"lr": float("inf")}, "'lr' is inf: input should be a finite number"),
    "no_number": ({"stage": {"objective": {"beta": float("nan")}}}, "'stage.objective.beta' is nan: input should be"),
    "infinite_in_a_table": ({"data": {"path": "x", "weights": {"a": float("-inf")}}}, "'data.weights.a' is -inf: input should be a finite"),
    "choice": ({"stage": {"mode": "slow"}}, "'stage.mode' is 'slow'; it is one of: 'fast' or 'exact'"),
    "wrong_kind": ({"stage": {"objective": {"kind": "kto"}}}, "'stage.objective' is 'kto'; its kind is one of: 'dpo', 'ipo'"),
    "wrong_word": ({"stage": {"objective": "kto"}}, "'stage.objective' is 'kto'; its kind is one of: 'dpo', 'ipo'"),
    "no_kind": ({"anchor": {"beta": 1}}, "'anchor' needs a kind, for example anchor.kind="),
    "missing": ({"data": {}}, "'data.path' is missing"),
    "own_check": ({"anchor": {"kind": "ipo", "margin": -1}}, "margin is -1.0; it is a distance"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_names_the_option(mistake):
    options, message = MISTAKES[mistake]
    with pytest.raises(ConfigError) as caught:
        build(Recipe, {**GOOD, **options})
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_the_place_comes_first():
    with pytest.raises(ConfigError, match=r"^recipe\.toml: 'data' is missing"):
        build(Recipe, {}, where="recipe.toml")


def test_a_component_made_in_python_is_checked_too():
    with pytest.raises(ConfigError, match="DPO: 'beta' is 0: input should be greater than 0"):
        DPO(beta=0)
    with pytest.raises(ConfigError, match="DPO: unknown option 'betta'; did you mean 'beta'"):
        DPO(betta=1)


def test_a_component_made_in_python_has_finite_numbers_and_a_field_may_say_otherwise():
    @component
    class Limit:
        most: float = Field(default=math.inf, gt=0, allow_inf_nan=True)

    with pytest.raises(ConfigError, match="'beta' is inf: input should be a finite number"):
        DPO(beta=math.inf)
    assert Limit(most=math.inf) == Limit()
    assert build(Limit, tomllib.loads(write_toml(plain(Limit())))) == Limit()


def test_a_component_cannot_be_changed():
    with pytest.raises(AttributeError):
        DPO().beta = 2  # type: ignore[misc]


def test_a_word_chooses_the_kind_everywhere():
    made = build(Recipe, {**GOOD, "stage": {"objective": "ipo"}, "anchor": "ipo", "losses": ["dpo", "ipo"]})
    assert (made.stage.objective, made.anchor, made.losses) == (IPO(), IPO(), (DPO(), IPO()))


def test_an_option_without_its_kind_keeps_the_default_kind():
    assert build(Recipe, {**GOOD, "stage": {"objective": {"beta": 0.5}}}).stage.objective == DPO(beta=0.5)


def test_an_option_after_a_word_keeps_the_chosen_kind():
    options = parse_overrides(["stage.objective=ipo", "stage.objective.beta=0.2"])
    assert build(Recipe, merge(GOOD, options)).stage.objective == IPO(beta=0.2)


def test_overrides_are_toml_values_or_text():
    words = ["a=1", "b=1e-3", "c=true", "d=[1, 2]", 'e="1"', "f=runs/x y", "g=", "h.i.j=-2", "k=x=y"]
    values = {"a": 1, "b": 1e-3, "c": True, "d": [1, 2], "e": "1", "f": "runs/x y", "g": "", "h": {"i": {"j": -2}}, "k": "x=y"}
    assert parse_overrides(words) == values


def test_a_list_may_hold_bare_words():
    assert parse_overrides(["a=[piqa, my/task.toml,x:y]"]) == {"a": ["piqa", "my/task.toml", "x:y"]}
    assert parse_overrides(["a=[]", "b=[x", 'c=["x", y]', "d=[{x}]"]) == {"a": [], "b": "[x", "c": '["x", y]', "d": "[{x}]"}


def test_the_last_override_wins():
    assert parse_overrides(["a.b=1", "a.c=2", "a.b=3"]) == {"a": {"b": 3, "c": 2}}


@pytest.mark.parametrize("word", ["steps", "=3", "a..b=1", "a b=1", "--steps=3 ", ".a=1"])
def test_a_word_that_is_no_option_is_refused(word):
    if word.startswith("--"):
        assert parse_overrides([word])  # the name is refused later, with a suggestion
        return
    with pytest.raises(ConfigError, match="is not an option; write name=value"):
        parse_overrides([word])


def test_merge_lets_the_higher_win_and_keeps_the_rest():
    low = {"steps": 1, "stage": {"objective": {"kind": "ipo", "beta": 0.3}, "mode": "exact"}}
    assert merge(low, {"stage": {"objective": {"beta": 0.5}}}) == {
        "steps": 1,
        "stage": {"objective": {"kind": "ipo", "beta": 0.5}, "mode": "exact"},
    }
    assert low["stage"]["objective"]["beta"] == 0.3


def test_merge_drops_the_options_of_another_kind():
    merged = merge({"objective": {"kind": "ipo", "margin": 3}}, {"objective": {"kind": "dpo", "beta": 1}})
    assert merged == {"objective": {"kind": "dpo", "beta": 1}}


def test_a_recipe_file_reads_back(tmp_path):
    options = {"steps": 3, "stage": {"objective": {"kind": "ipo", "beta": 0.25}}, "text": 'two\nlines "quoted"'}
    (tmp_path / "r.toml").write_text(write_toml(options), encoding="utf-8")
    assert read_toml(tmp_path / "r.toml") == options


def test_a_file_that_is_not_toml_is_named_with_its_line(tmp_path):
    (tmp_path / "r.toml").write_text("steps = 3\nlr = \n")
    with pytest.raises(ConfigError, match=r"r\.toml: not readable as TOML: .*line 2"):
        read_toml(tmp_path / "r.toml")
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="b.toml: not readable"):
        read_toml(tmp_path / "b.toml")
    with pytest.raises(ConfigError, match="there is no such file"):
        read_toml(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="is a folder"):
        read_toml(tmp_path)


objectives = st.one_of(st.builds(DPO, beta=st.floats(1e-6, 1e6)), st.builds(IPO, beta=st.floats(1e-6, 1e6), margin=st.floats(0, 1e6)))
stages = st.builds(Stage, objective=objectives, mode=st.sampled_from(["fast", "exact"]))
names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=8)
recipes = st.builds(
    Recipe,
    data=st.builds(Data, path=st.sampled_from([Path("a"), Path("b/c.txt")]), weights=st.dictionaries(names, st.floats(0, 1))),
    stage=stages,
    anchor=st.none() | objectives,
    losses=st.lists(objectives, max_size=3).map(tuple),
    stages=st.dictionaries(names, stages, max_size=2),
    steps=st.integers(1, 1000),
    lr=st.floats(allow_nan=False, allow_infinity=False),
    name=st.text(st.characters(codec="utf-8")),
)


@given(recipes)
def test_build_undoes_plain(recipe):
    assert build(Recipe, plain(recipe)) == recipe


@given(recipes)
def test_a_written_recipe_is_the_same_recipe(tmp_path_factory, recipe):
    file = tmp_path_factory.getbasetemp() / "recipe.toml"
    file.write_text(write_toml(plain(recipe)), encoding="utf-8", newline="")
    assert build(Recipe, read_toml(file)) == recipe


def test_a_misspelt_option_is_told_before_the_one_that_it_leaves_missing():
    with pytest.raises(ConfigError, match="unknown option 'dta'; did you mean 'data'"):
        build(Recipe, {"dta": {"path": "corpus.txt"}})


@component
class Sampler:
    heat: float = 1.0
    most: int = 64


@component
class Writer:
    asks: Annotated[Sampler, KEEPS_REST] = Sampler(heat=0.5)
    says: Sampler = Sampler(heat=0.5)


def test_a_field_may_keep_the_rest_of_its_own_default():
    found = build(Writer, {"asks": {"most": 3}, "says": {"most": 3}})
    assert (found.asks, found.says) == (Sampler(heat=0.5, most=3), Sampler(heat=1.0, most=3))
    assert build(Writer, {"asks": {"heat": 0.1}}).asks == Sampler(heat=0.1)
    with pytest.raises(ConfigError, match="unknown option 'asks.moist'; did you mean 'asks.most'"):
        build(Writer, {"asks": {"moist": 3}})
