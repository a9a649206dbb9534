"""The model judge with a chooser whose probabilities are known."""

import numpy as np
import pytest

from trivium.core.types import Message
from trivium.score.choice import GRADES
from trivium.score.rewards import ModelJudge, Said, Unwanted, checked


def said(response: str) -> Said:
    return Said((Message("user", "What is a lamp?"),), response, True, {})


def judge(shares_NK, told: list[str] | None = None, **options):
    asked = []

    def choose(questions, grades):
        asked.extend(questions)
        assert tuple(grades) == GRADES
        with np.errstate(divide="ignore"):
            return np.log(np.asarray(shares_NK, float))

    return ModelJudge(model="m", **options).open(choose, (told if told is not None else []).append), asked


def test_a_reward_is_the_mean_grade_among_the_ten():
    shares = [np.eye(10)[9], np.eye(10)[0] * 0.5, np.full(10, 0.02), np.eye(10)[6] * 0.06 + np.eye(10)[8] * 0.06]
    rule, asked = judge(shares, criteria="Is it polite?")
    assert checked(rule, [said(text) for text in "abcd"]) == pytest.approx([1, -1, 0, 2.5 / 4.5])
    assert "Is it polite?" in asked[0].messages[0].content
    assert "user: What is a lamp?\n\nAnswer:\na\n" in asked[0].messages[0].content
    assert asked[0].opening == "Grade:"


def test_a_model_that_does_not_grade_gives_the_middle_and_says_so():
    told: list[str] = []
    rule, _ = judge([np.eye(10)[9] * 0.04, np.eye(10)[9] * 0.06], told)
    assert checked(rule, [said("a"), said("b")]) == pytest.approx([0, 1])
    assert "less than min_mass (0.05)" in told[0]


def test_nothing_is_asked_of_no_answers():
    rule, asked = judge([])
    assert checked(rule, []) == []
    assert not asked


def test_unwanted_phrases_cost_one_each():
    rule = Unwanted(phrases=("fool", "be sorry"))
    assert checked(rule, [said("A light."), said("Fool, fool!"), said("You fool will BE  sorry.")]) == [0, -1, -2]
