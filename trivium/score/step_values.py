"""Labels of steps without people: how often a model that goes on from the end of a step arrives at the right answer."""

from collections.abc import Callable, Sequence

import numpy as np

from trivium.core.types import Example
from trivium.generate.engine import Engine
from trivium.generate.sampling import Sampling

Arrives = Callable[[int, np.ndarray], bool]  # (number of the answer, all of its tokens behind the prompt) -> whether it is right


def step_values(
    engine: Engine, answers: Sequence[Example], ends: Sequence[np.ndarray], arrives: Arrives, *,
    rollouts: int, sampling: Sampling, seed: int,
) -> list[np.ndarray]:  # fmt: skip
    """For each step of each answer the share of `rollouts` continuations from its end that arrive, in [0, 1]; of the last its own result.

    Wang et al. 2024, arXiv:2312.08935 (Math-Shepherd), eq. 4, the soft estimate; above 0 is the hard one. ends: where steps end
    (`text.steps.step_ends`). Costs rollouts x steps answers.
    """
    begin = [int(np.flatnonzero(answer.loss_mask)[0]) for answer in answers]
    open_steps = [(number, answer.tokens[: end + 1]) for number, answer in enumerate(answers) for end in ends[number][:-1].tolist()]
    requests = [tokens for _, tokens in open_steps for _ in range(rollouts)]
    owners = [number for number, _ in open_steps for _ in range(rollouts)]
    gone_on = engine.generate(requests, sampling, seed=seed, purpose="step values")
    arrived = [arrives(number, each.tokens[begin[number] :]) for number, each in zip(owners, gone_on, strict=True)]
    shares = iter(np.reshape(arrived, (len(open_steps), rollouts)).mean(1).tolist())
    return [
        np.array([*(next(shares) for _ in ends[number][:-1]), float(arrives(number, answer.tokens[begin[number] :]))])
        for number, answer in enumerate(answers)
    ]
