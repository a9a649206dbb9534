"""`feedback` on a model of a few thousand weights: labels that reward models and DPO learn from; a kill changes no byte of them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.nn.io_models import FILES, TOKENIZER
from tests.score.chat_server import says, serving
from tests.stages.test_critique import write
from tests.writers import MACHINE, talker
from trivium.core.config import plain
from trivium.core.errors import ArtefactError, ConfigError, DataError
from trivium.core.interrupt import Interrupted
from trivium.core.run import Run
from trivium.core.types import Conversation, Message
from trivium.generate.engine import Engine
from trivium.nn.io.directory import save_model
from trivium.stages.base import Foresight
from trivium.stages.computing import comparing
from trivium.stages.pipeline import _identity
from trivium.stages.recipe import single
from trivium.synth.constitution import read_constitution
from trivium.synth.feedback import OPTIONS, in_both_orders
from trivium.text.read import read_preferences

WORDS = ("king", "land", "sea", "night", "bread", "stone", "people", "ships")
KNOWN = {"kind": "simulated", "error": 0}
FEEDBACK = {
    "model": "base", "prompts": "prompts.jsonl", "constitution": "own.toml", "judge": KNOWN, "rows": 4,
    "rewards": [{"kind": "unwanted", "phrases": list("abcdefghijklmnopqrstuvwxyz")}], "sampling": {"max_new_tokens": 24},
}  # fmt: skip
PREFERENCES = "feedback/preferences"
LETTERS = {"first": "abcdefghi", "middle": "jklmnopqr", "last": "stuvwxyz"}  # that stand alone in what a random model says
OWN = [
    {"name": name, "critique": "?", "revision": "!", "comparison": f"Which has fewer {name} letters?", "phrases": list(letters)}
    for name, letters in LETTERS.items()
]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save_model(tmp_path / "base", talker(), **FILES)
    write("prompts.jsonl", [{"prompt": word, "asked": word} for word in WORDS])
    principles = ("\n".join(f"{name} = {json.dumps(value)}" for name, value in each.items()) for each in OWN)
    Path("own.toml").write_text("".join(f"[[principles]]\n{text}\n" for text in principles))
    write("people.jsonl", [{"prompt": "king", "responses": ["of the land", "no", "sea"], "ranking": [[1], [0, 2]]}])
    return tmp_path


def run(out: str = "out", **options: Any) -> list[dict[str, Any]]:
    """Run the stage, from its last piece if there is one; what it made of each prompt."""
    stage = single("feedback", FEEDBACK | options).stages["feedback"]
    stage.check()
    with Run(Path(out), quiet=True, machine=MACHINE) as running:
        assert running.begin("feedback", {})
        stage.run(running)
    pieces = sorted((Path(out) / "feedback/checkpoints").glob("*/rows.jsonl"))
    made = [json.loads(line) for piece in pieces for line in piece.read_text().splitlines()]
    assert made
    return made


def lines(name: str, out: str = "out") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(out) / PREFERENCES / f"{name}.jsonl").read_text().splitlines()]


def results(out: str = "out") -> dict[str, float]:
    return {row["measure"]: row["value"] for row in json.loads((Path(out) / "feedback/results.json").read_text())}


def test_every_prompt_gets_two_answers_and_a_label_in_both_orders():
    made = run(principles=3)
    labelled = [row for row in made if row["prob"] is not None]
    assert [row["prompt"][0]["content"] for row in made] == list(WORDS)
    assert len(lines("heldout")) + len(lines("train")) == len(labelled) > 2
    for row in labelled:
        assert sorted(row["principles"]) == sorted(LETTERS)
        assert row["prob"] == pytest.approx(np.mean([in_both_orders(*pair) for pair in row["orders"]]))
        assert all(shown + swapped == pytest.approx(1) for shown, swapped in row["orders"])  # this judge knows no place
        assert row["first_place"] == pytest.approx(0.5)
    assert results()["first_place_preference"] == pytest.approx(0.5)
    assert results()["label_certainty"] == pytest.approx(np.mean([abs(row["prob"] - 0.5) + 0.5 for row in labelled]))
    assert [row["scores"] for row in lines("truth")] == [row["scores"] for row in labelled[: len(lines("heldout"))]]


def test_a_kill_between_pieces_changes_no_byte(monkeypatch):
    run("straight")
    generate, calls = Engine.generate, []

    def counted(self: Engine, *arguments: Any, **options: Any) -> Any:
        calls.append(options["numbers"])
        if len(calls) == 2:
            raise Interrupted(9, "power loss")
        return generate(self, *arguments, **options)

    monkeypatch.setattr(Engine, "generate", counted)
    with pytest.raises(Interrupted):
        run("killed")
    run("killed")
    assert calls == [range(8), range(8, 16), range(8, 16)]
    for name in (f"{PREFERENCES}/train.jsonl", f"{PREFERENCES}/heldout.jsonl", f"{PREFERENCES}/truth.jsonl", "feedback/results.json"):
        assert (Path("killed") / name).read_bytes() == (Path("straight") / name).read_bytes()
    assert [row["prob"] for row in run("pieces", rows=3)] == [row["prob"] for row in run("whole", rows=64)]


def test_pairs_of_people_are_added_to_what_is_trained_on():
    run("without")
    run(helpful="people.jsonl")
    assert lines("heldout") == lines("heldout", "without")
    added = lines("train")[len(lines("train", "without")) :]
    assert [(row["responses"], row["prob"]) for row in added] == [(["no", "of the land"], 1.0), (["no", "sea"], 1.0)]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("reward", {"objective": {"kind": "ranking", "has_probs": True}, "heldout": f"out/{PREFERENCES}/heldout.jsonl"}),
        ("prefer", {"heldout": f"out/{PREFERENCES}/heldout.jsonl"}),
    ],
)
def test_the_next_stages_learn_from_the_labels(kind, options):
    run(principles=3, helpful="people.jsonl", heldout_share=0.4)
    stage = single(kind, {"model": "base", "data": f"out/{PREFERENCES}/train.jsonl", "steps": 1, "batch_size": 2, **options}).stages[kind]
    stage.check()
    with Run(Path("next"), quiet=True, machine=MACHINE) as running:
        running.begin(kind, {})
        stage.run(running)
    assert np.isfinite(json.loads((Path("next") / "metrics.jsonl").read_text())["loss"])
    assert {round(each.meta["prob"], 6) for each in read_preferences(f"out/{PREFERENCES}/train.jsonl")} <= {
        round((sum(three)) / 3, 6)
        for one in (0.1, 0.5, 0.9)
        for two in (0.1, 0.5, 0.9)
        for three in [(one, two, x) for x in (0.1, 0.5, 0.9)]
    } | {1.0}


def test_a_model_of_ours_is_read_from_its_log_probs():
    """Each probability is that of the whole option among the two, after the question in that order."""
    made = run(judge={"kind": "model", "model": "base", "min_mass": 0.0})
    model, own = talker(), read_constitution("own.toml")
    for row in [row for row in made if row["prob"] is not None][:2]:
        [pair] = row["orders"]
        principle = own.named(row["principles"][0])
        for shown, answers in zip(pair, (row["responses"], row["responses"][::-1]), strict=True):
            asked = comparing.question(comparing.Comparison(_turns(row["prompt"]), *answers, principle, 0), own)
            chooser = comparing.Chooser(_speaker(model), "x")
            ids = chooser.prompt(asked)
            log_p = []
            for option in OPTIONS:
                tokens = np.concatenate([ids, TOKENIZER.encode(option)])
                with torch.no_grad():
                    logits = model.trunk.logits(model.trunk(torch.tensor(tokens[None]).long(), torch.arange(len(tokens))[None]))[0]
                scores = logits.float().log_softmax(-1)
                log_p.append(sum(scores[place - 1, tokens[place]].item() for place in range(len(ids), len(tokens))))
            assert shown == pytest.approx(1 / (1 + np.exp(log_p[1] - log_p[0])), abs=1e-4)


def _turns(rows: list[dict[str, str]]) -> tuple[Any, ...]:
    return tuple(Message(row["role"], row["content"]) for row in rows)  # type: ignore[arg-type]


def _speaker(model: Any) -> Any:
    from trivium.stages.computing.models import Speaker
    from trivium.text.chat import PLAIN

    return Speaker(model, TOKENIZER, PLAIN)


def test_a_judge_that_looks_at_the_place_only_labels_every_pair_one_half(monkeypatch):
    monkeypatch.setattr(comparing.Chooser, "__call__", lambda _, questions, options: np.log(np.full((len(questions), 2), [0.83, 0.11])))
    made = run(judge={"kind": "model", "model": "base"}, principles=2)
    assert {row["prob"] for row in made if row["prob"] is not None} == {0.5}
    assert results()["first_place_preference"] == pytest.approx(0.83 / 0.94)
    assert results()["label_certainty"] == 0.5


def test_a_judge_that_does_not_choose_gives_no_label(monkeypatch):
    def mostly_silent(_, questions, options):
        mass = [0.001 if place % 5 == 0 else 0.5 for place in range(len(questions))]
        return np.log(np.array([[0.75 * each, 0.25 * each] for each in mass]))

    monkeypatch.setattr(comparing.Chooser, "__call__", mostly_silent)
    made = run(judge={"kind": "model", "model": "base"})
    unread = [row for row in made if any(None in pair for pair in row["orders"])]
    assert unread
    assert all(row["prob"] is None for row in unread)
    assert f"{len(unread)} without a choice" in (Path("out") / "log.txt").read_text()
    monkeypatch.setattr(comparing.Chooser, "__call__", lambda _, questions, options: np.full((len(questions), 2), -50.0))
    with pytest.raises(DataError, match="0 of 8 prompts got a label.*the judge did not choose.*min_mass"):
        run("silent", judge={"kind": "model", "model": "base"})


def test_a_judge_that_reasons_first_has_its_labels_in_the_middle(monkeypatch):
    asked = []

    def sure(_, questions, options):
        """That the shorter answer is better."""
        asked.extend(questions)
        shown = [each.messages[-1].content.split("Options:\n(A) ")[1].split("\n(B) ") for each in questions]
        return np.log(np.array([[0.99, 0.01] if len(first) < len(second) else [0.01, 0.99] for first, second in shown]))

    monkeypatch.setattr(comparing.Chooser, "__call__", sure)
    made = run(judge={"kind": "model", "model": "base", "think_tokens": 5})
    assert {0.4, 0.6} <= {row["prob"] for row in made if row["prob"] is not None} <= {0.4, 0.5, 0.6}
    assert all(each.opening.startswith("Let's think step by step: ") and each.opening.endswith("\n\nThe answer is:") for each in asked)
    assert len({each.opening for each in asked}) > 2  # each has reasons of its own


def test_a_judge_behind_an_endpoint_only_says_which():
    with serving(says("VERDICT {nonce} A")) as (url, asked):
        made = run(judge={"kind": "llm_judge", "url": url, "model": "m"}, principles=2)
    assert {row["prob"] for row in made if row["prob"] is not None} == {0.5}  # always the first place
    assert "Which has fewer" in asked[0]["body"]["messages"][0]["content"]
    with serving(says("I cannot say.")) as (url, _), pytest.raises(DataError, match="no verdict of A or B"):
        run("none", judge={"kind": "llm_judge", "url": url, "model": "m", "retries": 0})


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"judge": {"kind": "simulated"}, "constitution": "harmless"}, ConfigError, "principle 'harm' has no phrases"),
        ({"judge": {"kind": "simulate"}}, ConfigError, "'judge' is 'simulate'; its kind is one of"),
        ({"judge": {"kind": "model", "model": "nowhere"}}, ArtefactError, "nowhere"),
        ({"judge": {"kind": "llm_judge", "url": "nowhere", "model": "m"}}, ConfigError, "url is 'nowhere'"),
        ({"judge": {"kind": "llm_judge", "url": "http://localhost/v1", "model": "m", "criteria": "x"}}, ConfigError, "leave criteria"),
        ({"principles": 4}, ConfigError, "principles is 4, but constitution 'own.toml' has 3"),
        ({"lowest": 0.5}, ConfigError, "'lowest' is 0.5"),
        ({"sampling": {"temperature": 0}}, ConfigError, "temperature is 0"),
        ({"helpful": "nothing.jsonl"}, DataError, "nothing.jsonl"),
    ],
)
def test_a_mistake_is_one_line(options, error, message):
    with pytest.raises(error, match=message) as raised:
        run(**options)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("think_tokens", [0, 7])
def test_a_question_that_may_be_too_long_for_the_judge_is_named_before_anything_is_sampled(monkeypatch, think_tokens):
    save_model(Path("short"), talker(64), **FILES)
    monkeypatch.setattr(Engine, "generate", lambda *_, **__: pytest.fail("sampled before it was checked"))
    own, chooser = read_constitution("own.toml"), comparing.Chooser(_speaker(talker()), "x")
    thought = "Let's think step by step: \n\n" if think_tokens else ""
    empty = [
        comparing.question(comparing.Comparison((Message("user", word),), "", "", principle, 0), own)
        for word in WORDS
        for principle in own.principles
    ]
    longest = max(len(chooser.prompt(replace(each, opening=thought + each.opening))) for each in empty)
    most = longest + 2 * 24 + think_tokens + max(len(TOKENIZER.encode(option)) for option in OPTIONS)
    with pytest.raises(DataError, match=f"short: reads 64 tokens, but a question to it may have {most};"):
        run(judge={"kind": "model", "model": "short", "think_tokens": think_tokens})


def test_a_prompt_that_no_rule_can_judge_is_named_before_anything_is_sampled(monkeypatch):
    monkeypatch.setattr(Engine, "generate", lambda *_, **__: pytest.fail("sampled before it was checked"))
    write("prompts.jsonl", [{"prompt": "king", "answer": "1"}, {"prompt": "land"}])
    with pytest.raises(DataError, match="prompt 2: "):
        run(rewards=[{"kind": "exact"}])


def test_the_name_of_an_asset_is_a_source_of_prompts(monkeypatch):
    chats = [Conversation((Message("user", word), Message("assistant", "yes"))) for word in WORDS]
    monkeypatch.setattr("trivium.text.assets.conversations", lambda name: iter(chats * (name == "chatterbot")))
    assert [row["prompt"][0]["content"] for row in run(prompts="chatterbot")] == list(WORDS)


def test_something_is_left_to_train_on_however_much_is_held_out():
    run(heldout_share=0.99)
    assert len(lines("train")) == 1
    assert len(lines("heldout")) > 1


def test_what_the_judge_and_the_constitution_hold_is_part_of_what_the_stage_depends_on():
    def identity() -> Any:
        recipe = single("feedback", FEEDBACK | {"judge": {"kind": "model", "model": "other"}})
        with Run(Path("identity"), quiet=True, machine=MACHINE) as running:
            return _identity(running, recipe, plain(recipe.stages["feedback"]))

    save_model(Path("other"), talker(), **FILES)
    before = identity()
    Path("own.toml").write_text(Path("own.toml").read_text().replace("fewer last", "less of the last"))
    changed = identity()
    assert changed != before
    save_model(Path("other"), talker(512), **FILES)
    assert identity() != changed


def test_the_plan_counts_two_answers_a_prompt_and_what_the_judge_reads():
    known = single("feedback", FEEDBACK).stages["feedback"].foresee("feedback", Foresight())
    read = single("feedback", FEEDBACK | {"judge": {"kind": "model", "model": "base"}}).stages["feedback"].foresee("feedback", Foresight())
    assert known.tokens_generated == 8 * 2 * 24
    assert read.flops > known.flops == 0


def test_direct_feedback_is_a_reward_of_reinforcement_learning_and_evaluation():
    judge = {"kind": "model_judge", "model": "base", "min_mass": 0.0}
    options = {
        "model": "base", "prompts": "prompts.jsonl", "rewards": [judge], "phases": 1, "prompts_per_phase": 4, "seq_len": 64,
        "sampling": {"max_new_tokens": 6},
    }  # fmt: skip
    stage = single("reinforce", options).stages["reinforce"]
    stage.check()
    with Run(Path("rl"), quiet=True, machine=MACHINE) as running:
        running.begin("reinforce", {})
        stage.run(running)
    last = json.loads((Path("rl") / "metrics.jsonl").read_text().splitlines()[-1])
    assert -1 <= last["reward/model_judge"] <= 1
    stage = single(
        "evaluate", {"models": {"one": "base"}, "prompts": "prompts.jsonl", "rewards": [judge], "sampling": {"max_new_tokens": 6}}
    )
    with Run(Path("eval"), quiet=True, machine=MACHINE) as running:
        running.begin("evaluate", {})
        stage.stages["evaluate"].run(running)
    assert any(row["measure"] == "model_judge_score" for row in json.loads(Path("eval/evaluate/results.json").read_text()))
    silent = replace(stage.stages["evaluate"].rewards[0], min_mass=0.999)
    stage = single("evaluate", {**plain(stage.stages["evaluate"]), "rewards": [plain(silent)]})
    with Run(Path("silent"), quiet=True, machine=MACHINE) as running:
        running.begin("evaluate", {})
        stage.stages["evaluate"].run(running)
    assert "then get the middle grade" in (Path("silent") / "log.txt").read_text()
