"""Matches in every shape they come in, and the one line that says what is wrong with one."""

import csv
import json
from pathlib import Path

import pytest

from trivium.core.errors import DataError
from trivium.core.types import Match, Message
from trivium.text.read import check_head, read_matches
from trivium.text.records import plain_match

ASKED = (Message("user", "Why?"),)


def write(path: Path, *rows) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(tmp_path: Path, *rows) -> list[Match]:
    return list(read_matches(write(tmp_path / "matches.jsonl", *rows)))


@pytest.mark.parametrize(
    ("said", "score"),
    [
        ({"winner": "model_a"}, 1),
        ({"winner": "model_b"}, 0),
        ({"winner": "tie (bothbad)"}, 0.5),
        ({"winner": "x"}, 1),
        ({"score": 0.3}, 0.3),
    ],
)
def test_an_arena_names_the_winner_or_a_score(tmp_path, said, score):
    [match] = read(tmp_path, {"model_a": "x", "model_b": "y", "prompt": "Why?", **said})
    assert match == Match(("x", "y"), score, ASKED)


GAMES = [{"score": "B>>A"}, {"score": "A=B"}]  # the baseline is A first: the model wins clearly, then draws


def test_arena_hard_has_both_orders_and_a_clear_verdict_counts_three_times(tmp_path):
    found = read(
        tmp_path,
        {"question_id": "7", "model": "x", "judge": "j", "games": GAMES},
        {"uid": "8", "model": "x", "baseline": "y", "games": GAMES[::-1]},
    )
    first = (Message("user", "7"),)
    assert found[:4] == [Match(("x", "baseline"), 1.0, first)] * 3 + [Match(("x", "baseline"), 0.5, first)]
    assert [(match.models, match.score) for match in found[4:]] == [(("x", "y"), 0.5)] + [(("x", "y"), 0.0)] * 3
    assert [match.score for match in read(tmp_path, {"prompt": "Why?", "model": "x", "games": [{"score": "A<<B"}, {"score": "B<A"}]})] == [
        1,
        1,
        1,
        1,
    ]


@pytest.mark.parametrize("score", [None, "A", "", 1, ["A>B"]])
def test_a_game_without_a_verdict_is_no_score(tmp_path, score):
    with pytest.raises(DataError, match=r"line 1: 'games\[1\].score' is .*A>>B, A>B, A=B, B>A, B>>A. Judge that pair again"):
        read(tmp_path, {"uid": "1", "model": "x", "games": [GAMES[0], {"score": score}]})
    with pytest.raises(DataError, match="'games' must be two"):
        read(tmp_path, {"uid": "1", "model": "x", "games": GAMES[:1]})


def test_an_arena_with_conversations_has_prompt_and_answers(tmp_path):
    turns = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]
    other = [turns[0], {"role": "assistant", "content": "Because."}]
    [match] = read(tmp_path, {"model_a": "x", "model_b": "y", "winner": "tie", "conversation_a": turns, "conversation_b": other})
    assert match == Match(("x", "y"), 0.5, ASKED, ("So.", "Because."))


def test_alpaca_eval_prefers_the_second_at_two(tmp_path):
    row = {"instruction": "Why?", "generator_1": "x", "output_1": "A", "generator_2": "y", "output_2": "B", "preference": 1.75}
    assert read(tmp_path, row) == [Match(("x", "y"), 0.25, ASKED, ("A", "B"))]


def test_alpaca_eval_of_many_models_gives_a_match_each(tmp_path):
    row = {
        "instruction": "Why?",
        "baseline": "b",
        "baseline_output": "B",
        "outputs": {"x": "X", "b": "B"},
        "preference": {"x": "1.2", "b": 1.5},
    }
    [match] = read(tmp_path, row)
    assert match.models == ("x", "b")
    assert match.score == pytest.approx(0.2)
    assert match.answers == ("X", "B")


def test_a_matrix_names_its_baseline_by_the_column_that_never_decides_and_leaves_out_empty_cells(tmp_path):
    path = tmp_path / "matrix.csv"
    rows = [["instruction_id", "instruction", "x", "gpt", "y"], ["1", "Why?", "1.25", "1.5", "2"], ["2", "How?", "1", "1.5000", ""]]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    found = list(read_matches(path))
    assert [(match.models, match.score) for match in found] == [
        (("x", "gpt"), 0.25), (("y", "gpt"), 1.0), (("x", "gpt"), 0.0)
    ]  # fmt: skip
    assert found[0].prompt == found[1].prompt == ASKED
    check_head(path, "matches")


def test_outcomes_of_models_are_matches_between_them(tmp_path):
    right = {"prompt": "Why?", "gpt": "True", "mix": "False", "gpt_response": "A", "mix_response": "B"}
    assert read(tmp_path, right) == [Match(("gpt", "mix"), 1.0, ASKED, ("A", "B"), (1.0, 0.0))]
    assert read(tmp_path, {"subject": "art", **right, "gpt": "False"})[0].score == 0.5
    three = read(tmp_path, {"prompt": "Why?", "values": {"a": 1, "b": 3, "c": 2}})
    assert [(match.models, match.score) for match in three] == [(("a", "b"), 0.0), (("a", "c"), 0.0), (("b", "c"), 1.0)]


def test_judgements_of_mt_bench_are_means_over_turns(tmp_path):
    def judged(model, score, turn, text):
        return {"question_id": 7, "model": model, "score": score, "turn": turn, "user_prompt": text, "judgment": "..."}

    first = "[Instruction]\nJudge.\n\n[Question]\nWhy?\n\n[The Start of Assistant's Answer]\nSo."
    rows = [
        judged("a", 8, 1, first),
        judged("a", 9, 2, "turn"),
        judged("b", 10, 1, first),
        judged("b", 6, 2, "turn"),
        judged("b", -1, 2, "?"),
    ]
    assert read(tmp_path, *rows) == [Match(("a", "b"), 1.0, ASKED, None, (8.5, 8.0))]
    for name in ("question_id", "model", "score", "turn"):
        cut = judged("b", 6, 2, "turn")
        del cut[name]
        with pytest.raises(DataError, match=f"line 2: '{name}' is missing"):
            read(tmp_path, rows[0], cut)


def test_a_match_that_was_written_is_read_again(tmp_path):
    match = Match(("x", "y"), 0.25, ASKED, ("A", "B"), (1.0, 2.0))
    assert read(tmp_path, plain_match(match)) == [match]
    assert read(tmp_path, plain_match(Match(("x", "y"), 1.0))) == [Match(("x", "y"), 1.0)]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"model_a": "x", "model_b": "x", "winner": "tie"}, "'x' stands against itself"),
        ({"model_a": "x", "model_b": "y"}, "'winner' or 'score' is missing"),
        ({"model_a": "x", "model_b": "y", "winner": "z"}, "'winner' is 'z'; it is one of: model_a"),
        ({"model_a": "x", "model_b": "y", "score": 2}, r"'score' is 2; a number from 0 \(model_b was better\) to 1"),
        ({"model_a": "x", "model_b": "y", "score": 1, "values": [1]}, "'values' must be two finite numbers"),
        ({"model_a": "x", "model_b": "y", "score": 1, "answers": ["a"]}, "'answers' must be two texts"),
        ({"generator_1": "x", "generator_2": "y", "preference": 3}, "'preference' is 3; a number from 1"),
        ({"prompt": "Why?", "gpt": "True"}, "'model_a' and 'model_b', or a column for each of two models, is missing"),
        ({"prompt": "Why?", "values": {"a": 1, "b": "x"}}, "'values.b' is 'x'; a finite number"),
        ({"instruction_id": "1", "instruction": "Why?", "x": "n/a"}, "'x' is 'n/a'; a number from 1"),
    ],
)
def test_what_is_wrong_with_a_match_is_one_line(tmp_path, row, problem):
    with pytest.raises(DataError, match=f"matches.jsonl line 1: .*{problem}"):
        read(tmp_path, row)
