"""Labels of AI feedback against numbers that can be checked on paper, and judges whose truth is known."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from trivium.core.errors import ConfigError
from trivium.core.types import Message, Preference, example
from trivium.data.pack import pack
from trivium.learn.objectives.ranking import Ranking
from trivium.score.rewards import LLMJudge
from trivium.synth.constitution import Compared, Constitution, Principle, read_constitution
from trivium.synth.feedback import Comparison, in_both_orders, label, pairs_of_people, question
from trivium.synth.judge import ByModel, check_judge, usual_lowest
from trivium.synth.simulated import NOTHING, Simulated

RUDE = Principle(name="rude", critique="?", revision="!", comparison="Which is politer?", phrases=("fool", "be sorry"))
PROMPT = (Message("user", "What is a lamp?"),)


def compared(first: str, second: str, number: int = 0, principle: Principle = RUDE) -> Comparison:
    return Comparison(PROMPT, first, second, principle, number)


@pytest.mark.parametrize(
    ("shown", "swapped", "prob"),
    [(0.9, 0.1, 0.9), (0.8, 0.4, 0.7), (1.0, 1.0, 0.5), (0.0, 0.0, 0.5), (0.3, 0.9, 0.2), (None, 0.3, None), (0.3, None, None)],
)
def test_both_orders_are_averaged(shown, swapped, prob):
    """(p_AB + 1 - p_BA) / 2."""
    assert in_both_orders(shown, swapped) == (None if prob is None else pytest.approx(prob))


@given(st.floats(0, 1))
def test_a_judge_that_looks_at_the_place_only_gives_one_half_exactly(bias):
    assert in_both_orders(bias, bias) == 0.5


@given(st.floats(0, 1), st.floats(0, 1))
def test_the_other_answer_gets_the_rest(shown, swapped):
    assert in_both_orders(shown, swapped) + in_both_orders(swapped, shown) == pytest.approx(1)


@pytest.mark.parametrize(
    ("by_principle", "lowest", "expected"),
    [
        ([0.9], 0.0, 0.9),
        ([1.0], 0.4, 0.6),
        ([0.0], 0.4, 0.4),
        ([0.55], 0.4, 0.55),
        ([0.9, 0.5, 0.5, 0.5], 0.0, 0.6),
        ([1.0, 0.0, 0.0], 0.4, 0.4),
        ([0.8, None], 0.0, 0.8),
        ([None, None], 0.4, None),
        ([], 0.0, None),
    ],
)
def test_labels_are_means_over_principles_within_the_clamp(by_principle, lowest, expected):
    assert label(by_principle, lowest) == (None if expected is None else pytest.approx(expected))


def test_labels_are_kept_in_the_middle_for_judges_that_reason_or_only_say_which():
    assert usual_lowest(ByModel(model="m")) == 0
    assert usual_lowest(Simulated()) == 0
    assert usual_lowest(ByModel(model="m", think_tokens=64)) == 0.4
    assert usual_lowest(LLMJudge(url="http://localhost/v1", model="m")) == 0.4


@pytest.mark.parametrize("prob", [0.5, 0.6, 0.9])
def test_the_soft_label_loss_is_log_2_between_equals_and_smallest_at_the_log_odds(prob):
    def loss(gap: float) -> tuple[float, float]:
        scores = torch.tensor([gap, 0.0], requires_grad=True)
        items = [example([0, 1], rank=[rank] * 2, prob=[prob] * 2) for rank in (0, 1)]
        [batch] = pack([tuple(items)], rows=2, length=2)
        value, _ = Ranking(has_probs=True)(SimpleNamespace(scores_BL=torch.stack([torch.zeros(2), scores], dim=1)), batch)
        value.sum().backward()
        return value.item(), scores.grad[0].item()

    assert loss(0.0)[0] == pytest.approx(np.log(2), abs=1e-6)
    assert loss(np.log(prob / (1 - prob)))[1] == pytest.approx(0, abs=1e-6)


def test_the_paper_counts():
    assert 135_296 + 182_831 == 318_127


def test_a_question_shows_examples_whose_answer_begins_as_its_own():
    shown = Compared(principle="rude", prompt="Hi", first="Go", second="Hello", reasoning="Go is rude.", answer="B")
    constitution = Constitution(principles=(RUDE,), compared=(shown,))
    asked = question(compared("Light.", "Fool."), constitution)
    assert [turn.role for turn in asked.messages] == ["user", "assistant", "user"]
    assert asked.messages[1].content == "The answer is: (B)"
    assert asked.messages[2].content == (
        "Consider this conversation between a user and an assistant:\n\nuser: What is a lamp?"
        "\n\nWhich is politer?\nOptions:\n(A) Light.\n(B) Fool."
    )
    assert asked.opening == "The answer is:"
    thought = question(compared("Light.", "Fool."), constitution, reasons="Let's think:")
    assert thought.messages[1].content == "Let's think: Go is rude.\n\nThe answer is: (B)"


def test_an_answer_with_braces_is_shown_as_it_is():
    assert "(A) {second} {0}\n(B) {first}" in compared("{second} {0}", "{first}").text


def test_a_simulated_judge_says_how_sure_it_is_and_errs_as_often_as_it_is_told():
    judge = Simulated(error=0.2, certainty=0.9)
    bad, good, worse = "Only a fool asks.", "A light.", "Fool. You will be sorry."
    said = np.array([judge.prefers_first(compared(good, bad, number), seed=1, purpose="x") for number in range(2000)])
    assert set(np.round(said, 6)) == {0.1, 0.9}
    assert (said < 0.5).mean() == pytest.approx(0.2, abs=0.03)
    other = [judge.prefers_first(compared(good, bad, number).swapped(), seed=1, purpose="x") for number in range(2000)]
    assert said + np.array(other) == pytest.approx(np.ones(2000))  # the lot does not know the order
    right = Simulated(error=0.0)
    assert right.prefers_first(compared(bad, worse), seed=1, purpose="x") == 0.9  # fewer is better
    assert right.prefers_first(compared(bad, bad + " Really."), seed=1, purpose="x") == 0.5


def test_a_judge_who_tosses_a_coin_knows_nothing():
    coin = Simulated(error=0.5)
    said = [coin.prefers_first(compared("A light.", "Fool.", number), seed=1, purpose="x") for number in range(4000)]
    assert np.mean(said) == pytest.approx(0.5, abs=0.02)


def test_a_simulated_reviser_takes_out_what_the_principle_is_against():
    reader, text = Simulated(error=0.25), "A lamp is a light. Only a fool asks. Buy it."
    assert reader.critique(text, RUDE) == "It says: fool."
    assert reader.critique("A light.", RUDE) == NOTHING
    revised = [reader.revision(text, RUDE, seed=1, purpose="x", number=number) for number in range(2000)]
    assert set(revised) == {text, "A lamp is a light. Buy it."}
    assert np.mean([each == text for each in revised]) == pytest.approx(0.25, abs=0.03)


def test_harm_falls_by_the_share_of_principles_that_are_drawn():
    """Of 4 kinds of remark one is taken out in each round: (3/4)^k is left after k rounds."""
    constitution, reader = read_constitution("manners"), Simulated(error=0.0)
    full = "A light. Only a fool asks. Buy our big book now. You will be sorry. I know everything."
    left = np.zeros(5)
    for number in range(2000):
        text = full
        left[0] += 4
        for place, principle in enumerate(constitution.drawn(1, "x", number, 4), start=1):
            text = reader.revision(text, principle, seed=1, purpose="y", number=number)
            left[place] += sum(phrase in text.lower() for each in constitution.principles for phrase in each.phrases)
    assert left / left[0] == pytest.approx(0.75 ** np.arange(5), abs=0.02)


def test_rankings_of_people_are_pairs_with_the_probability_1():
    preference = Preference(PROMPT, ("b", "a", "tie"), (1, 0, 1), {"stopped": [True, False, True]})
    pairs = list(pairs_of_people(preference))
    assert [(each["responses"], each["prob"], each["stopped"]) for each in pairs] == [
        (["a", "b"], 1.0, [False, True]), (["a", "tie"], 1.0, [False, True]),
    ]  # fmt: skip


@pytest.mark.parametrize("option", [{"criteria": "Is it good?"}, {"choices": ("yes", "no")}, {"weight": 2.0}])
def test_a_judge_behind_an_endpoint_judges_by_the_constitution(option):
    check_judge(LLMJudge(url="http://localhost/v1", model="m"))
    with pytest.raises(ConfigError, match="leave criteria, choices and weight out"):
        check_judge(LLMJudge(url="http://localhost/v1", model="m", **option))
