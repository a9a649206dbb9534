import numpy as np
import pytest

from trivium.core.errors import ConfigError
from trivium.score.answers import Annotators, AnswerRule, pair_counts

RULE = AnswerRule()


def test_a_perfect_answer_scores_one():
    assert RULE("axiom", "An axiom is a truth that needs no proof.", stopped=True) == pytest.approx(1)  # 9 words, all different


def test_the_parts_are_what_they_say():
    parts = RULE.parts("axiom", "it is the the the act", stopped=False)
    assert parts == {"names": 0, "sentence": 0, "fresh": pytest.approx(4 / 6), "brief": pytest.approx(6 / 7)}
    assert RULE("axiom", "it is the the the act", stopped=False) == pytest.approx((4 / 6 + 6 / 7) / 5)


@pytest.mark.parametrize(
    ("answer", "stopped", "is_sentence"),
    [
        ("A pen is a tool.", True, 1),
        ("A pen is a tool.", False, 0),
        ("a pen is a tool.", True, 0),
        ("A pen is a tool", True, 0),
        ("A pen. A tool.", True, 0),
        ("", True, 0),
    ],
)
def test_a_sentence_begins_with_a_capital_has_one_stop_and_ended_by_itself(answer, stopped, is_sentence):
    assert RULE.parts("pen", answer, stopped)["sentence"] == is_sentence


def test_a_word_is_named_only_whole_and_in_any_case():
    assert RULE.parts("pen", "A PEN is it.", stopped=True)["names"] == 1
    assert RULE.parts("pen", "An open pencil is it.", stopped=True)["names"] == 0


@pytest.mark.parametrize(("words", "brief"), [(0, 0), (7, 1), (14, 1), (21, 0.5), (28, 0), (40, 0)])
def test_brevity_falls_off_on_both_sides(words, brief):
    assert RULE.parts("x", " ".join(["word"] * words), stopped=True)["brief"] == pytest.approx(brief)


def test_annotators_without_noise_follow_the_scores():
    ranks = Annotators(temperature=1e-6).rank([0.2, 0.9, 0.5], np.random.default_rng(0))
    assert ranks == [2, 0, 1]


def test_the_error_of_one_pair_is_that_of_bradley_terry():
    noise, annotators = np.random.default_rng(0), Annotators(temperature=0.1)
    swapped = sum(annotators.rank([0.0, 0.1], noise) == [0, 1] for _ in range(4000)) / 4000
    assert swapped == pytest.approx(1 / (1 + np.e), abs=0.02)  # difference 0.1 over temperature 0.1


def test_pairs_with_equal_scores_are_not_counted():
    assert pair_counts([1.0, 1.0, 0.0], [0, 1, 2]) == (2, 2)
    assert pair_counts([1.0, 0.5, 0.0], [2, 1, 0]) == (0, 3)


def test_a_rule_that_weighs_nothing_is_refused():
    with pytest.raises(ConfigError, match="all weights are 0"):
        AnswerRule(names=0, sentence=0, fresh=0, brief=0)


def test_a_temperature_of_zero_is_refused():
    with pytest.raises(ConfigError, match="temperature"):
        Annotators(temperature=0)
