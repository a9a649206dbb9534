"""Every rule that keeps answers, on scores written by hand."""

from typing import Any

import numpy as np
import pytest

from trivium.core.errors import ConfigError, DataError
from trivium.core.types import Message
from trivium.score.keep import Against, All, Best, Hindsight, Kept, Pairs, Pool, Scored, Steps, Threshold, Top, usable

SAID = ("a", "b", "a", "cut", "d", "")
STOPPED = (True, True, True, False, True, True)
SCORES = (1.0, 3.0, 1.0, 9.0, 2.0, 8.0)
ASKED = [{"role": "user", "content": "why"}]


def scored(scores=SCORES, said=SAID, stopped=STOPPED, lots=None, **options: Any) -> Scored:
    lots = np.arange(len(scores)) / 10 if lots is None else np.array(lots)
    return Scored((Message("user", "why"),), tuple(said), np.array(scores, float), np.array(stopped), lots, **options)


def pool(*prompts: Scored) -> Pool:
    return Pool(*(np.array([getattr(each, name) for each in prompts]) for name in ("scores", "is_usable", "lots")))


def kept(rule: Any, asked: Scored, *others: Scored) -> Kept:
    return rule(pool(asked, *others))(asked)


def answers(found: Kept) -> list[str]:
    return [record["messages"][-1]["content"] for record in found.records]


def test_what_can_be_shown_ended_by_itself_is_not_empty_and_new():
    assert usable(SAID, np.array(STOPPED)).tolist() == [True, True, False, False, True, False]
    assert usable(("a", "a"), np.array([False, True])).tolist() == [False, True]


def test_best_keeps_the_best_that_can_be_shown():
    found = kept(Best(), scored())
    assert found.records == [{"messages": [*ASKED, {"role": "assistant", "content": "b"}], "score": 3.0}]
    assert found.places == [1]


def test_between_equal_scores_a_lot_decides():
    said, stopped = ("a", "b", "c"), (True,) * 3
    for winner, lots in enumerate(([0.9, 0.1, 0.2], [0.1, 0.9, 0.2], [0.1, 0.2, 0.9])):
        assert kept(Best(), scored((1, 1, 1), said, stopped, lots)).places == [winner]


def test_best_of_answers_that_were_all_cut_off_is_none():
    found = kept(Best(), scored((1, 2), ("a", "b"), (False, False)))
    assert (list(found.records), found.why_none) == ([], "no answer ended by itself")


def test_threshold_keeps_all_that_reach_it_once_each():
    assert answers(kept(Threshold(at_least=2), scored())) == ["b", "d"]
    assert answers(kept(Threshold(at_least=1), scored())) == ["b", "d", "a"]
    assert answers(kept(Threshold(at_least=1, per_prompt=2), scored())) == ["b", "d"]
    assert kept(Threshold(at_least=4), scored()).why_none == "no answer scores 4 and ended by itself"


def test_what_a_higher_threshold_keeps_a_lower_one_keeps_too():
    sets = [set(answers(kept(Threshold(at_least=least), scored()))) for least in (0, 1, 2, 3, 4)]
    assert all(high <= low for low, high in zip(sets, sets[1:], strict=False))


def test_top_ranks_the_answers_to_all_prompts_together():
    easy, hard = scored((5, 4), ("a", "b"), (True, True)), scored((1, 4.5), ("a", "b"), (True, True))
    for share, expected in ((0.25, [["a"], []]), (0.5, [["a"], ["b"]]), (0.75, [["a", "b"], ["b"]]), (1.0, [["a", "b"], ["b", "a"]])):
        choose = Top(share=share)(pool(easy, hard))
        assert [answers(choose(each)) for each in (easy, hard)] == expected


def test_top_cuts_between_equal_scores_by_lot():
    two = [scored((1, 1), ("a", "b"), (True, True), lots) for lots in ([0.1, 0.8], [0.7, 0.3])]
    choose = Top(share=0.5)(pool(*two))
    assert [answers(choose(each)) for each in two] == [["b"], ["a"]]


def test_top_of_nothing_says_so():
    with pytest.raises(DataError, match="no answer ended by itself"):
        kept(Top(), scored((1,), ("a",), (False,)))


def test_pairs_are_the_best_that_can_be_shown_over_the_worst():
    found = kept(Pairs(), scored((1, 3, 2, -1), ("a", "b", "c", "cut"), (True, True, True, False)))
    assert found.records == [
        {"prompt": ASKED, "chosen": "b", "rejected": "cut", "scores": [3.0, -1.0], "margin": 4.0, "stopped": [True, False]}
    ]
    assert found.places == [1, 3]


@pytest.mark.parametrize(
    ("asked", "rule", "reason"),
    [
        (scored((1, 1), ("a", "b"), (True, True)), Pairs(), "all answers score the same"),
        (scored((1, 2), ("a", "b"), (True, True)), Pairs(min_margin=1.5), "differ by less than 1.5"),
        (scored((1, 2), ("a", "b"), (False, False)), Pairs(), "no answer ended by itself"),
        (scored((1, 2), ("a", "b"), (True, False)), Pairs(), "no answer that ended by itself is better"),
        (scored((2, 1), ("a", "a"), (True, False)), Pairs(), "the same text"),
        (scored((1, 1), ("a", "b"), (True, True)), All(), "all answers score the same"),
        (scored((0,), ("good",), (True,), demonstration="good"), Against(), "every answer is the demonstration"),
    ],
)
def test_a_prompt_without_a_preference_says_why(asked, rule, reason):
    found = kept(rule, asked)
    assert not found.records
    assert reason in found.why_none


def test_all_keeps_every_answer_with_its_score():
    [record] = kept(All(), scored()).records
    assert record == {"prompt": ASKED, "responses": list(SAID), "scores": list(SCORES), "stopped": list(STOPPED)}


def test_against_puts_the_demonstration_over_each_different_answer():
    nothing = np.full(4, np.nan)
    found = kept(Against(), scored(nothing, ("a", "good", "a", "cut"), (True, True, True, False), demonstration="good"))
    assert [(record["chosen"], record["rejected"], record["stopped"]) for record in found.records] == [
        ("good", "a", [True, True]),
        ("good", "cut", [True, False]),
    ]


def test_hindsight_changes_the_question_and_never_the_answer():
    rule = Hindsight(controls=("Bad:", "Fair:", "Good:"), edges=(2, 3))
    found = kept(rule, scored())
    assert answers(found) == ["a", "b", "d"]
    assert [record["messages"][0]["content"] for record in found.records] == ["Bad: why", "Good: why", "Fair: why"]


def test_hindsight_parts_scores_evenly_where_no_edges_are_given():
    four = scored((1, 2, 3, 4), tuple("abcd"), (True,) * 4)
    found = kept(Hindsight(), four)
    assert [record["messages"][0]["content"].split()[0] for record in found.records] == ["Bad", "Bad", "Good", "Good"]
    with pytest.raises(DataError, match=r"too many of them are equal.*keep.edges=\[1\]"):
        kept(Hindsight(), scored((0, 0, 0, 1), tuple("abcd"), (True,) * 4))


def test_hindsight_asks_for_the_best_only_when_told():
    prompt = (Message("system", "be brief"), Message("user", "why"))
    assert Hindsight().asks(prompt) == prompt
    assert Hindsight(is_asked=True).asks(prompt) == (prompt[0], Message("user", "Good answer: why"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"controls": ("a", "a")}, "two of them are the same"),
        ({"edges": (1, 2)}, "2 of them part 3 controls, but there are 2"),
        ({"controls": ("a", "b", "c"), "edges": (2, 1)}, "must rise"),
    ],
)
def test_hindsight_refuses_what_parts_nothing(options, message):
    with pytest.raises(ConfigError, match=message):
        Hindsight(**options)


def test_steps_keeps_what_was_cut_with_shares_or_whether_there_is_one():
    asked = scored(
        (1.0, 0.0, 0.0), ("a\nb", "c", "cut"), (True, True, False), steps=[["a", "b"], ["c"], []], step_shares=[[0.25, 1], [0], []]
    )
    found = kept(Steps(), asked)
    assert [(each["steps"], each["labels"], each["score"]) for each in found.records] == [(["a", "b"], [0.25, 1], 1.0), (["c"], [0], 0.0)]
    assert found.places == [0, 1]
    assert [each["labels"] for each in kept(Steps(estimate="hard"), asked).records] == [[1.0, 1.0], [0.0]]
    assert Steps(separator=";").cut("one; ;two;") == ["one", "two"]
    assert kept(Steps(), scored()).why_none == "no answer that ended by itself has steps with shares of rollouts that arrive"


def test_shuffled_labels_are_results_of_answers_to_any_prompt_and_say_nothing_of_their_own():
    draw = np.random.default_rng(1)
    right = draw.random((200, 4)) < 0.7
    said = ("a b", "b b", "c b", "d b")
    prompts = [
        scored(row, said, (True,) * 4, draw.random(4), steps=[["x", "y"]] * 4, step_shares=[[share, share] for share in row.tolist()])
        for row in right.astype(float)
    ]
    choose = Steps(estimate="shuffled")(pool(*prompts))
    labels = np.array([[record["labels"] for record in choose(each).records] for each in prompts])
    assert labels.shape == (200, 4, 2)
    assert all(sorted(column.ravel()) == sorted(right.ravel().astype(float)) for column in (labels[..., 0], labels[..., 1]))
    assert abs(np.corrcoef(labels[..., 0].ravel(), right.ravel())[0, 1]) < 0.1
    assert abs(np.corrcoef(labels.mean((1, 2)), right.mean(1))[0, 1]) < 0.2  # nor how hard its prompt is
    assert (labels[..., 0] != labels[..., 1]).any()
