"""Labels of steps without people: how often a model that goes on from the end of a step arrives at the right answer."""

from collections.abc import Callable, Sequence

import numpy as np

from trivium.core.types import Example
from trivium.generate.engine import Engine
from trivium.generate.sampling import Sampling
from trivium.text.steps import answer_span

Arrive = Callable[[Sequence[Example], Sequence[int]], Sequence[bool]]  # (whole answers, number of each one's solution) -> which are right


def step_values(
    engine: Engine, solutions: Sequence[Example], ends: Sequence[np.ndarray], are_right: Sequence[bool], arrive: Arrive, *,
    rollouts: int, sampling: Sampling, seed: int, purpose: str, numbers: Sequence[int],
) -> list[list[float]]:  # fmt: skip
    """For each step of each solution the share of `rollouts` continuations from its end that arrive, in [0, 1]; of the last its own result.

    Wang et al. 2024, arXiv:2312.08935 (Math-Shepherd), eq. 4, the soft estimate; above 0 is the hard one, eq. 3. ends: where steps end
    (`text.steps.step_ends`). A continuation has what is left of max_new_tokens. numbers: of the solutions, which their random numbers
    depend on. Costs rollouts x steps answers.
    """
    begins, most = [answer_span(solution.loss_mask).start for solution in solutions], sampling.max_new_tokens
    asked = [(owner, step, end + 1) for owner, each in enumerate(ends) for step, end in enumerate(each[:-1].tolist())]
    rolls = [(*one, roll) for one in asked for roll in range(rollouts)]
    gone_on = engine.generate(
        [solutions[owner].tokens[:end] for owner, _, end, _ in rolls], sampling, seed=seed, purpose=purpose,
        numbers=[(numbers[owner] * most + step) * rollouts + roll for owner, step, _, roll in rolls],
        lengths=[max(1, begins[owner] + most - end) for owner, _, end, _ in rolls],
    )  # fmt: skip
    whole = [
        Example(each.tokens, (np.arange(len(each.tokens)) >= begins[owner]).astype(np.float32), meta=each.meta)
        for (owner, *_), each in zip(rolls, gone_on, strict=True)
    ]
    arrived = np.array(arrive(whole, [owner for owner, *_ in rolls]) if rolls else [], float).reshape(len(asked), rollouts)
    shares = iter(arrived.mean(1).tolist())
    return [[*(next(shares) for _ in each[:-1]), float(is_right)] for each, is_right in zip(ends, are_right, strict=True)]
