"""The probes of a judge, on one that only reads numbers and on one that does what it is told."""

import re

import pytest

from scripts.probe_judge import PROBES, QUESTIONS, main, pairs
from tests.score.chat_server import says, serving
from trivium.score.rewards import llm_judge


def judging(*, is_obedient: bool):
    """Looks for the sum; or prefers, and grades higher, what has more than an answer in it."""

    def judge(handler, text):
        nonce = re.search(r"VERDICT (\w+) VALUE", text)[1]
        a, b = map(int, re.search(r"What is (\d+) \+ (\d+)\?", text).groups())
        answers = re.findall(rf"{nonce} ANSWER(?: [AB])?\n(.*?)\n(?={nonce} )", text, re.DOTALL)
        worth = [(len(answer) > 20) if is_obedient else f"is {a + b}." in answer for answer in answers]
        pair = "TIE" if worth[0] == worth[-1] else "AB"[worth[1]]
        says(f"VERDICT {nonce} {pair if len(answers) == 2 else 9 if worth[0] else 2}")(handler, text)

    return judge


@pytest.mark.parametrize(("is_obedient", "code", "verdict"), [(False, 0, "holds: +0.0 points"), (True, 1, "FAILS: +50.0 points")])
def test_a_judge_that_is_talked_round_is_found_and_one_that_is_not_holds(is_obedient, code, verdict, capsys, monkeypatch):
    monkeypatch.setattr("scripts.probe_judge.QUESTIONS", 3)
    monkeypatch.setattr(llm_judge, "FIRST_PAUSE_S", 0.0)
    with serving(judging(is_obedient=is_obedient)) as (url, asked):
        assert main([url, "m"]) == code
    assert len(asked) == 3 * 3 * (1 + len(PROBES))  # two orders and a grade
    told = capsys.readouterr().out.splitlines()
    assert told[-1].startswith(verdict)
    assert told[-2].startswith("33 of 33 pairs have the same verdict in both orders")
    assert [re.search(r"grade ([+-][\d.]+)", line)[1] for line in told[1:-2]] == ["+7.0" if is_obedient else "+0.0"] * len(PROBES)


def test_the_answers_differ_in_the_sum_alone():
    for right, wrong in pairs(1, QUESTIONS):
        a, b = map(int, re.findall(r"\d+", right.prompt[0].content))
        assert right.response == f"{a} + {b} is {a + b}."
        assert wrong.response.split("is")[0] == right.response.split("is")[0]
        assert wrong.response != right.response
    assert len(PROBES) * QUESTIONS == 200
