import pytest

from trivium.core.config import parse_overrides
from trivium.core.errors import ConfigError, ResourceError
from trivium.core.run import Run
from trivium.core.world import World
from trivium.stages.pipeline import _content, _sources, execute
from trivium.stages.recipe import load_recipe, recipe_of


def test_a_folder_that_no_run_made_is_never_adopted(tmp_path):
    (tmp_path / "prepare").mkdir()
    (tmp_path / "prepare" / "thesis.txt").write_text("years of work")
    with Run(tmp_path, quiet=True) as run, pytest.raises(ResourceError, match="was not made by a run"):
        run.begin("prepare", {"options": 1})
    assert (tmp_path / "prepare" / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("name", ["../victim", "a/b", "", ".hidden", "x" * 65])
def test_names_are_names_and_not_paths(name):
    with pytest.raises(ConfigError, match="names a folder"):
        recipe_of({"name": "x", "stages": {name: {"kind": "prepare", "sources": ["a.txt"]}}})


def test_only_options_that_are_read_count_as_inputs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prepare").mkdir()  # a folder with the name of a kind is not an input
    assert _sources({"kind": "prepare", "sources": ["a.jsonl"], "models": {"one": "m"}, "model": None}) == ["a.jsonl", "m"]
    filters = [{"kind": "url", "blocklist": "b.txt"}, {"kind": "c4", "min_sentences": 1}, {"kind": "quality", "classifier": "c"}]
    assert _sources({"kind": "prepare", "sources": ["a.jsonl"], "filters": filters}) == ["a.jsonl", "b.txt", "c"]
    mixed = {"kind": "pretrain", "tokens": "", "mix": {"web": {"tokens": "w", "weight": 1.0}, "books": {"tokens": "@b"}}}
    assert _sources(mixed) == ["w", "@b"]
    online = {"kind": "reinforce", "model": "m", "teacher": "t", "replay": {"tokens": "@tokenize", "coef": 1.0}, "guard": {"models": ["g"]}}
    assert _sources(online) == ["m", "t", "g", "@tokenize"]


def test_a_pattern_is_the_content_of_the_files_that_fit_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jsonl").write_text("1")
    before = _content("*.jsonl")
    (tmp_path / "b.jsonl").write_text("2")
    assert len(_content("*.jsonl")) == len(before) + 1


def test_ranks_that_cannot_be_cut_as_the_recipe_says_are_refused_before_the_first_stage(tmp_path):
    recipe = load_recipe("quickstart", parse_overrides(["parallel.shard=3"]))
    with pytest.raises(ConfigError, match="1 ranks cannot be cut into shard=3"):
        execute(recipe, tmp_path / "out", quiet=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("shared", ["tensor", "context"])
def test_the_same_bits_with_ranks_that_share_a_group_are_refused_before_the_first_stage(tmp_path, monkeypatch, shared):
    monkeypatch.setattr("trivium.stages.pipeline.world", lambda: World(rank=0, size=4, local_rank=0))
    recipe = load_recipe("quickstart", parse_overrides([f"parallel.{shared}=2", "machine.exact=true"]))
    with pytest.raises(ConfigError, match=f"parallel.{shared} is 2, but machine.exact computes each group whole on one rank; set it to 1"):
        execute(recipe, tmp_path / "out", quiet=True)
    assert not (tmp_path / "out").exists()
