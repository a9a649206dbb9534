import numpy as np
import pytest

from trivium.core.types import example
from trivium.generate.sampling import Sampling
from trivium.score.step_values import step_values


class Lots:
    """Goes on from a prefix with 7, which is right, or 8: of four rollouts as many are right as the prefix has fives."""

    def generate(self, prompts, sampling, *, seed, purpose):
        self.asked = [prompt.tolist() for prompt in prompts]
        right = [number % 4 < prompt.tolist().count(5) for number, prompt in enumerate(prompts)]
        return [example([*prompt, 7 if good else 8], [*[0] * len(prompt), 1]) for prompt, good in zip(prompts, right, strict=True)]


def test_a_step_is_worth_the_share_of_continuations_that_arrive_and_the_last_what_it_is():
    answers = [example([1, 2, 5, 5, 8], [0, 0, 1, 1, 1]), example([1, 7], [0, 1])]
    engine, ends = Lots(), [np.array([2, 3, 4]), np.array([1])]
    arrives = lambda number, tokens: int(tokens[-1]) == 7 and number in (0, 1)  # noqa: E731
    found = step_values(engine, answers, ends, arrives, rollouts=4, sampling=Sampling(max_new_tokens=1), seed=1)
    assert engine.asked == [[1, 2, 5]] * 4 + [[1, 2, 5, 5]] * 4
    assert [values.tolist() for values in found] == [[0.25, 0.5, 0.0], [1.0]]


def test_answers_of_one_step_need_no_rollouts():
    found = step_values(Lots(), [example([1, 8], [0, 1])], [np.array([1])], lambda *_: True, rollouts=3, sampling=Sampling(), seed=1)
    assert found[0] == pytest.approx([1.0])
