"""`sample` on a model of a few thousand weights and on scored tables: what it leaves, is read back; a kill changes no byte of it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.nn.io_models import FILES, TOKENIZER, ours
from trivium.core.errors import ConfigError, DataError
from trivium.core.interrupt import Interrupted
from trivium.core.run import Run
from trivium.core.types import Conversation, Message
from trivium.generate.engine import Engine
from trivium.generate.sampling import Sampling
from trivium.nn.io.directory import save_model
from trivium.stages.base import Foresight
from trivium.stages.computing.models import Speaker
from trivium.stages.machine import Machine
from trivium.stages.recipe import single
from trivium.text.read import read_conversations, read_preferences

MACHINE = {"threads": 1, "precision": "float32", "compile": "off", "ceiling": 5e10, "kernels": "torch"}
WORDS = ("king", "land", "sea", "night", "bread", "stone")
LENGTH = {"kind": "length", "max_words": 1}
SAMPLED = {
    "model": "base", "prompts": "prompts.jsonl", "answers": 4, "rows": 16, "rewards": [LENGTH], "sampling": {"max_new_tokens": 40},
    "keep": {"kind": "threshold", "at_least": -1},
}  # fmt: skip
LEFT = ("sample/answers/kept.jsonl", "sample/answers/scored.jsonl", "sample/selection.json")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("trivium.stages.computing.answering.ROUNDS", 1)  # so that six prompts are two pieces
    save_model(tmp_path / "base", ours("llama"), **FILES)
    save_model(tmp_path / "judge", ours("llama", has_scalar=True), **FILES)
    write("prompts.jsonl", [{"prompt": word, "answer": f"{number}", "asked": word} for number, word in enumerate(WORDS)])
    write("chats.jsonl", [chat("king", "of the land", "and then", "ships"), chat("sea", "water"), {**chat("x", "bad"), "weight": 0}])
    write("scored.jsonl", [row("king", (1, 0, 0), "abc"), row("land", (1, 1, 1), "abc"), row("sea", (0, 2, 1), "xyz")])
    return tmp_path


def write(path: str, rows: list[dict[str, Any]]) -> None:
    Path(path).write_text("".join(json.dumps(each) + "\n" for each in rows))


def chat(*turns: str) -> dict[str, Any]:
    return {"messages": [{"role": "user" if i % 2 == 0 else "assistant", "content": turn} for i, turn in enumerate(turns)]}


def row(prompt: str, scores: tuple[float, ...], said: str, **more: Any) -> dict[str, Any]:
    return {
        "prompt": [{"role": "user", "content": prompt}], "responses": list(said), "scores": list(scores),
        "stopped": [True] * len(said), "tokens": [2] * len(said), **more,
    }  # fmt: skip


def run(out: str = "out", **options: Any) -> dict[str, Any]:
    """Run the stage, from its last piece if there is one; its figures."""
    stage = single("sample", options).stages["sample"]
    stage.check()
    with Run(Path(out), quiet=True, machine=MACHINE) as running:
        assert running.begin("sample", {})
        stage.run(running)
    return json.loads((Path(out) / "sample/selection.json").read_text())


def lines(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def log(out: str = "out") -> str:
    return (Path(out) / "log.txt").read_text()


def test_answers_are_scored_and_those_that_are_kept_are_demonstrations():
    found = run(**SAMPLED)
    table = lines("out/sample/answers/scored.jsonl")
    assert [each["prompt"][0]["content"] for each in table] == list(WORDS)
    assert all(len(each["responses"]) == 4 for each in table)
    expected = [
        score for each in table for score, stopped, text in zip(each["scores"], each["stopped"], each["responses"], strict=True) if stopped
    ]
    assert 0 < len(expected) < 24  # some are cut off, which get the penalty
    kept = list(read_conversations("out/sample/answers/kept.jsonl"))
    assert len(kept) == found["records"] <= len(expected)
    assert {each.messages[-1].role for each in kept} == {"assistant"}
    assert found["cut_off"] == 24 - len(expected)
    assert found["curve"][0]["value"] == pytest.approx(np.mean([each["scores"] for each in table]))
    assert found["curve"][-1]["value"] == pytest.approx(np.mean([max(each["scores"]) for each in table]))
    assert found["curve"][0]["low"] < found["curve"][0]["value"] < found["curve"][0]["high"]
    assert sum(bar["kept"] for bar in found["histogram"]) == found["records"]


def test_a_kill_between_pieces_changes_no_byte(monkeypatch):
    run("straight", **SAMPLED)
    generate, calls = Engine.generate, []

    def counted(self: Engine, *arguments: Any, **options: Any) -> Any:
        calls.append(options["numbers"])
        if len(calls) == 2:
            raise Interrupted(15, "power loss")
        return generate(self, *arguments, **options)

    monkeypatch.setattr(Engine, "generate", counted)
    with pytest.raises(Interrupted):
        run("killed", **SAMPLED)
    assert not (Path("killed") / LEFT[0]).exists()
    run("killed", **SAMPLED)
    assert calls == [range(16), range(16, 24), range(16, 24)]  # 4 prompts a piece; the first was not answered again
    for name in LEFT:
        assert (Path("killed") / name).read_bytes() == (Path("straight") / name).read_bytes()


def test_a_damaged_piece_is_made_again(monkeypatch):
    run("straight", **SAMPLED)
    run("out", **SAMPLED)
    piece = Path("out/sample/checkpoints/piece-000000/rows.jsonl")
    piece.write_bytes(piece.read_bytes()[:-9])
    run("out", **SAMPLED)
    assert "this piece is made again" in log()
    assert (Path("out") / LEFT[1]).read_bytes() == (Path("straight") / LEFT[1]).read_bytes()


def test_answers_do_not_depend_on_the_pieces():
    run("one", **SAMPLED)
    run("other", **SAMPLED | {"rows": 64})
    assert [each["responses"] for each in lines(f"one/{LEFT[1]}")] == [each["responses"] for each in lines(f"other/{LEFT[1]}")]


def test_a_reward_model_and_rules_score_together():
    both = SAMPLED | {"reward_model": "judge", "missing_end_penalty": 5.0, "keep": "all"}
    run("both", **both)
    run("rule", **SAMPLED | {"missing_end_penalty": 5.0})
    run("model", **both | {"rewards": []})
    of = {name: np.array([each["scores"] for each in lines(f"{name}/{LEFT[1]}")]) for name in ("both", "rule", "model")}
    stopped = np.array([each["stopped"] for each in lines(f"both/{LEFT[1]}")])
    np.testing.assert_allclose(of["both"][stopped], (of["rule"] + of["model"])[stopped], rtol=1e-6)
    assert (of["both"][~stopped] == 5).all()


def test_the_true_score_of_what_is_chosen_is_told_and_chooses_nothing():
    found = run("out", **SAMPLED | {"truth": {}})
    run("without", **SAMPLED)
    assert len(found["true_curve"]) == 4
    assert all(0 <= point["value"] <= 1 for point in found["true_curve"])
    assert (Path("out") / LEFT[0]).read_bytes() == (Path("without") / LEFT[0]).read_bytes()


def test_against_prefers_the_demonstration_to_the_models_own_answers():
    options = {"model": "base", "prompts": "chats.jsonl", "answers": 2, "keep": "against", "sampling": {"max_new_tokens": 6}}
    found = run(**options)
    pairs = list(read_preferences("out/sample/answers/kept.jsonl"))
    assert len(pairs) == found["records"] == 4
    assert [(each.prompt[-1].content, each.responses[0]) for each in pairs[::2]] == [("and then", "ships"), ("sea", "water")]
    assert all(each.ranks == (0, 1) and each.responses[1] not in ("ships", "water") for each in pairs)
    assert "curve" not in found


def test_pairs_are_preferences_with_a_margin_and_ties_are_counted():
    found = run(scored="scored.jsonl", keep="pairs")
    first, last = read_preferences("out/sample/answers/kept.jsonl")
    assert (first.responses[0], first.meta["margin"], first.meta["scores"]) == ("a", 1, [1, 0])
    assert (last.prompt[0].content, last.responses, last.ranks, last.meta["margin"]) == ("sea", ("y", "x"), (0, 1), 2)
    assert found["reasons"] == {"all answers score the same": 1}
    assert "1 prompt left out: all answers score the same" in log()


def test_all_are_rankings_in_which_equal_scores_tie():
    run(scored="scored.jsonl", keep="all")
    assert [each.ranks for each in read_preferences("out/sample/answers/kept.jsonl")] == [(0, 1, 1), (2, 0, 1)]


def test_a_scored_table_is_read_as_rankings_too():
    assert [each.ranks for each in read_preferences("scored.jsonl")] == [(0, 1, 1), (0, 0, 0), (2, 0, 1)]


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        ({"kind": "threshold"}, ["a", *"abc", *"yz"]),
        ({"kind": "threshold", "at_least": 2}, ["y"]),
        ({"kind": "top", "share": 0.1}, ["y"]),
        ({"kind": "hindsight", "edges": [1]}, [*"abc", *"abc", *"xyz"]),
    ],
)
def test_answers_are_chosen_again_from_a_scored_table(keep, expected):
    run(scored="scored.jsonl", keep=keep)
    kept = list(read_conversations("out/sample/answers/kept.jsonl"))
    assert sorted(each.messages[-1].content for each in kept) == sorted(expected)


@pytest.mark.parametrize(
    ("keep", "kind", "options"),
    [
        ("best", "finetune", {}),
        ("pairs", "prefer", {"objective": "dpo"}),
        ("pairs", "prefer", {"objective": "odpo"}),
        ("all", "prefer", {"objective": "rrhf"}),
        ("all", "prefer", {"objective": "sppo"}),
        ("all", "reward", {"heldout": "out/sample/answers/kept.jsonl"}),
    ],
)
def test_what_is_kept_is_what_the_next_stage_learns_from(keep, kind, options):
    run(scored="scored.jsonl", keep=keep)
    learned = {"model": "base", "data": "out/sample/answers/kept.jsonl", "steps": 1, "batch_size": 2, "seq_len": 64}
    stage = single(kind, learned | options).stages[kind]
    stage.check()
    with Run(Path("next"), quiet=True, machine=MACHINE) as running:
        running.begin(kind, {})
        stage.run(running)
    assert np.isfinite(json.loads((Path("next") / "metrics.jsonl").read_text())["loss"])


def test_hindsight_asks_with_the_best_control_and_leaves_the_prompt_as_it_was(monkeypatch):
    asked = []
    generate = Engine.generate

    def seen(self: Engine, prompts: Any, *arguments: Any, **options: Any) -> Any:
        asked.extend(TOKENIZER.decode(prompt).encode() for prompt in prompts)
        return generate(self, prompts, *arguments, **options)

    monkeypatch.setattr(Engine, "generate", seen)
    run(**SAMPLED | {"answers": 12, "keep": {"kind": "hindsight", "edges": [0], "is_asked": True}})
    assert all(b"Good answer: " in prompt for prompt in asked)
    assert lines("out/sample/answers/scored.jsonl")[0]["prompt"] == [{"role": "user", "content": "king"}]
    assert {each.messages[0].content.split(":")[0] for each in read_conversations("out/sample/answers/kept.jsonl")} <= {
        "Good answer",
        "Bad answer",
    }


def test_what_was_learned_from_hindsight_is_said_when_its_control_asks_for_it():
    """The same questions, asked with the best control and with the worst one, get the answers that reached it."""
    said = ("the king of the land", "12 ships")
    write("two.jsonl", [row(word, (1, 0), said) for word in WORDS])
    run(scored="two.jsonl", keep={"kind": "hindsight", "edges": [0.5]})
    options = {"steps": 80, "batch_size": 6, "seq_len": 64, "optimizer": {"lr": 0.01}, "schedule": {"warmup_steps": 0}}
    stage = single("finetune", {"model": "base", "data": "out/sample/answers/kept.jsonl", **options}).stages["finetune"]
    with Run(Path("next"), quiet=True, machine=MACHINE) as running:
        running.begin("finetune", {})
        stage.run(running)
    speaker = Speaker.load(Path("next/finetune/model"), Machine(**MACHINE))
    engine = Engine(speaker.model, stop_ids=speaker.stop_ids, kernels="torch")
    for control, expected in zip(("Good answer:", "Bad answer:"), said, strict=True):
        prompts = [speaker.prompt((Message("user", f"{control} {word}"),)) for word in WORDS]
        answers = engine.generate(prompts, Sampling(temperature=0, max_new_tokens=24), seed=1)
        assert {speaker.text_of(answer) for answer in answers} == {expected}


def test_answers_of_earlier_rounds_compete_with_new_ones():
    run("first", **SAMPLED)
    table = [row(word, (9, -3), ("good", "worse")) for word in WORDS]
    write("earlier.jsonl", table)
    found = run("out", **SAMPLED | {"scored": "earlier.jsonl", "keep": "best"})
    assert [each.messages[-1].content for each in read_conversations("out/sample/answers/kept.jsonl")] == ["good"] * 6
    assert found["answers"] == 6 * 6
    assert found["curve"] == json.loads((Path("first") / LEFT[2]).read_text())["curve"]  # of the new ones alone
    write("earlier.jsonl", table[:-1])
    with pytest.raises(DataError, match="prompt 6 is not the same"):
        run("shorter", **SAMPLED | {"scored": "earlier.jsonl", "keep": "best"})
    write("earlier.jsonl", table[1:] + table[:1])
    with pytest.raises(DataError, match="prompt 1 is not the same in all scored tables"):
        run("other", **SAMPLED | {"scored": "earlier.jsonl", "keep": "best"})


def test_what_keeps_nothing_is_an_error_that_says_why_and_leaves_the_scored_table():
    with pytest.raises(DataError, match="keeps none of 9 answers.*3 prompts: no answer scores 7.*chooses from them again"):
        run(scored="scored.jsonl", keep={"kind": "threshold", "at_least": 7})
    assert len(lines("out/sample/answers/scored.jsonl")) == 3


@pytest.mark.parametrize(
    ("keep", "rows", "why"),
    [
        ("top", [{**row("king", (1, 0, 0), "abc"), "stopped": [False] * 3}], "1 prompt: no answer ended by itself.*raise sampling"),
        ("hindsight", [row("king", (1, 1), "ab"), row("sea", (1, 1), "ab")], "2 prompts: the scores do not fall into 2 even parts"),
    ],
)
def test_answers_that_a_rule_cannot_choose_by_are_left_all_the_same(keep, rows, why):
    write("alike.jsonl", rows)
    with pytest.raises(DataError, match=f"keep {keep} keeps none of .* answers .{why}"):
        run(scored="alike.jsonl", keep=keep)
    assert len(lines("out/sample/answers/scored.jsonl")) == len(rows)
    assert lines("out/sample/answers/kept.jsonl") == []
    found = json.loads(Path("out/sample/selection.json").read_text())
    assert (found["records"], sum(found["reasons"].values())) == (0, len(rows))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"prompt": "x", "responses": ["a"], "scores": [1], "stopped": [True]}], "line 1: 'prompt' is missing or no list"),
        ([row("x", ("high",), "a")], "line 1: 'scores' must be finite numbers"),
        ([row("x", (1,), [3])], r"line 1: 'responses\[0\]' is a number"),
        ([row("x", (1,), "ab")], "line 1: its lists differ in length"),
        ([row("x", (1,), "a"), row("y", (1, 2), "ab")], "different numbers of answers"),
    ],
)
def test_a_table_that_is_none_is_named(rows, message):
    write("bad.jsonl", rows)
    with pytest.raises(DataError, match=message):
        run(scored="bad.jsonl")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give model and prompts"),
        ({"model": "base"}, "give model and prompts"),
        ({"scored": "scored.jsonl", "keep": "against"}, "needs the demonstrations"),
        ({"scored": "scored.jsonl", "rewards": [LENGTH]}, "have their scores"),
        (SAMPLED | {"rewards": []}, "keep threshold chooses by scores"),
        (SAMPLED | {"keep": "pairs", "answers": 1}, "'answers' is 1, but keep pairs compares"),
        (SAMPLED | {"sampling": {"temperature": 0}}, "temperature is 0"),
        (SAMPLED | {"keep": "bset"}, "'keep' is 'bset'; its kind is one of"),
        (SAMPLED | {"keep": {"kind": "top", "share": 0}}, "'keep.share' is 0"),
    ],
)
def test_a_mistake_is_one_line(options, message):
    with pytest.raises(ConfigError, match=message):
        run(**options)


def test_a_prompt_without_room_is_named():
    write("prompts.jsonl", [{"prompt": "king"}, {"prompt": "long " * 80}])
    with pytest.raises(DataError, match=r"prompt 2 has \d+ tokens, and the model reads 64"):
        run(**SAMPLED)


def test_the_plan_counts_what_is_generated_at_most():
    stage = single("sample", SAMPLED).stages["sample"]
    assert stage.foresee("sample", Foresight()).tokens_generated == 6 * 4 * 40
    later = single("sample", SAMPLED | {"prompts": "prompts.jsonl"}).stages["sample"]
    assert later.foresee("sample", Foresight()).parameters_sampled > 0


def test_the_name_of_an_asset_is_a_source(monkeypatch):
    chats = [Conversation((Message("user", word), Message("assistant", "yes"))) for word in WORDS]
    monkeypatch.setattr("trivium.text.assets.conversations", lambda name: iter(chats * (name == "chatterbot")))
    run(**SAMPLED | {"prompts": "chatterbot"})
    assert [row["prompt"][0]["content"] for row in lines("out/sample/answers/scored.jsonl")] == list(WORDS)
