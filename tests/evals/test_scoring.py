"""What items are worth, by hand."""

import math

import pytest

from trivium.core.errors import ConfigError, DataError
from trivium.evals.scoring import Answer, Choices, Continuation, Likelihood, Pair, Request, Text, binary_entropy, pass_at

RECORD = {"question": "Where do fish live?", "choices": ["in the sea", "on a tree, of course", "é"], "gold": 0}


def likely(*logprobs, greedy=False):
    return [Likelihood(logprob, greedy) for logprob in logprobs]


def test_each_choice_is_asked_after_the_same_context():
    found = Choices().requests("Q: fish\nA:", RECORD, " ", "t")
    assert found == [Request("Q: fish\nA:", f" {choice}") for choice in RECORD["choices"]]


def test_the_normalised_answer_may_be_another_one():
    # sums: -10, -12, -1.5; over 10, 20 and 1 characters: -1, -0.6, -1.5; over 10, 20 and 2 bytes: -1, -0.6, -0.75
    logprobs = likely(-10.0, -12.0, -1.5)
    assert Choices(gold="2").scores(logprobs, RECORD, "t") == {"acc": 1, "acc_norm": 0, "acc_bytes": 0}
    assert Choices(gold="1").scores(logprobs, RECORD, "t") == {"acc": 0, "acc_norm": 1, "acc_bytes": 1}


def test_bytes_and_characters_differ_where_letters_are_not_ascii():
    record = {"choices": ["ééé", "abcd"], "gold": 0}  # 3 characters and 6 bytes against 4 and 4
    assert Choices().scores(likely(-5.0, -4.0), record, "t") == {"acc": 0, "acc_norm": 0, "acc_bytes": 1}


def test_of_equally_likely_choices_it_is_the_first():
    same = likely(-3.0, -3.0, -3.0)
    assert [Choices(gold=str(gold)).scores(same, RECORD, "t")["acc"] for gold in range(3)] == [1, 0, 0]


def test_several_choices_may_be_right_and_gold_may_be_a_text():
    assert Choices(gold="[1, 2]").scores(likely(-9.0, -9.0, -1.0), RECORD, "t")["acc"] == 1
    assert Choices(gold="'in the sea'").scores(likely(-1.0, -9.0, -9.0), RECORD, "t")["acc"] == 1


def test_an_ending_is_scored_after_each_choice():
    record = {"question": "He ate _ quickly.", "choices": ["bread", "stone"], "gold": 0}
    scoring = Choices(ending="{{question.split('_')[1].strip()}}")
    assert scoring.requests("He ate ", record, " ", "t") == [Request("He ate bread", " quickly."), Request("He ate stone", " quickly.")]
    assert scoring.scores(likely(-1.0, -2.0), record, "t") == {"acc": 1}
    assert scoring.shot(record, "t") == "bread quickly."


def test_a_pair_says_which_is_likelier_by_how_much_and_how_evenly():
    pair = Pair(first="{{a}}", second="{{b}}")
    record = {"a": "he runs", "b": "he run"}
    assert pair.requests("", record, " ", "t") == [Request("", "he runs"), Request("", "he run")]
    assert pair.requests("So", record, " ", "t")[0] == Request("So", " he runs")
    found = pair.scores(likely(-10.0, -10.0 - math.log(9)), record, "t")
    assert found == {"first_preferred": 1, "difference": pytest.approx(math.log(9)), "entropy": pytest.approx(0.4689956)}
    assert pair.scores(likely(-1.0, -1.0), record, "t") == {"first_preferred": 0.5, "difference": 0, "entropy": 1}


@pytest.mark.parametrize(("margin", "bits"), [(0.0, 1.0), (math.log(9), 0.468996), (-math.log(9), 0.468996), (1e6, 0.0), (-1e6, 0.0)])
def test_entropy_of_two(margin, bits):
    assert binary_entropy(margin) == pytest.approx(bits, abs=1e-6)


def test_a_continuation_is_right_if_greedy_decoding_says_it():
    word = Continuation(target="{{text.split(' ')[-1]}}")
    assert word.requests("the king of the", {"text": "the king of the land"}, " ", "t") == [Request("the king of the", " land")]
    assert word.scores(likely(-2.0, greedy=True), {}, "t") == {"acc": 1, "nats": 2, "perplexity": 2}


def test_a_text_has_its_likelihood_over_bytes_and_words():
    found = Text().scores(likely(-4 * math.log(2)), {"text": "né as"}, "t")
    assert found["bits_per_byte"] == (pytest.approx(4), 6)
    assert found["word_perplexity"] == (pytest.approx(4 * math.log(2)), 2)


@pytest.mark.parametrize(
    ("n", "correct", "k", "chance"), [(5, 2, 1, 0.4), (5, 2, 2, 0.7), (5, 2, 5, 1.0), (4, 0, 4, 0.0), (4, 4, 1, 1.0), (10, 3, 1, 0.3)]
)
def test_pass_at_k_by_counting(n, correct, k, chance):
    assert pass_at(n, correct, k) == pytest.approx(chance)
    assert pass_at(n, correct, k) == pytest.approx(1 - math.comb(n - correct, k) / math.comb(n, k))


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({"choices": ["one"], "gold": 0}, "two texts or more"),
        ({"choices": ["a", ""], "gold": 0}, "none of them empty"),
        ({"choices": ["a", "b"], "gold": 2}, "from 0 to 1"),
        ({"choices": ["a", "b"], "gold": True}, "from 0 to 1"),
        ({"choices": ["a", "b"], "gold": "c"}, "its text"),
        ({"choices": ["a", "b"]}, "'gold' is undefined"),
        ({"options": ["a", "b"]}, "'choices' is undefined"),
    ],
)
def test_a_record_that_does_not_fit_is_named(record, says):
    with pytest.raises(DataError, match=says) as error:
        Choices().scores(likely(-1.0, -2.0), record, "task x")
    assert str(error.value).startswith("task x ")


def test_greedy_answers_are_not_sampled_twice():
    with pytest.raises(ConfigError, match="greedy answers are all the same"):
        Answer(samples=4)


@pytest.mark.parametrize(
    "scoring",
    [Pair(first="{{a}}", second="x"), Pair(first="x", second="{{a}} "), Continuation(target="{{a}}")],
    ids=("first", "second", "target"),
)
def test_a_text_that_is_empty_would_be_likelier_than_any_other_and_is_refused(scoring):
    assert scoring.requests("", {"a": "king"}, " ", "t")
    with pytest.raises(DataError, match=r"t (first|second|target): is empty"):
        scoring.requests("", {"a": ""}, " ", "t")
