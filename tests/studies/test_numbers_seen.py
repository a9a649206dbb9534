"""Numbers are counted with their borders, row by row, up to a step."""

import re
from collections import Counter

import numpy as np
import pytest

from trivium.studies.numbers_seen import numbers_in, seen_by


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("110 is no 10", {110, 10}), ("_1 and _10", set()), ("x7 7x 7", {7}), ("1,200 and 3.5 and 12:30", {12, 30}),
        ("9. Then (8), 7!", {9, 8, 7}), ("007 1234567", {7}), ("", set()),
    ],
)  # fmt: skip
def test_a_number_is_one_by_itself(text, numbers):
    assert numbers_in(text) == numbers


def test_counts_are_those_of_a_brute_force_search_of_a_megabyte():
    draw = np.random.default_rng(1)
    words = [*map(str, range(150)), "a", "b7", "1,000", "2.5", "x", "(30)", "40.", "=50"]
    rows = [" ".join(draw.choice(words, 40)) for _ in range(8000)]
    found = Counter(number for row in rows for number in numbers_in(row))
    for number in (0, 10, 40, 110):
        pattern = re.compile(rf"(?<![\w.,]){number}(?![\w]|[.,]\d)")  # what stands before differs only where the words have a point
        assert found[number] == sum(bool(pattern.search(row)) for row in rows)
    assert sum(map(len, rows)) > 1e6


class Order:
    """Two rows a step; ids are letters, 0 begins a document."""

    rows = ("12 5", "5 \x003 4", "7 9 7", "9 10 1", "\x0011 2", "1 11 1")

    def batch(self, step):
        return [np.array([ord(letter) for letter in row]) for row in self.rows[2 * step : 2 * step + 2]]


def test_counts_go_up_to_a_step_and_leave_out_what_a_border_cuts():
    counts = seen_by(Order(), lambda ids: "".join(map(chr, ids)).replace("\x00", ""), [0, 1, 3], document_start=0)
    assert counts[0] == Counter()
    assert counts[1] == Counter({3: 1})  # 12, 5 and 4 touch borders; 5 and 3 are not 53
    assert counts[3] == Counter({3: 1, 9: 1, 10: 1, 11: 2})
