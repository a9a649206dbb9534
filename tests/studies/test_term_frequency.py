"""The study of term frequency: what is asked and what counts as right, and learners whose accuracy is a known function of the count."""

import re

import numpy as np
import pytest

from trivium.core.errors import ConfigError, DataError
from trivium.studies import term_frequency
from trivium.studies.term_frequency import Measured, TermFrequency, is_right

SEEN = np.random.default_rng(2).permutation(np.arange(1, 101)).tolist()


def learner(chance, *, name="run/zipf", tries=50, seed=1):
    """One that does each of so many sums right with a probability that depends on how often the operand was seen."""
    draw = np.random.default_rng(seed)
    return Measured(name, 1, 100, SEEN, (draw.binomial(tries, [chance(seen) for seen in SEEN]) / tries).tolist())


def test_the_gap_of_a_learner_is_that_of_its_law():
    """p = f / 100: the ten most frequent operands are seen 91 to 100 times, the ten least 1 to 10; by the law 95.5 - 5.5 = 90 points."""
    exact = Measured("x", 1, 1, SEEN, [seen / 100 for seen in SEEN])
    assert exact.gap == pytest.approx(90)
    assert exact.mean == pytest.approx(0.505)
    gaps = [learner(lambda seen: seen / 100, seed=seed).gap for seed in range(100)]
    error = 100 * np.sqrt(2 * 0.05 * 0.95 / 500)  # of one gap: two means of 10 x 50 tries
    assert np.mean(gaps) == pytest.approx(90, abs=3 * error / 10)
    assert np.std(gaps) == pytest.approx(error, rel=0.35)


def test_the_intervals_hold_the_law_of_the_learner():
    spans = [learner(lambda seen: seen / 100, seed=seed).spans() for seed in range(8)]
    assert sum(low <= 90 <= high for (low, high), _ in spans) >= 6
    blind = [learner(lambda seen: 0.5, seed=seed).spans() for seed in range(8)]
    assert sum(low <= 0 <= high for _, (low, high) in blind) >= 6
    assert all(low > 0.9 for _, (low, _) in spans)


def test_more_demonstrations_than_other_first_numbers_are_refused():
    with pytest.raises(ConfigError, match="shots is 20; each has another first number than the question, of which there are 19"):
        TermFrequency(first=20, shots=20)


def test_a_learner_that_is_blind_to_the_count_does_not_rise():
    rises = [learner(lambda seen: 0.5, seed=seed).rises for seed in range(40)]
    assert np.mean(rises) < 0.13
    assert all(learner(lambda seen: 0.1 + 0.006 * seen, seed=seed).rises for seed in range(8))


def test_demonstrations_are_solved_sums_with_other_first_numbers():
    study = TermFrequency(first=20, second=9, shots=4)
    for x in range(20):
        *shown, asked = study.prompt(x, 1 + x % 9).split("\n")
        assert asked == f"Q: What is {x} plus {1 + x % 9}? A:"
        sums = [tuple(map(int, re.fullmatch(r"Q: What is (\d+) plus (\d+)\? A: (\d+)", line).groups())) for line in shown]
        assert len({first for first, *_ in sums}) == 4
        assert all(first + second == result and first != x and 1 <= second <= 9 for first, second, result in sums)
    assert study.prompt(3, 4) == study.prompt(3, 4)
    assert TermFrequency(shots=0).prompt(3, 4) == "Q: What is 3 plus 4? A:"


@pytest.mark.parametrize(
    ("text", "result", "right"),
    [
        (" 12", 12, True), (" 12.", 12, True), (" 112", 12, False), (" 1 2", 12, False), (" is 12, not 13", 12, True),
        (" 13 or 12", 12, False), (" twelve", 12, False), ("", 12, False), (" 012", 12, True), (" 100000", 10000, True),
    ],
)  # fmt: skip
def test_the_first_number_of_at_most_five_digits_is_the_answer(text, result, right):
    assert is_right(text, result) is right


def found(monkeypatch, *measured):
    monkeypatch.setattr(term_frequency, "trainings_of", lambda folders: list(measured))
    monkeypatch.setattr(TermFrequency, "_measured", lambda self, training: [training])
    return TermFrequency().find(())


def test_the_rule_by_its_learners(monkeypatch):
    even = learner(lambda seen: 0.5, name="run/even", seed=3)
    assert found(monkeypatch, learner(lambda seen: seen / 100), even).outcome == "seen"
    assert found(monkeypatch, learner(lambda seen: 0.5), even).outcome == "not seen"
    assert found(monkeypatch, learner(lambda seen: seen / 5000), even).outcome == "cannot tell"  # has learned nothing
    cheating = learner(lambda seen: seen / 100, name="run/even")
    assert found(monkeypatch, learner(lambda seen: seen / 100), cheating).outcome == "controls failed"
    with pytest.raises(DataError, match="every training here is a control"):
        found(monkeypatch, even)
