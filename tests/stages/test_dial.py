"""The dial: what is given wins, what is open is derived and said, and what was settled stays as it is."""

import pytest

from trivium.core.config import build, plain
from trivium.core.errors import ConfigError
from trivium.nn.flops import flops_per_token
from trivium.stages.dial import seconds_of
from trivium.stages.machine import Machine
from trivium.stages.planning.plan import plan
from trivium.stages.pretrain import Pretrain
from trivium.stages.recipe import load_recipe, single
from trivium.stages.settle import settle

MACHINE = {"device": "cpu", "threads": 1, "precision": "float32", "compile": "off", "ceiling": 1e11}
OPEN = ("depth", "width", "head_dim", "batch_tokens", "steps")


def pretrain(**options):
    return build(Pretrain, {"kind": "pretrain", "tokens": "@tokenize", **options})


def settled(**options):
    return pretrain(**options).settled(8192, Machine(**MACHINE).work_within)


def said(lines):
    return {line.name: line.value for line in lines}


def test_the_quickstart_computes_what_it_was_tuned_to():
    recipe, _ = settle(load_recipe("quickstart", {"machine": MACHINE}))
    stage = recipe.stages["pretrain"]
    assert [plain(stage)[name] for name in OPEN] == [4, 256, 64, 2048, 700]
    assert (stage.optimizer.lr, stage.optimizer.embed_lr, stage.optimizer.head_lr) == (0.02, 0.01, 0.004)


def test_a_depth_settles_everything_and_every_value_has_its_line():
    stage, lines = settled(depth=6, seq_len=512)
    assert [plain(stage)[name] for name in OPEN] == [6, 384, 64, 65_536, 2_101]
    assert set(said(lines)) == {"width", "head_dim", "batch_tokens", "steps", "optimizer.lr", "optimizer.embed_lr", "optimizer.head_lr"}
    assert str(lines[0]).split()[:2] == ["width", "384"]


def test_what_is_given_wins_and_moves_what_depends_on_it():
    stage, lines = settled(depth=6, width=128, head_dim=32, batch_tokens=1024, steps=10, optimizer={"lr": 0.5})
    assert [plain(stage)[name] for name in OPEN] == [6, 128, 32, 1024, 10]
    assert stage.optimizer.lr == 0.5
    assert set(said(lines)) == {"optimizer.embed_lr", "optimizer.head_lr"}
    assert stage.optimizer.embed_lr == 0.0141  # half the width: the root of 2; a batch above the rule's changes nothing


@pytest.mark.parametrize("options", [{"depth": 5}, {"params": 1e7}, {"time_budget": "10m"}, {"optimizer": "adamw"}])
def test_what_was_settled_derives_nothing_more_on_another_machine(options):
    stage, _ = settled(**options)
    assert stage.settled(8192, lambda seconds: seconds * 1e6) == (stage, [])


def test_params_choose_the_depth_that_comes_nearest():
    stage, lines = settled(params=10e6)
    assert stage.depth == 5  # 11.3M; depth 4 has 7.3M
    assert "11.3M parameters" in str(lines[0])


def test_a_time_budget_is_the_work_that_the_machine_does_in_it():
    stage, lines = settled(time_budget="10m", depth=4, seq_len=128)
    work = 600 * 0.33 * 1e11
    assert said(lines)["steps"] * stage.batch_tokens == pytest.approx(work / flops_per_token(stage.shape_at(4, 8192), 128), rel=0.01)
    longer, _ = settled(time_budget="10h")
    assert longer.depth > settled(time_budget="10m")[0].depth


def test_adamw_has_one_rate():
    stage, lines = settled(depth=12, optimizer="adamw")
    assert said(lines)["optimizer.lr"] == stage.optimizer.lr == 6e-4


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10m", 600), ("1.5h", 5400), ("2d", 172_800)])
def test_a_time_is_a_number_with_a_unit(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["10", "0m", "-1m", "ten minutes", "1h30m"])
def test_another_way_to_write_a_time_is_refused(text):
    with pytest.raises(ConfigError, match="for example 10m"):
        seconds_of(text)


def test_a_dry_run_prints_the_derivation():
    recipe = load_recipe("quickstart", {"machine": MACHINE, "pretrain": {"width": 0, "depth": 6}})
    [line] = [line for line in plan(recipe).splitlines() if line.startswith("pretrain: width")]
    assert line.split()[1:4] == ["width", "384", "64"]


def test_a_width_that_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="width is 16; it is 32 or more, or 0 to derive it"):
        single("pretrain", {"tokens": "t", "width": 16})


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"params": float("inf")}, "'params'"),
        ({"params": 1e13}, "'params' is"),
        ({"params": 9e11}, "the dial goes up to .* parameters, at depth"),
        ({"time_budget": "9" * 400 + "d"}, "it is at most 366 days"),
        ({"time_budget": "0s"}, "a number above 0"),
    ],
)
def test_what_no_machine_trains_is_refused(options, problem):
    with pytest.raises(ConfigError, match=problem):
        settled(**options)
