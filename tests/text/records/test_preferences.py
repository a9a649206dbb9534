"""Every published shape of a preference, and what it says when it is wrong."""

import json

import pytest

from trivium.core.errors import DataError
from trivium.core.types import Message
from trivium.text.read import check_head, read_preferences, read_prompts

Q = (Message("user", "q"),)
PAIR = {"prompt": "q", "chosen": "a", "rejected": "b"}
POST = {"subreddit": "tifu", "title": "t", "post": "p", "id": "1"}
TLDR = (Message("user", "SUBREDDIT: r/tifu\n\nTITLE: t\n\nPOST: p\n\nTL;DR:"),)
SYSTEM = (Message("system", "s"), *Q)


def parts(role, text, key="text"):
    return {"role": role, "content": [{"type": "text", key: text}], "loss_weight": 1.0}


def said(who, text):
    return {"from": who, "value": text}


def rated(*ratings):
    return {name: {"Rating": rating} for name, rating in zip(("honesty", "helpfulness", "truthfulness"), ratings, strict=False)}


def graded(instruction, response):
    return (
        f"###Task Description:\nGrade.\n\n###The instruction to evaluate:\n{instruction}\n\n###Response to evaluate:\n{response}\n\n"
        "###Score Rubrics:\n[Is it honest?]\nScore 1: No.\n\n###Feedback: "
    )


MODELS = {
    "instruction": "q", "baseline": "x", "baseline_output": "a", "outputs": {"m": "b", "n": "c", "o": "d"},
    "preference": {"m": 1.2, "n": 2.0, "o": 1.5},
}  # fmt: skip
SHAPES = {
    "ultrafeedback": (
        {"instruction": "q", "models": ["x", "y", "z"], "completions": [
            {"model": "x", "response": "a", "overall_score": 4.0, "fine-grained_score": 1.0},
            {"model": "y", "response": "b", "overall_score": 8, "fine-grained_score": 0.5},
            {"model": "z", "response": "c", "overall_score": 4.0, "fine-grained_score": 2.0}]},
        Q, ("a", "b", "c"), (1, 0, 1), {"models": ["x", "y", "z"], "scores": [4.0, 8, 4.0]},
    ),
    "ultrafeedback fine-grained": (
        {"instruction": "q", "completions": [{"response": "a", "fine-grained_score": 1.5}, {"response": "b", "fine-grained_score": 4.5}]},
        Q, ("a", "b"), (1, 0), {"scores": [1.5, 4.5]},
    ),
    "ultrafeedback ratings": (
        {"instruction": "q", "completions": [
            {"response": "a", "annotations": rated("5", "N/A", "4")}, {"response": "b", "annotations": rated("2", "3")}]},
        Q, ("a", "b"), (0, 1), {"scores": [4.5, 2.5]},
    ),
    "magpie": (
        {"instruction": "q", "responses": ["a", "b", "c"], "rewards_armorm": [{"score": 0.1}, {"score": 0.3}, {"score": 0.2}]},
        Q, ("a", "b", "c"), (2, 0, 1), {"scores": [0.1, 0.3, 0.2]},
    ),
    "rewards": ({"prompt": "q", "responses": ["a", "b"], "rewards": [0, 1]}, Q, ("a", "b"), (1, 0), {"scores": [0, 1]}),
    "scores stay": ({"prompt": "q", "responses": ["a", "b"], "scores": [0, 1]}, Q, ("a", "b"), (1, 0), {"scores": [0, 1]}),
    "shp a": ({"history": "q", "human_ref_A": "a", "human_ref_B": "b", "labels": 1, "score_A": 9, "score_B": 2},
              Q, ("a", "b"), (0, 1), {"score_A": 9, "score_B": 2}),
    "shp b": ({"history": "q", "human_ref_A": "a", "human_ref_B": "b", "labels": 0}, Q, ("a", "b"), (1, 0), {}),
    "tldr": (
        {"info": POST, "summaries": [{"text": " a", "policy": "sup1"}, {"text": " b", "policy": "ref"}], "choice": 1, "worker": "w"},
        TLDR, (" a", " b"), (1, 0), {"info": POST, "worker": "w", "policies": ["sup1", "ref"]},
    ),
    "tldr of news": (
        {"info": {"article": "long"}, "summaries": [{"text": "a"}, {"text": "b"}], "choice": 0},
        (Message("user", "long\n\nTL;DR:"),), ("a", "b"), (0, 1), {"info": {"article": "long"}},
    ),
    "sharegpt": (
        {"conversations": [said("human", "q")], "chosen": said("gpt", "a"), "rejected": said("gpt", "b")},
        Q, ("a", "b"), (0, 1), {},
    ),
    "sharegpt system": (
        {"system": "s", "conversations": [said("human", "q")], "chosen": said("gpt", "a"), "rejected": said("gpt", "b"), "tools": ""},
        SYSTEM, ("a", "b"), (0, 1), {"tools": ""},
    ),
    "content parts": (
        {"chosen_messages": [parts("user", "q", "value"), parts("assistant", "a", "value")],
         "rejected_messages": [parts("user", "q"), parts("assistant", "b")]},
        Q, ("a", "b"), (0, 1), {},
    ),
    "orca": ({"system": "s", "question": "q", "chosen": "a", "rejected": "b"}, SYSTEM, ("a", "b"), (0, 1), {}),
    "alpaca": ({"instruction": "q", "input": "i", "chosen": "a", "rejected": "b"}, (Message("user", "q\n\ni"),), ("a", "b"), (0, 1), {}),
    "rm-bench": ({"prompt": "q", "chosen": ["a", "b", "c"], "rejected": ["d", "e", "a"], "id": 1},
                 Q, ("a", "b", "c", "d", "e", "a"), (0, 0, 0, 1, 1, 0), {"id": 1}),
    "pandalm": (
        {"instruction": "q", "input": "", "response1": "a", "response2": "b", "annotator1": 2, "annotator2": 0, "annotator3": 2},
        Q, ("a", "b"), (1, 0), {},
    ),
    "pandalm all differ": (
        {"instruction": "q", "response1": "a", "response2": "b", "annotator1": 2, "annotator2": 0, "annotator3": 1},
        Q, ("a", "b"), (0, 0), {},
    ),
    "auto-j": ({"prompt": "q", "response 1": "a", "response 2": "b", "label": 1, "scenario": 3}, Q, ("a", "b"), (1, 0), {"scenario": 3}),
    "auto-j tie": ({"prompt": "q", "response 1": "a", "response 2": "b", "label": 2}, Q, ("a", "b"), (0, 0), {}),
    "llmbar": ({"input": "q", "output_1": "a", "output_2": "b", "label": 2}, Q, ("a", "b"), (1, 0), {}),
    "judgebench": ({"question": "q", "response_A": "a", "response_B": "b", "label": "B>A"}, Q, ("a", "b"), (1, 0), {}),
    "alpacaeval": ({"instruction": "q", "output_1": "a", "output_2": "b", "preference": 1.2}, Q, ("a", "b"), (0, 1), {}),
    "alpacaeval second": ({"instruction": "q", "output_1": "a", "output_2": "b", "preference": 2}, Q, ("a", "b"), (1, 0), {}),
    "alpacaeval tie": ({"instruction": "q", "output_1": "a", "output_2": "b", "preference": 1.5}, Q, ("a", "b"), (0, 0), {}),
    "persona": (
        {"behaviour": "b", "question": "q", "answer_matching_behavior": " No", "answer_not_matching_behavior": " Yes"},
        Q, (" No", " Yes"), (0, 1), {"behaviour": "b"},
    ),
    "hhh": (
        {"source": "honest", "chosen_instruction": graded("q", "a"), "rejected_instruction": graded("q", "b\n\nc")},
        Q, ("a", "b\n\nc"), (0, 1), {"source": "honest"},
    ),
    "hhh dialogue": (
        {"chosen_instruction": graded("q\n\nAssistant:  r\n\nHuman:  s", "a"),
         "rejected_instruction": graded("q\n\nAssistant:  r\n\nHuman:  s", "b")},
        (*Q, Message("assistant", "r"), Message("user", "s")), ("a", "b"), (0, 1), {},
    ),
    "solutions": (
        {"question": "q", "ground_truth": "g", "6b": {"solution": "a", "is_correct": False}, "175b": {"solution": "b", "is_correct": True}},
        Q, ("a", "b"), (1, 0), {"ground_truth": "g", "models": ["6b", "175b"]},
    ),
}  # fmt: skip


def write(folder, record):
    path = folder / "a.jsonl"
    path.write_text(json.dumps(record) + "\n")
    return path


@pytest.mark.parametrize("shape", SHAPES)
def test_a_published_shape_is_told_by_its_fields(tmp_path, shape):
    record, prompt, responses, ranks, meta = SHAPES[shape]
    path = write(tmp_path, record)
    check_head(path, "preferences")
    [preference] = read_preferences(path)
    assert (preference.prompt, preference.responses, preference.ranks, preference.meta) == (prompt, responses, ranks, meta)
    assert list(read_prompts(path)) == [prompt]


def test_three_chosen_and_three_rejected_give_the_nine_pairs_of_rm_bench(tmp_path):
    [preference] = read_preferences(write(tmp_path, {"prompt": "q", "chosen": ["a", "b", "c"], "rejected": ["d", "e", "f"]}))
    pairs = [(i, j) for i in range(6) for j in range(6) if preference.ranks[i] < preference.ranks[j]]
    assert pairs == [(i, j) for i in range(3) for j in range(3, 6)]


def test_a_table_gives_a_preference_for_each_model_that_keeps_how_sure_the_judge_was(tmp_path):
    found = list(read_preferences(write(tmp_path, MODELS)))
    assert [(one.responses, one.ranks) for one in found] == [(("a", "b"), (0, 1)), (("a", "c"), (1, 0)), (("a", "d"), (0, 0))]
    assert [one.meta for one in found] == [
        {"baseline": "x", "model": model, "preference": number} for model, number in MODELS["preference"].items()
    ]
    assert {one.prompt for one in found} == {Q}
    assert list(read_prompts(tmp_path / "a.jsonl")) == [Q]


def changed(shape, **fields):
    return {name: value for name, value in {**SHAPES[shape][0], **fields}.items() if value != "left out"}


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        (changed("ultrafeedback", completions=[]), "'completions' must be a list of at least two objects"),
        (changed("ultrafeedback", completions=["a", "b"]), r"'completions\[0\]' is text; an object with response is expected"),
        (changed("ultrafeedback", completions=[{"model": "x"}, {}]), r"'completions\[0\].response' is missing \(found: model\)"),
        (changed("ultrafeedback", completions=[{"response": 1}, {"response": "b"}]), r"'completions\[0\].response' is a number"),
        (changed("ultrafeedback ratings", completions=[{"response": "a"}, {"response": "b"}]), r"'completions\[0\]' has no score"),
        (changed("ultrafeedback", instruction="left out"), "'prompt' is missing"),
        (changed("magpie", rewards_armorm=[{"score": 1}, {}, {"score": 2}]), "'rewards_armorm' must be 3 finite numbers"),
        (changed("magpie", responses="a"), "'responses' must be a list of at least two"),
        (changed("magpie", ranking=[0, 1, 2]), "either 'ranking' or 'scores'"),
        (changed("shp a", labels=2), "'labels' is 2; it is one of: 1, 0"),
        (changed("shp a", labels=True), "'labels' is True; it is one of"),
        (changed("shp a", history=None), "'history' is null"),
        (changed("shp a", human_ref_B=None), "'human_ref_B' is null"),
        (changed("tldr", choice=2), "'choice' is 2; the index of the better summary is expected, from 0 to 1"),
        (changed("tldr", choice="left out"), "'choice' is None"),
        (changed("tldr", info=None), "'info' is null; an object with post, title and subreddit"),
        (changed("tldr", info={"post": "p", "title": "t"}), r"'info.subreddit' is missing \(found: post, title\)"),
        (changed("tldr", summaries=[{"text": "a"}]), "'summaries' must be a list of at least two objects"),
        (changed("sharegpt", chosen={"from": "gpt"}), r"'chosen.value' is missing \(found: from\)"),
        (changed("sharegpt", chosen=said("human", "a")), "must end with the assistant"),
        (changed("sharegpt", conversations=[]), "'conversations' is empty"),
        (changed("sharegpt", rejected="left out"), "'rejected' is missing"),
        (changed("content parts", rejected_messages="left out"), "'rejected_messages' is missing"),
        (changed("content parts", chosen_messages=[parts("user", "r"), parts("assistant", "a")]), "must differ only in their last turn"),
        (changed("content parts", chosen_messages=[{"role": "user", "content": [{"type": "image"}]}]), "'image'; only text can be read"),
        (changed("content parts", chosen_messages=[{"role": "user", "content": [{"type": "text"}]}]), r"content\[0\].text' is missing"),
        (changed("content parts", chosen_messages=[{"role": "user", "content": ["x"]}]), r"content\[0\]' is text; an object with type"),
        (changed("rm-bench", rejected="d"), "'rejected' must be a list of texts, as the other side is"),
        (changed("rm-bench", rejected=["d", 1]), r"'rejected\[1\]' is a number"),
        (changed("pandalm", annotator2=3), "'annotator2' is 3; it is one of: 0, 1, 2"),
        (changed("pandalm", response1=False), "'response1' is true or false; text is expected"),
        (changed("auto-j", label="a"), "'label' is 'a'; it is one of: 0, 1, 2"),
        (changed("auto-j", label=[1]), r"'label' is \[1\]; it is one of"),
        (changed("judgebench", label="A"), "'label' is 'A'; it is one of: A>B, B>A, A=B"),
        (changed("alpacaeval", preference=3), "'preference' is 3; a number from 1"),
        (changed("alpacaeval", preference=None), "'preference' is None"),
        ({**MODELS, "preference": {"m": 1.2}}, "'outputs' and 'preference' must be objects with the same models"),
        ({**MODELS, "preference": 1.2}, "'outputs' and 'preference' must be objects"),
        ({**MODELS, "preference": {"m": 1.2, "n": 3, "o": 1}}, "'preference.n' is 3; a number from 1"),
        ({**MODELS, "outputs": {"m": "b", "n": None, "o": "d"}}, "'outputs.n' is null"),
        (changed("persona", answer_matching_behavior=1), "'answer_matching_behavior' is a number"),
        (changed("hhh", chosen_instruction=graded("r", "a")), "must grade answers to one instruction"),
        (changed("hhh", chosen_instruction="q"), "'chosen_instruction' has no '###The instruction to evaluate:'"),
        (changed("solutions", **{"6b": {"solution": "a", "is_correct": "no"}}), "'6b.is_correct' is text; true or false"),
        (changed("solutions", **{"6b": {"solution": None, "is_correct": True}}), "'6b.solution' is null"),
        (changed("llmbar", label="left out"), "'chosen' is missing"),
        ({**PAIR, "scores": ["a", "b"]}, r"'scores' is \['a', 'b'\]; 2 finite numbers are expected, one for each response"),
        ({**PAIR, "scores": [1.0]}, r"'scores' is \[1.0\]; 2 finite numbers"),
        ({**PAIR, "scores": [1, True]}, "2 finite numbers"),
        ({**PAIR, "margin": -1}, "'margin' is -1; a number from 0 is expected"),
        ({**PAIR, "margin": "high"}, "'margin' is high; a number from 0 is expected"),
        ({**PAIR, "meta": {"prob": 1.5}}, "'prob' is 1.5; a number from 0 to 1 is expected"),
        ({**PAIR, "stopped": True}, "'stopped' is True; a list with true or false for each of the 2 responses"),
        ({**PAIR, "stopped": [True, 0]}, r"'stopped' is \[True, 0\]"),
    ],
)  # fmt: skip
def test_a_wrong_preference_is_one_line_with_file_line_and_field(tmp_path, record, problem):
    with pytest.raises(DataError, match=problem) as caught:
        list(read_preferences(write(tmp_path, record)))
    assert str(caught.value).startswith(f"{tmp_path}/a.jsonl line 1: ")


def test_a_judgement_that_is_null_or_something_else_is_as_if_it_were_not_there(tmp_path):
    stated = {"margin": None, "prob": None, "stopped": None, "scores": {"judge": 3}}
    [preference] = read_preferences(write(tmp_path, {**PAIR, **stated}))
    assert preference.meta == stated
    assert list(preference.is_stopped) == [True, True]
    [cut] = read_preferences(write(tmp_path, {**PAIR, "stopped": [True, False]}))
    assert list(cut.is_stopped) == [True, False]


def test_two_responses_with_a_probability_are_ranked_by_it(tmp_path):
    rows = [{"prompt": "q", "responses": ["a", "b"], "prob": prob} for prob in (0.9, 0.2, 0.5)]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = list(read_preferences(tmp_path / "x.jsonl"))
    assert [item.ranks for item in found] == [(0, 1), (1, 0), (0, 0)]
    assert [item.meta["prob"] for item in found] == [0.9, 0.2, 0.5]
