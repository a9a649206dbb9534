"""The studies of abstention and diversity: on answers that are made up, and on a run folder with them."""

import json
import math

import numpy as np
import pytest

from trivium.core.errors import DataError
from trivium.stages.recipe import load_recipe, recipe_toml
from trivium.studies.abstention import HEADER, Abstention, abstains, knows_its_limits
from trivium.studies.asked import Asked, asked_in
from trivium.studies.diversity import Diversity, difference, is_richer, wrong_share
from trivium.studies.run import run_study

ABSTAIN = "I do not know."


def asked(said, known, right=("red",), taught="reinforce", wrong=1.0, stage="asked"):
    return Asked(
        "run", stage, taught, wrong, np.array(known), [list(right)] * len(said), [[text.lower() for text in each] for each in said]
    )


def test_marks_and_entropies_are_those_of_the_answers():
    found = asked([["red", "I do not know.", "blue", "red"], ["blue", "blue", "blue", "blue"]], [True, False])
    assert found.marks().tolist() == [[1, 0, -1, 1], [-1, -1, -1, -1]]
    entropies = asked([["red", "green", "red", "green"], ["red"] * 4, ["blue"] * 4], [True] * 3, right=("red", "green")).entropies()
    assert entropies[:2].tolist() == pytest.approx([math.log(2), 0.0])
    assert math.isnan(entropies[2])


def test_abstentions_are_counted_apart_for_known_and_unknown():
    found = asked([["red", ABSTAIN], ["red", "red"], [ABSTAIN, ABSTAIN], ["blue", ABSTAIN]], [True, True, False, False])
    assert abstains(found, known=True)[0] == 0.25
    assert abstains(found, known=False)[0] == 0.75
    with pytest.raises(DataError, match="nobody unknown was asked about"):
        abstains(asked([["red"]], [True]), known=False)


def test_the_rule_of_abstention_wants_both_sides():
    def model(known, unknown, n=60):
        said = [[ABSTAIN if i < known * n else "red"] for i in range(n)] + [[ABSTAIN if i < unknown * n else "blue"] for i in range(n)]
        return asked(said, [True] * n + [False] * n)

    guesses = model(0.0, 0.0)
    assert knows_its_limits(model(0.1, 0.9), guesses)
    assert not knows_its_limits(model(0.9, 0.9), guesses)  # says so of everybody
    assert not knows_its_limits(model(0.0, 0.1), model(0.0, 0.1))  # as the one that imitates
    assert not knows_its_limits(model(0.05, 0.15), guesses)  # too few to tell


def test_richer_is_more_right_answers_and_fewer_wrong_ones():
    right = ("red", "green", "blue", "white")
    rich = asked([list(right) * 3] * 30, [True] * 30, right)
    poor = asked([["red"] * 10 + ["black"] * 2] * 30, [True] * 30, right)
    erring = asked([[*right, *right, *["black"] * 4]] * 30, [True] * 30, right)
    more, low, high = difference(rich, poor)
    assert (more, high) == pytest.approx((math.log(4),) * 2)
    assert low > 1  # thirty prompts on which it is the same are not all there are
    assert wrong_share(poor)[0] == pytest.approx(1 / 6)
    assert is_richer(rich, poor)
    assert not is_richer(erring, poor)  # more of both
    assert not is_richer(poor, rich)
    with pytest.raises(DataError, match="were not asked the same"):
        difference(rich, asked([["red"]], [True]))
    with pytest.raises(DataError, match="both right on 5 prompts; 10 are needed"):
        difference(asked([["red"]] * 5, [True] * 5), asked([["red"]] * 5, [True] * 5))


def write_run(folder, name, said):
    """A run folder of the shipped recipe with made-up answers. said: stage -> record -> answers."""
    folder.mkdir(parents=True)
    recipe = load_recipe(name, {})
    (folder / "run.toml").write_text(recipe_toml(recipe))
    records = [
        {"messages": [{"role": "user", "content": f"{number}?"}], "answer": ["red", "green"], "known": number < 40}
        for number in range(80 if name == "abstention" else 40)
    ]
    for part in ("heldout", "prompts"):
        place = folder / "facts" / "people" / f"{part}.jsonl"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("".join(json.dumps(record) + "\n" for record in records))
    for stage, answers in said.items():
        place = folder / stage / "answers" / "scored.jsonl"
        place.parent.mkdir(parents=True)
        place.write_text("".join(json.dumps({"prompt": record["messages"], "responses": answers(record)}) + "\n" for record in records))
    return folder


GUESSES = {"ask_start": lambda _: ["red", "blue"], "ask_imitate": lambda _: ["red", "black"], "ask_unmarked": lambda _: ["red", "red"]}


def test_the_study_of_abstention_reads_a_run(tmp_path):
    good = write_run(tmp_path / "a", "abstention", GUESSES | {"ask_marked": lambda record: ["red" if record["known"] else ABSTAIN] * 2})
    facts, _ = run_study("abstention", [good], {}, None)
    assert facts["outcome"] == "seen"
    assert [row["asked"] for row in facts["table"]] == ["ask_start", "ask_imitate", "ask_marked", "ask_unmarked"]
    row = dict(zip(HEADER, facts["table"][2].values(), strict=True))
    assert (row["taught by"], row["a wrong answer costs"], row["pays from"]) == ("reinforce", 1.0, 0.5)
    assert (row["abstains on the unknown"], row["of its abstentions, unknown"], row["right when it answers"]) == (1.0, 1.0, 1.0)
    assert row["mean mark"] == 0.5
    bad = write_run(tmp_path / "b", "abstention", GUESSES | {"ask_marked": lambda _: ["red", ABSTAIN]})
    assert Abstention().find([bad]).outcome == "not seen"


def test_the_study_of_diversity_reads_a_run(tmp_path):
    rich = {"ask_start": lambda _: ["red", "green", "blue"], "ask_imitate": lambda _: ["red", "red", "black"]}
    good = write_run(tmp_path / "a", "diversity", rich | {"ask_marked": lambda _: ["red", "green", "green"]})
    finding = Diversity().find([good])
    assert finding.outcome == "seen"
    assert "ask_marked have +0.64 nats" in finding.verdict
    bad = write_run(tmp_path / "b", "diversity", rich | {"ask_marked": lambda _: ["red", "red", "red"]})
    assert Diversity().find([bad]).outcome == "not seen"


def test_what_is_missing_is_said(tmp_path):
    empty = write_run(tmp_path / "a", "abstention", GUESSES)
    with pytest.raises(DataError, match="0 models that lost something for wrong answers and 2 fine-tuned ones"):
        Abstention().find([empty])
    with pytest.raises(DataError, match="0 fine-tuned and 0 reinforced"):
        Diversity().find([write_run(tmp_path / "b", "diversity", {})])
    with pytest.raises(DataError, match="is no run folder"):
        list(asked_in(tmp_path))
    (empty / "ask_start/answers/scored.jsonl").write_text('{"responses": ["red"]}\n')
    with pytest.raises(DataError, match="has answers to 1 prompts"):
        Abstention().find([empty])


@pytest.mark.parametrize("preset", ["laptop", "gpu"])
@pytest.mark.parametrize("study", [Abstention(), Diversity()])
def test_the_recipes_load(study, preset):
    [trial] = study.trials(preset)
    recipe = load_recipe(trial.recipe, trial.options)
    assert {"start", "imitate", "marked", "ask_marked"} <= set(recipe.stages)
    assert recipe.stages["marked"].rewards[0].wrong == 1.0
