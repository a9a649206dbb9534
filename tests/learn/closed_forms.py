"""Where preference losses lead on endless Bradley-Terry data, by the formulas of their papers; a loss without a line is in WITHOUT.

One prompt, one token to say, three choices; of two choices whose rewards differ by 1 the better one wins in 73 % of the comparisons.
d is the log-ratio of a choice to the reference, p its log-prob; what a loss leaves alone stays as it was.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from trivium.learn.objectives import Objective
from trivium.learn.objectives.preference import (
    CPL,
    CPO,
    DPO,
    EXO,
    FDPO,
    GPO,
    IPO,
    LDDPO,
    NCA,
    ODPO,
    ORPO,
    RDPO,
    RRHF,
    SPPO,
    WPO,
    RobustDPO,
    SimPO,
    SLiC,
)  # fmt: skip

REFERENCE, REWARD, BETA = np.array([0.5, 0.3, 0.2]), np.array([0.0, 1.0, 2.0]), 0.5
OPTIMUM = [0.0366667118, 0.1625594345, 0.8007738537]  # reference x exp(reward / beta), normalised
UNIFORM = np.ones(3) / 3
WINS = 1 / (1 + np.exp(-1.0))
GAP = 1.5  # of the scores of ODPO's pairs


class Arrival(NamedTuple):
    """Where a loss leads. columns: what the better answer of each pair has, and the worse one."""

    objective: Objective
    optimum: list[float]
    wins: float = WINS
    columns: Any = ({}, {})


def from_margins(one: float, two: float, reference: np.ndarray = REFERENCE) -> list[float]:
    """The policy whose log-ratios differ by these, from 0 to 1 and from 1 to 2."""
    weights = reference * np.exp([0, one, one + two])
    return (weights / weights.sum()).tolist()


def forward_kl_optimum() -> list[float]:
    """beta (e^-r0 - e^-r1) = 1 for each step up; ratios e^r that sum, times the reference, to 1."""
    low, high = 0.0, 50.0  # what is added to the inverse ratio of the best choice
    for _ in range(100):
        middle = (low + high) / 2
        total = (REFERENCE / (middle + np.array([2, 1, 0]) / BETA)).sum()
        low, high = (middle, high) if total > 1 else (low, middle)
    return (REFERENCE / (low + np.array([2, 1, 0]) / BETA)).tolist()


def least(loss: Callable[..., torch.Tensor]) -> list[float]:
    """The policy at which a smooth loss(d better, d worse, p better, p worse) is least on average, where no formula says it outright."""
    better, worse = [1, 0, 2, 1], [0, 1, 1, 2]
    share = torch.tensor([WINS, 1 - WINS] * 2, dtype=torch.float64)
    logits = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS([logits], max_iter=200, tolerance_grad=1e-10, tolerance_change=1e-14, line_search_fn="strong_wolfe")

    def mean() -> torch.Tensor:
        solver.zero_grad()
        p = logits.log_softmax(-1)
        d = p - torch.from_numpy(REFERENCE).log()
        total = (share * loss(d[better], d[worse], p[better], p[worse])).sum()
        total.backward()
        return total

    solver.step(mean)
    return logits.detach().softmax(-1).tolist()


def lost(x: torch.Tensor) -> torch.Tensor:
    """-log sigmoid(x)."""
    return torch.nn.functional.softplus(-x)


def log_odds(p: torch.Tensor) -> torch.Tensor:
    return p - (-p.expm1()).log()


_OFFSET = np.log1p(GAP)
ARRIVALS = {
    "dpo": Arrival(DPO(beta=BETA), OPTIMUM),
    "gpo logistic": Arrival(GPO(beta=BETA, convex="logistic"), OPTIMUM),
    "robust dpo undoes the noise it is told of": Arrival(
        RobustDPO(beta=BETA, label_noise=0.1), OPTIMUM, WINS * 0.9 + (1 - WINS) * 0.1
    ),
    "ipo stops at a share of its target": Arrival(IPO(beta=BETA), from_margins(*[(2 * WINS - 1) / (2 * BETA)] * 2)),
    "gpo squared stops there too": Arrival(GPO(beta=BETA, convex="squared"), from_margins(*[(2 * WINS - 1) / BETA] * 2)),
    "gpo truncated: within 1 it is the same": Arrival(
        GPO(beta=BETA, convex="truncated_squared"), from_margins(*[(2 * WINS - 1) / BETA] * 2)
    ),
    "gpo exponential: half of the log-odds": Arrival(GPO(beta=BETA, convex="exponential"), from_margins(0.5 / BETA, 0.5 / BETA)),
    "gpo savage: a proper loss, like the logistic": Arrival(GPO(beta=BETA, convex="savage"), OPTIMUM),
    "gpo hinge: the margin, however often it wins": Arrival(GPO(beta=BETA), from_margins(1 / BETA, 1 / BETA)),
    "slic: its margin, of the policy alone": Arrival(SLiC(margin=1.0, nll_coef=0.5), from_margins(1, 1, UNIFORM)),
    "exo meets the smoothed label": Arrival(EXO(beta=BETA, label_noise=0.1), from_margins(*[np.log(9) / BETA] * 2), 1.0),
    "cpo has a uniform reference": Arrival(CPO(beta=BETA, nll_coef=0), from_margins(2, 2, UNIFORM)),
    "simpo too": Arrival(SimPO(beta=BETA, gamma=0), from_margins(2, 2, UNIFORM)),
    "cpl without a bias too": Arrival(CPL(alpha=BETA, bias=1.0), from_margins(2, 2, UNIFORM)),
    "r-dpo on equal lengths": Arrival(RDPO(beta=BETA), OPTIMUM),
    "ld-dpo on equal lengths": Arrival(LDDPO(beta=BETA), OPTIMUM),
    "wpo weighs a pair in either order alike": Arrival(WPO(beta=BETA), OPTIMUM),
    "f-dpo with the forward kl": Arrival(FDPO(beta=BETA, divergence="forward_kl"), forward_kl_optimum()),
    "f-dpo js": Arrival(
        FDPO(beta=BETA, divergence="js"), least(lambda d, e, *_: lost(BETA * (torch.log(d.sigmoid()) - torch.log(e.sigmoid()))))
    ),
    "f-dpo alpha .3": Arrival(
        FDPO(beta=BETA, divergence="alpha", alpha=0.3), least(lambda d, e, *_: lost(BETA * ((-0.3 * e).exp() - (-0.3 * d).exp()) / 0.3))
    ),
    "nca": Arrival(NCA(beta=BETA), least(lambda d, e, *_: lost(BETA * d) + 0.5 * lost(-BETA * d) + 0.5 * lost(-BETA * e))),
    "sppo": Arrival(SPPO(beta=BETA), least(lambda d, e, *_: (d - 0.5 / BETA) ** 2 + (e + 0.5 / BETA) ** 2)),
    "odpo": Arrival(
        ODPO(beta=BETA), least(lambda d, e, *_: lost(BETA * (d - e) - _OFFSET)), columns=({"score": GAP}, {"score": 0.0})
    ),
    "orpo": Arrival(ORPO(odds_coef=1.0), least(lambda d, e, p, q: -p + lost(log_odds(p) - log_odds(q)))),
    "rrhf: the shares of the best, and the last two meet": Arrival(
        RRHF(), [1 - WINS, WINS / 2, WINS / 2], columns=({"rank": 0.0}, {"rank": 1.0})
    ),
}  # fmt: skip

# kinds that are not trained to an optimum by any test, and why
WITHOUT = {
    "apo": "none: a sigmoid of each log-ratio is linear in the shares of wins, so that it leads to a corner",
    "discopop": "none: it is not convex",
    "kto": "none: a sigmoid of each log-ratio is linear in the shares of the labels, so that it leads to a corner",
}
