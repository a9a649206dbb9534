"""The study of routing: its planted worlds come out as they must, and its rule reads what `route` left."""

import json
from pathlib import Path

import pytest

from trivium.core.errors import DataError
from trivium.stages.pipeline import execute
from trivium.stages.recipe import single
from trivium.studies.routing import PLANTED_PROMPTS, Routing, planted_matches, planted_world
from trivium.studies.run import run_study
from trivium.text.records import plain_match

MACHINE = {"threads": 1, "precision": "float32", "compile": "off", "ceiling": 5e10, "kernels": "torch"}


def routed(folder: Path, effect: float) -> Path:
    data = folder / f"{effect}.jsonl"
    data.write_text("".join(json.dumps(plain_match(match)) + "\n" for match in planted_matches(effect=effect, seed=4, prompts=600)))
    out = folder / f"run-{effect}"
    execute(single("route", {"machine": MACHINE, "data": str(data), "dim": 8, "routers": ["random", "preference"]}), out, quiet=True)
    return out


def test_the_planted_worlds_are_what_they_say():
    with_effect, without = planted_world("yes", effect=1.5, seed=1), planted_world("no", effect=0.0, seed=1)
    assert with_effect.passes
    assert not without.passes
    assert with_effect.accuracy > with_effect.plain_accuracy + 0.1
    assert with_effect.prompts == without.prompts == PLANTED_PROMPTS // 4


def test_a_run_whose_prompts_matter_holds_and_one_whose_do_not_does_not(tmp_path):
    found, page = run_study("routing", [routed(tmp_path, 1.5)], {}, tmp_path / "out")
    assert found["outcome"] == "seen"
    assert "In 1 of 1 runs the prompt told which model it needed" in found["verdict"]
    assert [row["what was seen"] for row in found["table"]] == ["the prompt tells", "the prompt tells", "the prompt does not tell"]
    assert "The rule, written before" in page.read_text()
    flat = Routing().find([routed(tmp_path, 0.0)])
    assert flat.outcome == "not seen"
    assert all(control.is_right for control in flat.controls)


def test_a_run_that_routed_nothing_is_told(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(DataError, match="no stage routed between a strong and a weak model"):
        Routing().find([tmp_path])
