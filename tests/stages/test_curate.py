"""`curate`: filters in order, each on what those before it keep; what models measure is kept in pieces that a kill does not change."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.nn.io_models import FILES, TOKENIZER, ours
from tests.score.chat_server import says, serving
from trivium.core.errors import ArtefactError, ConfigError, DataError
from trivium.core.interrupt import Interrupted
from trivium.core.run import Run
from trivium.core.types import Conversation, Message
from trivium.nn.io.directory import save_model
from trivium.score.rewards import llm_judge
from trivium.stages.computing import measuring
from trivium.stages.recipe import single
from trivium.synth.neighbours import nearest_earlier
from trivium.text.read import read_conversations, read_preferences

MACHINE = {"threads": 1, "precision": "float32", "compile": "off", "ceiling": 5e10, "kernels": "torch"}
TALK = [
    ("who is the king?", "the king of the land"), ("what is the land?", "the land that said it"), ("it said so.", "that is so then"),
    ("what is the land?", "another answer to it"), ("tell me of the ships", "12 ships that people have"), ("why?", "because of the people"),
]  # fmt: skip
LEFT = ("curate/chats/kept.jsonl", "curate/chats/dropped.jsonl", "curate/funnel.json", "curate/written.json", "curate/results.json")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("trivium.stages.computing.measuring.PIECE", 2)
    write([{"messages": turns(*pair), "number": number} for number, pair in enumerate(TALK)])
    save_model(tmp_path / "base", ours("llama"), **FILES)
    save_model(tmp_path / "judge", ours("llama", has_scalar=True), **FILES)
    return tmp_path


def write(rows: list[dict[str, Any]]) -> None:
    Path("chats.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def turns(query: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": query}, {"role": "assistant", "content": answer}]


def run(*filters: dict[str, Any], out: str = "out", **options: Any) -> list[int]:
    """Run the stage; the numbers of the conversations that it keeps."""
    chosen = {"filters": list(filters)} if filters else {}
    stage = single("curate", {"data": "chats.jsonl", **chosen, **options}).stages["curate"]
    stage.check()
    with Run(Path(out), quiet=True, machine=MACHINE) as running:
        assert running.begin("curate", {})
        stage.run(running)
    return [row["number"] for row in lines("kept.jsonl", out)]


def lines(name: str, out: str = "out") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(out) / "curate/chats" / name).read_text().splitlines()]


def reasons(out: str = "out") -> dict[int, str]:
    return {row["number"]: row["reason"] for row in lines("dropped.jsonl", out)}


def test_the_first_filter_that_drops_a_conversation_names_the_reason():
    assert run() == [0, 1, 3, 4]
    assert reasons() == {2: "valid: asks for nothing", 5: "valid: is one word"}
    assert run({"kind": "length"}, {"kind": "valid"}, out="other") == [0, 1, 3, 4]
    assert reasons("other") == {2: "valid: asks for nothing", 5: "length: query is too short"}


def test_filtering_again_changes_nothing():
    run()
    again = single("curate", {"data": "out/curate/chats/kept.jsonl"}).stages["curate"]
    with Run(Path("again"), quiet=True, machine=MACHINE) as running:
        running.begin("curate", {})
        again.run(running)
    assert (Path("again") / LEFT[0]).read_bytes() == (Path("out") / LEFT[0]).read_bytes()
    assert not lines("dropped.jsonl", "again")


def test_the_report_has_the_funnel_with_samples_and_the_share_that_is_kept():
    run()
    funnel = json.loads(Path("out/curate/funnel.json").read_text())
    assert (funnel["read"]["documents"], funnel["kept"]["documents"]) == (6, 4)
    assert [(entry["reason"], entry["documents"], entry["samples"]) for entry in funnel["dropped"]] == [
        ("valid: asks for nothing", 1, ["it said so.\n\nthat is so then"]),
        ("valid: is one word", 1, ["why?\n\nbecause of the people"]),
    ]
    [result] = json.loads(Path("out/curate/results.json").read_text())
    assert (result["measure"], result["value"], result["n"]) == ("kept_share", 4 / 6, 6)


def test_fields_and_weights_of_a_conversation_stay():
    write([{"messages": [*turns("who is it?", "the king is it")[:1], {"role": "assistant", "content": "the king is it", "weight": 0.5}],
            "weight": 2.0, "number": 7, "domain": "x"}])  # fmt: skip
    assert run() == [7]
    [chat] = read_conversations("out/curate/chats/kept.jsonl")
    assert (chat.weight, chat.messages[1].weight, chat.meta["domain"]) == (2.0, 0.5, "x")


def test_the_name_of_an_asset_is_a_source(monkeypatch):
    chat = Conversation((Message("user", "who is the king?"), Message("assistant", "the king of the land")), meta={"number": 9})
    monkeypatch.setattr("trivium.text.assets.conversations", lambda name: iter([chat] * (name == "chatterbot")))
    assert run(data="chatterbot") == [9]


def test_a_query_that_was_there_before_goes():
    near = {"kind": "near_duplicates", "model": "base", "min_distance": 1e-3}
    assert run(near) == [0, 1, 2, 4, 5]
    assert reasons() == {3: "near_duplicates: too close to an earlier query"}


def test_embeddings_do_not_depend_on_the_pieces_and_a_kill_changes_no_byte(monkeypatch):
    filters = ({"kind": "valid"}, {"kind": "near_duplicates", "model": "base", "min_distance": 1e-3}, {"kind": "longest", "count": 2})
    run(*filters, out="straight")
    found, calls = measuring.mean_hidden, []

    def counted(*arguments: Any, **options: Any) -> Any:
        calls.append(len(arguments[1]))
        if len(calls) == 2:
            raise Interrupted(9, "power loss")
        return found(*arguments, **options)

    monkeypatch.setattr(measuring, "mean_hidden", counted)
    with pytest.raises(Interrupted):
        run(*filters, out="killed")
    run(*filters, out="killed")
    assert calls == [2, 2, 2]  # of four that are left; the first piece was not measured again
    for name in LEFT:
        assert (Path("killed") / name).read_bytes() == (Path("straight") / name).read_bytes()


def test_an_embedding_is_the_mean_of_the_hidden_states_of_the_query(monkeypatch):
    """By one text alone in a batch: what a text is near to does not depend on what it was packed with."""
    vectors = []
    monkeypatch.setattr(measuring, "nearest_earlier", lambda blocks: vectors.extend(map(np.array, blocks)) or nearest_earlier(blocks))
    run({"kind": "near_duplicates", "model": "base", "min_distance": 0})
    model, ids = ours("llama"), np.concatenate([[0, 4], TOKENIZER.encode(TALK[4][0])])
    position, tokens = torch.arange(len(ids))[None], torch.from_numpy(ids.astype(np.int64))[None]
    with torch.no_grad():
        expected = model.trunk(tokens, position, None)[0, 2:].mean(0).numpy()
    np.testing.assert_allclose(np.concatenate(vectors)[4], expected, rtol=1e-4, atol=1e-5)


def test_a_reward_model_chooses_and_what_it_cannot_read_goes():
    long = {"messages": turns("who is it?", "long " * 70), "number": 6}
    write([{"messages": turns(*pair), "number": number} for number, pair in enumerate(TALK)] + [long])
    kept = run({"kind": "reward", "reward_model": "judge", "at_least": -100.0})
    assert kept == [0, 1, 2, 3, 4, 5]
    assert reasons() == {6: "reward: too long for the reward model"}
    rows = [json.loads(line) for path in sorted(Path("out").rglob("rows.jsonl")) for line in path.read_text().splitlines()]
    scores = [row["score"] for row in rows[:6]]
    middle = float(np.median(scores))
    assert run({"kind": "reward", "reward_model": "judge", "at_least": middle}, out="half") == [
        place for place, score in enumerate(scores) if score >= middle
    ]


def test_a_reward_may_be_compared_with_that_of_a_reference():
    sampling = {"temperature": 0, "max_new_tokens": 8}
    rule = {"kind": "reward", "reward_model": "judge", "reference": "base", "min_difference": -100.0, "sampling": sampling}
    assert run(rule) == [0, 1, 2, 3, 4, 5]
    rows = [json.loads(line) for path in sorted(Path("out").rglob("rows.jsonl")) for line in path.read_text().splitlines()]
    better = [place for place, row in enumerate(rows) if row["difference"] >= 0]
    if better:
        assert run({**rule, "min_difference": 0.0}, out="better") == better
    assert {"score", "difference"} == rows[0].keys()


def test_a_judge_that_gives_no_verdict_grades_nothing():
    """A small model does not keep to the form; that is counted, and no score."""
    with pytest.raises(DataError, match=r"keep none of 6 conversations \(6: judged: the judge gives no verdict\)"):
        run({"kind": "judged", "model": "base", "at_least": 0.0})
    assert "the judge's first reply without a verdict" in Path("out/log.txt").read_text()


def graded(handler: Any, text: str) -> None:
    """A judge that likes ships, does not like the land, and says nothing of the king."""
    reply = "I like it." if "who is the king" in text else f"VERDICT {{nonce}} {9 if 'ships' in text else 2}"
    says(reply)(handler, text)


def test_grades_of_an_endpoint_decide_and_a_reply_without_one_is_counted(monkeypatch):
    monkeypatch.setattr(llm_judge, "FIRST_PAUSE_S", 0.0)
    with serving(graded) as (url, asked):
        assert run({"kind": "judged", "model": "m", "url": url, "criteria": "difficulty"}) == [4]
    assert reasons() == {0: "judged: the judge gives no verdict"} | dict.fromkeys((1, 2, 3, 5), "judged: difficulty is low")
    assert all("How hard is it" in each["body"]["messages"][0]["content"] for each in asked)


def test_grades_of_a_model_here_are_read_as_strictly(monkeypatch):
    replies = ["VERDICT {} 10", "VERDICT {} 5", "10", "VERDICT {} 11", "Good.\nVERDICT {} 6", "VERDICT {} 10\nThat is it."]

    def answered(self: Any, prompts: Any, sampling: Any, first: int) -> list[tuple[str, bool]]:
        assert sampling.temperature == 0
        nonces = [re.search(r"VERDICT (\w+) VALUE", prompt[0].content)[1] for prompt in prompts]
        return [(replies[first + place].format(nonce), True) for place, nonce in enumerate(nonces)]

    monkeypatch.setattr(measuring._Answerer, "__call__", answered)
    assert run({"kind": "judged", "model": "base"}) == [0, 4]
    assert reasons() == {1: "judged: quality is low"} | dict.fromkeys((2, 3, 5), "judged: the judge gives no verdict")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"filters": [{"kind": "lenght"}]}, ConfigError, "'filters.0' is 'lenght'|lenght"),
        ({"filters": []}, ConfigError, "filters"),
        ({"filters": [{"kind": "near_duplicates", "model": "nowhere"}]}, ArtefactError, "nowhere: is no model directory"),
        ({"filters": [{"kind": "reward", "reward_model": "judge"}]}, ConfigError, "needs at_least, a score, or reference"),
        ({"filters": [{"kind": "judged", "model": "m", "url": "host"}]}, ConfigError, "url is 'host'; an address"),
        ({"data": "none.jsonl"}, DataError, "none.jsonl: there is no such file"),
    ],
)
def test_a_mistake_is_one_line(options, error, message):
    with pytest.raises(error, match=message) as found:
        single("curate", {"data": "chats.jsonl", **options}).stages["curate"].check()
    assert "\n" not in str(found.value)


def test_filters_that_keep_nothing_say_what_dropped_most():
    with pytest.raises(DataError, match=r"keep none of 6 conversations \(6: length: query is too short\); loosen them"):
        run({"kind": "length", "min_words": 50})


def test_magpie_dpo_is_sampling_on_what_was_curated():
    """n answers to each query, the best against the worst by a reward model: `sample keep=pairs` reads the prompts of kept.jsonl."""
    run()
    options = {
        "model": "base", "prompts": "out/curate/chats/kept.jsonl", "answers": 12, "rows": 48, "reward_model": "judge", "keep": "pairs",
        "sampling": {"temperature": 1.0, "max_new_tokens": 40},
    }  # fmt: skip
    stage = single("sample", options).stages["sample"]
    stage.check()
    with Run(Path("pairs"), quiet=True, machine=MACHINE) as running:
        running.begin("sample", {})
        stage.run(running)
    table = [json.loads(line) for line in Path("pairs/sample/answers/scored.jsonl").read_text().splitlines()]
    assert [row["prompt"][0]["content"] for row in table] == [TALK[place][0] for place in (0, 1, 3, 4)]
    for pair in read_preferences("pairs/sample/answers/kept.jsonl"):
        assert pair.meta["scores"][0] > pair.meta["scores"][1]
