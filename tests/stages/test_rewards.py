"""Rewards in a run: what each rule says is logged by name, and code of the user's runs only where the user allowed it."""

import json
from pathlib import Path

import pytest

from tests.score.chat_server import says, serving
from tests.score.test_sandbox import why_not
from tests.stages.test_alignment import LENGTH, SAMPLED, killed_once, place, run, write
from trivium.core.commit import hash_file
from trivium.core.config import plain
from trivium.core.errors import ConfigError, DataError, ResourceError
from trivium.score import sandbox
from trivium.score.rewards import opened as opening
from trivium.stages.pipeline import _identity, check, execute
from trivium.stages.plugins import allowed_plugins
from trivium.stages.recipe import Recipe, single

__all__ = ["place"]  # the fixture that makes a folder with a model and prompts
PLUGIN = {"kind": "plugin", "function": "mine.py:score"}
MINE = "def score(answers):\n    return [len(said.response) for said in answers]\n"


def recipe(**options) -> Recipe:
    machine = {"threads": 1, "precision": "float32", "compile": "off", "ceiling": 5e10, "kernels": "torch"}
    return single("reinforce", {"model": "base", **SAMPLED, "phases": 1, "machine": machine, **options})


def rows(out: str) -> list[dict]:
    return [json.loads(line) for line in (Path(out) / "metrics.jsonl").read_text().splitlines()]


def test_each_rule_is_logged_by_its_name_before_its_weight():
    rules = [LENGTH | {"weight": 0.5}, {"kind": "repetition", "n": 1}, {"kind": "length", "max_words": 2, "weight": 2.0}]
    last = run("reinforce", rewards=rules, missing_end_penalty=0.0, missing_end="mask")[-1]
    parts = [last["reward/length"], last["reward/repetition"], last["reward/length_2"]]
    assert last["reward"] == pytest.approx(0.5 * parts[0] + parts[1] + 2 * parts[2])


def test_parts_are_those_of_the_answers_that_are_kept_when_prompts_are_replaced():
    rules = [{"kind": "repetition", "n": 1}]
    last = run("reinforce", rewards=rules, answers=2, refill=True, credit="group_mean", missing_end="mask", phases=1)[-1]
    assert last["reward/repetition"] == pytest.approx(last["reward"])


def test_parts_are_the_same_for_a_run_that_goes_on(monkeypatch):
    rules = [LENGTH, {"kind": "repetition"}]
    options = {"credit": "greedy_baseline", "objective": "reinforce", "passes": 1, "minibatches": 1}
    killed_once("reinforce", 2, monkeypatch, rewards=rules, phases=3, **options)


@pytest.mark.skipif(bool(why_not()), reason=why_not())
def test_code_is_a_reward(place):
    write(place / "prompts.jsonl", [{"prompt": word, "tests": ["assert True", "assert f() == 1"]} for word in ("king", "sea")])
    last = run("reinforce", rewards=[{"kind": "code"}], phases=1, minibatches=1)[-1]
    assert 0 <= last["reward/code"] <= 1


@pytest.mark.skipif(bool(why_not()), reason=why_not())
def test_a_prompt_without_tests_is_told_before_training(place):
    write(place / "prompts.jsonl", [{"prompt": "king", "tests": "assert True"}, {"prompt": "sea"}])
    with pytest.raises(DataError, match="the field 'tests' of a prompt is no text.*found: prompt"):
        run("reinforce", rewards=[{"kind": "code"}])


def test_where_there_is_no_sandbox_nothing_starts(monkeypatch):
    def refused():
        raise ResourceError("code cannot be run in a sandbox here")

    monkeypatch.setattr(opening, "check_sandbox", refused)
    with pytest.raises(ResourceError, match="cannot be run in a sandbox"):
        check(recipe(rewards=[{"kind": "code"}]))
    assert not Path("out").exists()
    assert sandbox.check_sandbox is not refused


def test_a_judge_is_asked_for_every_answer():
    with serving(says("VERDICT {nonce} 4")) as (url, asked):
        last = run("reinforce", rewards=[{"kind": "llm_judge", "url": url, "model": "m"}, LENGTH], phases=1)[-1]
    assert last["reward/llm_judge"] == pytest.approx(1 / 3)
    assert len(asked) == SAMPLED["prompts_per_phase"]


def test_a_key_that_is_not_there_is_told_before_anything_is_loaded(monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(ConfigError, match="'NO_SUCH_KEY'"):
        check(recipe(rewards=[{"kind": "llm_judge", "url": "http://localhost:1/v1", "model": "m", "key_variable": "NO_SUCH_KEY"}]))


def test_a_recipe_alone_does_not_load_code(place):
    (place / "mine.py").write_text("raise SystemExit")
    with pytest.raises(ConfigError, match="mine.py: is Python that the recipe wants to run; .*add --plugin mine.py"):
        execute(recipe(rewards=[PLUGIN]), Path("out"), quiet=True)
    assert not Path("out").exists()
    with pytest.raises(ConfigError, match="add --plugin mine.py"):
        run("reinforce", rewards=[PLUGIN])


def test_a_plugin_is_loaded_where_it_was_allowed_and_kept_by_its_hash(place):
    (place / "mine.py").write_text(MINE)
    execute(recipe(rewards=[PLUGIN]), Path("out"), quiet=True, plugins=[Path("mine.py")])
    assert rows("out")[-1]["reward/plugin"] >= 0
    hashes = json.loads(Path("out/manifest.json").read_text())["plugins"]
    assert hashes == {"mine.py": hash_file(place / "mine.py")[1]}
    done = Path("out/reinforce/done.json").read_bytes()
    execute(recipe(rewards=[PLUGIN]), Path("out"), quiet=True, plugins=[Path("mine.py")])
    assert Path("out/reinforce/done.json").read_bytes() == done  # complete, nothing to do
    (place / "mine.py").write_text(MINE + "# changed\n")
    execute(recipe(rewards=[PLUGIN]), Path("out"), quiet=True, plugins=[Path("mine.py")])
    assert "options or inputs changed, starting it again" in Path("out/log.txt").read_text()
    assert Path("out/reinforce/done.json").read_bytes() != done


def test_the_identity_of_a_stage_has_the_plugins_it_uses(place):
    class Around:
        plugins = {str(place / "mine.py"): "abc", str(place / "other.py"): "def"}

    options = plain(recipe(rewards=[PLUGIN]).stages["reinforce"])
    assert _identity(Around(), recipe(rewards=[PLUGIN]), options)["inputs"]["mine.py"] == "abc"


def test_a_plugin_that_nothing_uses_or_that_is_not_there_is_refused(place):
    (place / "mine.py").write_text(MINE)
    with pytest.raises(ConfigError, match="--plugin mine.py: the recipe does not use it"):
        allowed_plugins(recipe(rewards=[LENGTH]), [Path("mine.py")])
    with pytest.raises(ConfigError, match="--plugin your.py: there is no such file"):
        allowed_plugins(recipe(rewards=[PLUGIN]), [Path("your.py")])


def test_the_command_line_allows_a_plugin(place, light):
    (place / "mine.py").write_text(MINE)
    arguments = ["reinforce", "model=base", "prompts=prompts.jsonl", "phases=1", 'rewards=[{kind="plugin", function="mine.py:score"}]']
    refused = light.run([*arguments, "--dry-run"], place)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "add --plugin mine.py" in refused.err
    unused = light.run([*arguments, "--plugin", "other.py"], place)
    assert "--plugin other.py: there is no such file" in unused.err
