"""`critique` on a model of a few thousand weights: chains, what is learned from them, what they measure; a kill changes no byte of it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.nn.io_models import FILES, TOKENIZER
from tests.writers import MACHINE, talker
from trivium.core.errors import ArtefactError, ConfigError, DataError
from trivium.core.interrupt import Interrupted
from trivium.core.run import Run
from trivium.core.types import Conversation, Message
from trivium.generate.engine import Engine
from trivium.nn.io.directory import save_model
from trivium.stages.base import Foresight
from trivium.stages.recipe import single
from trivium.synth.constitution import read_constitution
from trivium.synth.simulated import NOTHING
from trivium.text.phrases import phrases_in, without_phrases
from trivium.text.read import read_conversations

WORDS = ("king", "land", "sea", "night", "bread", "stone")
UNWANTED = {"kind": "unwanted", "phrases": list("aeiounrst")}  # letters that stand alone in what a random model says
CRITIQUE = {
    "model": "base", "prompts": "prompts.jsonl", "constitution": "manners", "rounds": 2, "rows": 4, "rewards": [UNWANTED], "truth": {},
    "sampling": {"max_new_tokens": 16},
}  # fmt: skip
LEFT = (*(f"critique/revisions/{name}.jsonl" for name in ("chains", "chat", "rounds")), "critique/results.json", "critique/samples.json")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save_model(tmp_path / "base", talker(), **FILES)
    write("prompts.jsonl", [{"prompt": word, "asked": word} for word in WORDS])
    write("chats.jsonl", [{"messages": [{"role": "user", "content": "king"}, {"role": "assistant", "content": "of the land"}]}])
    return tmp_path


def write(path: str, rows: list[dict[str, Any]]) -> None:
    Path(path).write_text("".join(json.dumps(each) + "\n" for each in rows))


def run(out: str = "out", **options: Any) -> list[dict[str, Any]]:
    """Run the stage, from its last piece if there is one; its chains."""
    stage = single("critique", CRITIQUE | options).stages["critique"]
    stage.check()
    with Run(Path(out), quiet=True, machine=MACHINE) as running:
        assert running.begin("critique", {})
        stage.run(running)
    return lines(out, "chains")


def lines(out: str, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(out) / f"critique/revisions/{name}.jsonl").read_text().splitlines()]


def test_each_round_has_a_principle_a_critique_and_a_revision_that_takes_the_answers_place():
    chains = run()
    assert "constitution manners: 4 principles; Four remarks" in Path("out/log.txt").read_text()
    assert [each["prompt"][0]["content"] for each in chains] == list(WORDS)
    taken = 0
    for chain in chains:
        answer = chain["response"]
        for each in chain["rounds"]:
            assert each["principle"] in {"insult", "advertising", "threat", "boast"}
            assert each["is_taken"] == (each["stopped"] and bool(each["revision"]))
            answer = each["revision"] if each["is_taken"] else answer
            assert each["answer"] == answer
            taken += each["is_taken"]
    assert 0 < taken < 12  # some are cut off, which do not take its place
    learned = list(read_conversations("out/critique/revisions/chat.jsonl"))
    last = [chain["rounds"][-1]["answer"] for chain in chains if any(each["is_taken"] for each in chain["rounds"])]
    assert [each.messages[-1].content for each in learned] == last
    assert len(lines("out", "rounds")) == taken


def test_a_prompt_that_no_rule_can_judge_is_named_before_anything_is_sampled(monkeypatch):
    monkeypatch.setattr(Engine, "generate", lambda *_, **__: pytest.fail("sampled before it was checked"))
    write("prompts.jsonl", [{"prompt": "king", "asked": "x", "answer": "1"}, {"prompt": "land", "asked": "x"}])
    with pytest.raises(DataError, match="prompt 2: "):
        run(rewards=[{"kind": "exact"}])


def test_the_name_of_an_asset_is_a_source(monkeypatch):
    chats = [Conversation((Message("user", word), Message("assistant", "yes"))) for word in WORDS]
    monkeypatch.setattr("trivium.text.assets.conversations", lambda name: iter(chats * (name == "chatterbot")))
    chains = run(prompts="chatterbot", helpful="chatterbot", truth=None)
    assert [chain["prompt"][0]["content"] for chain in chains] == list(WORDS)
    assert [row["messages"][1]["content"] for row in lines("out", "chat")[-len(WORDS) :]] == ["yes"] * len(WORDS)


def test_the_revision_is_asked_for_behind_the_critique_that_was_made(monkeypatch):
    asked = {}
    generate = Engine.generate

    def seen(self: Engine, prompts: Any, *arguments: Any, **options: Any) -> Any:
        asked.setdefault(options["purpose"], []).extend(TOKENIZER.decode(prompt) for prompt in prompts)
        return generate(self, prompts, *arguments, **options)

    monkeypatch.setattr(Engine, "generate", seen)
    chains = run(rounds=1)
    manners = read_constitution("manners")
    for chain, critique, revision in zip(chains, asked["critique critique"], asked["critique revision"], strict=True):
        [each] = chain["rounds"]
        principle = manners.named(each["principle"])
        assert critique == chain["prompt"][0]["content"] + chain["response"] + principle.critique
        assert revision == critique + each["critique"] + principle.revision


def test_a_kill_between_pieces_changes_no_byte(monkeypatch):
    run("straight")
    generate, calls = Engine.generate, []

    def counted(self: Engine, *arguments: Any, **options: Any) -> Any:
        calls.append((options["purpose"], list(options["numbers"])))
        if len(calls) == 8:
            raise Interrupted(9, "power loss")
        return generate(self, *arguments, **options)

    monkeypatch.setattr(Engine, "generate", counted)
    with pytest.raises(Interrupted):
        run("killed")
    run("killed")
    assert [numbers for what, numbers in calls if what == "critique answer"] == [[0, 1, 2, 3], [4, 5], [4, 5]]
    for name in LEFT:
        assert (Path("killed") / name).read_bytes() == (Path("straight") / name).read_bytes()


def test_chains_do_not_depend_on_the_pieces():
    assert run("one", rows=2) == run("other", rows=64)


def test_all_revisions_and_helpful_data_are_learned_from_if_asked_for():
    chains = run(learn="all", helpful="chats.jsonl")
    taken = sum(each["is_taken"] for chain in chains for each in chain["rounds"])
    learned = list(read_conversations("out/critique/revisions/chat.jsonl"))
    assert len(learned) == taken + 1
    assert learned[-1].messages[-1].content == "of the land"


def test_a_simulated_reader_takes_out_what_it_is_told_of():
    own = {"name": "letters", "critique": "?", "revision": "!", "comparison": "?", "phrases": UNWANTED["phrases"]}
    lines_of = "\n".join(f"{name} = {json.dumps(value)}" for name, value in own.items())
    Path("own.toml").write_text(f"[[principles]]\n{lines_of}\n")
    chains = run(constitution="own.toml", simulated={"error": 0}, rounds=1)
    assert all(each["stopped"] for chain in chains for each in chain["rounds"])
    results = {row["stage"]: row for row in json.loads(Path("out/critique/results.json").read_text()) if row["measure"] == "unwanted_score"}
    assert results["critique_0"]["value"] < 0
    for chain in chains:
        [each], found = chain["rounds"], phrases_in(chain["response"], own["phrases"])
        assert each["critique"] == (f"It says: {', '.join(found)}." if found else NOTHING)
        assert each["revision"] == without_phrases(chain["response"], own["phrases"])
        assert each["is_taken"] == bool(each["revision"])


def test_what_the_rules_say_of_each_round_is_measured_with_intervals():
    chains = run()
    table = json.loads(Path("out/critique/results.json").read_text())
    assert {(row["stage"], row["measure"]) for row in table} == {
        (f"critique_{place}", name) for place in range(3) for name in ("unwanted_score", "true_score")
    }
    for place in range(3):
        [row] = [row for row in table if (row["stage"], row["measure"]) == (f"critique_{place}", "unwanted_score")]
        texts = [([chain["response"]] + [each["answer"] for each in chain["rounds"]])[place] for chain in chains]
        assert row["value"] == pytest.approx(-np.mean([len(phrases_in(text, UNWANTED["phrases"])) for text in texts]))
        assert row["n"] == 6
    assert len(json.loads(Path("out/critique/samples.json").read_text())) == 6 * 3


def test_another_model_may_revise_and_a_base_model_goes_on_with_a_transcript(monkeypatch):
    save_model(Path("other"), talker(seed=9), **FILES)
    assert run("other_revises", reviser="other") != run("own")
    asked = []
    generate = Engine.generate

    def seen(self: Engine, prompts: Any, *arguments: Any, **options: Any) -> Any:
        asked.extend(TOKENIZER.decode(prompt) for prompt in prompts)
        return generate(self, prompts, *arguments, **options)

    monkeypatch.setattr(Engine, "generate", seen)
    chains = run("transcript", form="transcript", rounds=1)
    assert asked[0] == "\n\nHuman: king\n\nAssistant:"
    assert "\n\nCritiqueRequest: " in asked[4]
    assert not any("\n\nHuman:" in each["revision"] for chain in chains for each in chain["rounds"])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"constitution": "maners"}, ConfigError, "no constitution 'maners'; did you mean 'manners'"),
        ({"constitution": "harmless", "simulated": {}}, ConfigError, "principle 'harm' has no phrases"),
        ({"simulated": {}, "reviser": "base"}, ConfigError, "leave one of them out"),
        ({"model": "nowhere"}, ArtefactError, "nowhere"),
        ({"reviser": "nowhere"}, ArtefactError, "nowhere"),
        ({"rounds": 0}, ConfigError, "'rounds' is 0"),
        ({"rewards": [{"kind": "unwanted", "phrases": []}]}, ConfigError, "phrases is empty"),
        ({"rewards": [{"kind": "model_judge", "model": "nowhere"}]}, ArtefactError, "nowhere"),
    ],
)
def test_a_mistake_is_one_line(options, error, message):
    with pytest.raises(error, match=message) as raised:
        run(**options)
    assert "\n" not in str(raised.value)


def test_a_chain_without_room_is_told_before_anything_is_sampled():
    save_model(Path("base"), talker(64), **FILES)
    with pytest.raises(DataError, match=r"critique and revision may have \d+ tokens, and the model reads 64"):
        run()


def test_revisions_that_never_end_are_an_error_that_says_where_they_are():
    with pytest.raises(DataError, match="none of 12 revisions ended by itself.*chains.jsonl"):
        run(sampling={"max_new_tokens": 1, "temperature": 0})


def test_the_plan_counts_what_is_generated_at_most():
    stage = single("critique", CRITIQUE).stages["critique"]
    assert stage.foresee("critique", Foresight()).tokens_generated == 6 * 5 * 16
