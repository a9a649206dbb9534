"""Which groups a file of preferences or labels gives, and what is said of the records that give none."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.nn.io_models import FILES, ours
from trivium.core.errors import ConfigError, DataError
from trivium.core.run import Run
from trivium.core.types import Message, Preference, example
from trivium.nn.io.directory import save_model
from trivium.stages.computing.models import Speaker, ranked_group
from trivium.stages.computing.preference_groups import pairs_of
from trivium.stages.machine import Machine
from trivium.stages.recipe import single
from trivium.text.read import read_preferences
from trivium.train.trainer import Trainer

MACHINE = {"threads": 1, "precision": "float32", "compile": "off", "ceiling": 5e10, "kernels": "torch"}
WORDS = ("king", "land", "sea", "night", "bread", "stone")
PREFER = {"model": "base", "steps": 2, "batch_size": 4, "seq_len": 64}
STATED = {"margin": 1.0, "prob": 0.9, "scores": [2, 1]}
SURE = {"kind": "dpo", "has_probs": True}


def answer(*tokens, rank):
    return example(tokens, rank=[rank] * len(tokens))


@pytest.mark.parametrize(
    ("group", "num_pairs"),
    [
        ((answer(1, 2, rank=0), answer(1, 3, rank=1)), 1),
        ((answer(1, 2, rank=0), answer(1, 3, rank=0)), 0),  # a tie
        ((answer(1, 2, rank=0), answer(1, 2, rank=1)), 0),  # other texts, the same tokens
        ((answer(1, 2, rank=0), answer(1, 2, rank=0), answer(1, 3, rank=1)), 2),
    ],
)
def test_equal_answers_and_ties_make_no_pair(group, num_pairs):
    pairs = pairs_of(group, 4, seed=0, number=0)
    assert len(pairs) == num_pairs
    assert all(better.columns["rank"][0] < worse.columns["rank"][0] for better, worse in pairs)


def test_what_was_chosen_and_rejected_alike_is_a_tie(tmp_path):
    said = "\n\nHuman: q\n\nAssistant: a"
    (tmp_path / "a.jsonl").write_text(json.dumps({"chosen": said, "rejected": said}))
    [preference] = read_preferences(tmp_path / "a.jsonl")
    assert preference.ranks == (0, 0)


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A model, labels, and pairs of which the last alone says how sure people were."""
    monkeypatch.chdir(tmp_path)
    save_model(tmp_path / "base", ours("llama"), **FILES)
    pairs = [{"prompt": word, "chosen": word, "rejected": "no"} for word in WORDS]
    write(tmp_path / "late.jsonl", [*pairs[:-1], pairs[-1] | STATED])
    labels = [{"prompt": word, "completion": word if good else "no", "label": good} for word in WORDS for good in (True, False)]
    write(tmp_path / "labels.jsonl", labels)
    return tmp_path


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def run(kind: str, **options: Any) -> list[dict[str, Any]]:
    """Run one stage of few steps in the folder `out`; its metrics."""
    stage = single(kind, {**PREFER, **options}).stages[kind]
    stage.check()
    with Run(Path("out"), quiet=True, machine=MACHINE) as running:
        assert running.begin(kind, {})
        stage.run(running)
    return [json.loads(line) for line in Path("out/metrics.jsonl").read_text().splitlines()]


def log() -> str:
    return Path("out/log.txt").read_text()


@pytest.mark.parametrize("objective", ["dpo", "simpo", "rrhf", "kto"])
def test_what_an_objective_does_not_read_may_be_in_some_records(place, objective):
    run("prefer", data="late.jsonl", heldout="late.jsonl", objective=objective, batch_size=6)


@pytest.mark.parametrize(
    ("kind", "objective", "field"),
    [
        ("prefer", "odpo", "scores"),
        ("prefer", SURE, "prob"),
        ("reward", {"has_margins": True}, "margin"),
        ("reward", {"has_probs": True}, "prob"),
    ],
)
def test_what_it_reads_is_missed_before_training(place, kind, objective, field, monkeypatch):
    monkeypatch.setattr(Trainer, "step", None)
    with pytest.raises(DataError, match=f"late.jsonl: 5 of 6 records have no '{field}', which the objective reads"):
        run(kind, data="late.jsonl", objective=objective, **({"heldout": "late.jsonl"} if kind == "reward" else {}))


def test_a_reward_model_is_trained_and_measured_on_such_records(place):
    run("reward", data="late.jsonl", heldout="late.jsonl", batch_size=6)


@pytest.mark.parametrize("objective", ["dpo", "kto"])
def test_a_record_that_is_judged_wrongly_is_named_or_left_out(place, objective):
    write(place / "wrong.jsonl", [{"prompt": word, "chosen": word, "rejected": "no", "scores": [2, 1]} for word in WORDS])
    with (place / "wrong.jsonl").open("a") as file:
        file.write('{"prompt": "q", "chosen": "a", "rejected": "b", "scores": ["a", "b"]}')
    with pytest.raises(DataError, match="wrong.jsonl line 7: 'scores' is"):
        run("prefer", data="wrong.jsonl", objective=objective)
    run("prefer", data="wrong.jsonl", objective=objective, unreadable="skip")
    assert "left out 1 record that cannot be read; the first: wrong.jsonl line 7" in log()


@pytest.mark.parametrize("objective", ["kto", "bco"])
def test_labels_that_are_too_long_are_left_out_and_counted(place, objective):
    long = [{"prompt": word, "completion": "land " * 100, "label": True} for word in WORDS]
    with (place / "labels.jsonl").open("a") as file:
        file.write("".join(json.dumps(row) + "\n" for row in long))
    run("prefer", objective=objective, data="labels.jsonl", batch_size=12)
    assert "labels.jsonl: 12 of 18 labels fit in 64 tokens; the others are left out" in log()
    write(place / "long.jsonl", long)
    with pytest.raises(DataError, match="long.jsonl: none of 6 labels fits in 64 tokens"):
        run("prefer", objective=objective, data="long.jsonl")


def test_labels_that_are_no_labels_are_told_before_anything_is_loaded(place):
    write(place / "ones.jsonl", [{"prompt": "king", "completion": "a", "label": 1}])
    with pytest.raises(DataError, match="ones.jsonl line 1: 'label' is '1'; true or false is expected"):
        single("prefer", {"model": "base", **PREFER, "objective": "kto", "data": "ones.jsonl"}).stages["prefer"].check()


def test_an_empty_answer_is_the_end_of_the_turn_and_one_that_was_cut_off_is_none(place):
    pair = {"prompt": "king", "responses": ["", "no"], "ranking": [0, 1]}
    write(place / "empty.jsonl", [pair, pair | {"prompt": ""}, pair | {"stopped": [False, True]}])
    run("prefer", data="empty.jsonl", batch_size=1)
    assert "empty.jsonl: 1 of 3 preferences have an empty prompt, 3 an empty answer, which is the end of the turn alone" in log()
    assert "left out 1 preferences with an answer that was cut off before it began" in log()
    speaker = Speaker.load(place / "base", Machine(**MACHINE))
    nothing = ranked_group(speaker, Preference((Message("user", "king"),), ("", "no"), (0, 1)))[0]
    assert nothing.tokens[nothing.loss_mask > 0].tolist() == [speaker.stop_ids[0]]
    write(place / "cut.jsonl", [pair | {"stopped": [False, True]}])
    with pytest.raises(DataError, match=r"cut.jsonl: every preference has an answer that was cut off before it began"):
        run("prefer", data="cut.jsonl", batch_size=1)


@pytest.mark.parametrize("objective", ["kto", "bco"])
def test_labelled_answers_are_read_as_they_are(place, objective):
    rows = run("prefer", objective=objective, data="labels.jsonl")
    assert "12 labels" in log()
    assert rows[0]["accuracy"] == pytest.approx(0.5, abs=0.3)


def test_one_answer_of_kto_is_compared_with_answers_to_other_prompts(place):
    write(
        place / "one.jsonl", [{"prompt": "king", "completion": "a", "label": True}, {"prompt": "king", "completion": "b", "label": False}]
    )
    with pytest.raises(DataError, match="all its answers are to one prompt"):
        run("prefer", objective="kto", data="one.jsonl")
    with pytest.raises(ConfigError, match="batch_size is 1"):
        run("prefer", objective="kto", data="one.jsonl", batch_size=1)


def test_odpo_without_scores_names_the_prompt(place):
    write(place / "bare.jsonl", [{"prompt": "king", "chosen": "a", "rejected": "b"}])
    with pytest.raises(DataError, match="bare.jsonl: 1 of 1 records have no 'scores', which the objective reads.*king.*choose"):
        run("prefer", objective="odpo", data="bare.jsonl")


def test_how_sure_people_were_reaches_the_answers_in_their_order(place):
    speaker = Speaker.load(place / "base", Machine(**MACHINE))
    asked = (Message("user", "king"),)
    preference = Preference(asked, ("a", "b"), (1, 0), {"prob": 0.2, "margin": 2, "scores": [3, 4]})
    group = ranked_group(speaker, preference, ("prob", "margin", "score"))
    found = {name: [float(item.columns[name][-1]) for item in group] for name in group[0].columns}
    assert found == {"rank": [0, 1], "prob": [pytest.approx(0.8)] * 2, "margin": [2, 2], "score": [4, 3]}
    assert all(set(item.columns) == {"rank"} for item in ranked_group(speaker, preference))


def test_what_the_assistant_said_before_is_part_of_the_prompt(place):
    speaker = Speaker.load(place / "base", Machine(**MACHINE))
    talk = (Message("user", "king"), Message("assistant", "a sea"), Message("user", "land"))
    said = speaker.answer(talk, "no")
    assert said.response.tolist() == speaker.answer(talk[:1], "no").response.tolist()
    assert np.flatnonzero(said.loss_mask)[0] == len(speaker.prompt(talk))
