import numpy as np

from trivium.core.types import example
from trivium.generate.sampling import Sampling
from trivium.score.step_values import step_values


class Lots:
    """Goes on from a prefix with 7, which is right, or 8: of four rollouts as many are right as the prefix has fives."""

    def generate(self, prompts, sampling, *, seed, purpose, numbers, lengths):
        self.asked, self.numbers, self.lengths = [prompt.tolist() for prompt in prompts], list(numbers), list(lengths)
        right = [number % 4 < prompt.tolist().count(5) for number, prompt in enumerate(prompts)]
        return [example([*prompt, 7 if good else 8], [*[0] * len(prompt), 1]) for prompt, good in zip(prompts, right, strict=True)]


def values(engine, solutions, ends, are_right, *, rollouts=4, numbers=(0, 1)):
    seen = []

    def arrive(answers, of):
        seen.extend(zip(of, (answer.response.tolist() for answer in answers), strict=True))
        return [answer.response[-1] == 7 for answer in answers]

    sampling = Sampling(max_new_tokens=5)
    found = step_values(
        engine, solutions, ends, are_right, arrive, rollouts=rollouts, sampling=sampling, seed=1, purpose="steps", numbers=numbers
    )
    return found, seen


def test_a_step_is_worth_the_share_of_continuations_that_arrive_and_the_last_what_it_is():
    solutions = [example([1, 2, 5, 5, 8], [0, 0, 1, 1, 1]), example([1, 7], [0, 1])]
    engine, ends = Lots(), [np.array([2, 3, 4]), np.array([1])]
    found, seen = values(engine, solutions, ends, [False, True], numbers=(6, 7))
    assert engine.asked == [[1, 2, 5]] * 4 + [[1, 2, 5, 5]] * 4
    assert engine.lengths == [4] * 4 + [3] * 4  # what is left of 5 behind the prompt
    assert engine.numbers == [6 * 5 * 4 + roll for roll in range(4)] + [(6 * 5 + 1) * 4 + roll for roll in range(4)]
    assert found == [[0.25, 0.5, 0.0], [1.0]]
    assert seen[:2] == [(0, [5, 7]), (0, [5, 8])]  # whole answers, what was there before the rollout too


def test_an_answer_before_the_last_question_is_no_part_of_the_solution():
    engine = Lots()
    _, seen = values(engine, [example([1, 3, 2, 5, 8], [0, 1, 0, 1, 1])], [np.array([3, 4])], [False], rollouts=1, numbers=(0,))
    assert seen == [(0, [5, 7])]


def test_answers_of_one_step_need_no_rollouts():
    engine = Lots()
    found, seen = values(engine, [example([1, 8], [0, 1])], [np.array([1])], [True], numbers=(0,))
    assert (found, seen, engine.asked) == ([[1.0]], [], [])
