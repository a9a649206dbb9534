"""Few-shot prompts: K pairs, K demonstrations."""

import doctest
import sys

import pytest

from trivium.text.few_shot import few_shot


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_each_pair_is_the_answer_once_and_an_example_in_all_others(k):
    pairs = [(f"query{i}.", f"response{i}.") for i in range(k)]
    rows = few_shot("Do it.", pairs)
    assert [answer.content for _, answer in rows] == [response for _, response in pairs]
    for index, (prompt, _) in enumerate(rows):
        assert prompt.content.startswith("Do it.")
        assert prompt.content.endswith(f"Input: query{index}.\nOutput:")
        assert [response in prompt.content for _, response in pairs] == [i != index for i in range(k)]
        assert all(prompt.content.count(query) == 1 for query, _ in pairs)


def test_the_example_of_its_documentation_runs():
    result = doctest.testmod(sys.modules[few_shot.__module__])
    assert (result.failed, result.attempted > 0) == (0, True)
