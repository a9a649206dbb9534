import pytest

from trivium.core.config import parse_overrides, plain
from trivium.core.errors import ConfigError
from trivium.stages.recipe import load_recipe, recipe_toml, shipped, single


def test_every_shipped_recipe_loads_and_its_resolved_form_says_the_same(tmp_path):
    assert "quickstart" in shipped()
    for name in shipped():
        recipe = load_recipe(name, {})
        (tmp_path / "run.toml").write_text(recipe_toml(recipe))
        assert plain(load_recipe(str(tmp_path / "run.toml"), {})) == plain(recipe)


def test_an_override_reaches_its_stage():
    assert load_recipe("quickstart", {"pretrain": {"steps": 7}, "seed": 3}).stages["pretrain"].steps == 7
    assert load_recipe("quickstart", {"reinforce": {"credit": "group_mean", "answers": 4}}).stages["reinforce"].credit.kind == "group_mean"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pretrian.steps=7"], "unknown option 'pretrian'; did you mean 'pretrain'"),
        (["pretrain.stepz=7"], "pretrain: unknown option 'stepz'; did you mean 'steps'"),
        (["pretrain.steps=many"], "pretrain: 'steps' is 'many'"),
        (["pretrain.micro_batch_rows=0"], "pretrain: 'micro_batch_rows' is 0"),
        (["finetune.model=@reward/model"], "finetune: '@reward/model' points to stage 'reward', which does not come before it"),
        (["reinforce.credit=gea"], "reinforce: 'credit' is 'gea'; its kind is one of"),
    ],
)
def test_a_mistake_names_stage_and_option(words, message):
    with pytest.raises(ConfigError) as error:
        load_recipe("quickstart", parse_overrides(words))
    assert str(error.value).startswith(message)


def test_one_stage_is_a_recipe_too():
    recipe = single("finetune", {"model": "m", "data": "d.jsonl", "steps": 3, "seed": 5})
    assert (recipe.seed, recipe.stages["finetune"].steps) == (5, 3)
    with pytest.raises(ConfigError, match="'data' is missing"):
        single("finetune", {"model": "m", "steps": 3})
