"""Any number of models with prices: each prompt goes where the expected worth less lambda times the price is highest.

With two models that is a threshold on how much better the strong one is expected to be (Ong et al. 2024 in the case of two); lambda
from 0 (the best answer, whatever it costs) upwards draws the curve of what quality costs.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from trivium.core.errors import ConfigError
from trivium.score.ranking.ties import sigmoid

POINTS = 41


@dataclass(frozen=True, slots=True)
class Spent:
    """Mean price and mean worth of the answers at one lambda, and the share of prompts that each model got."""

    price_of_cost: float
    cost: float
    quality: float
    shares: tuple[float, ...]


def expected_worth(strength_PM: np.ndarray) -> np.ndarray:
    """For each model the probability of beating another one, the mean over the others; (P, M)."""
    count = strength_PM.shape[1]
    beats_PMM = sigmoid(strength_PM[:, :, None] - strength_PM[:, None, :])
    return (beats_PMM.sum(2) - 0.5) / (count - 1)


def choose(worth_PM: np.ndarray, cost_M: np.ndarray, price_of_cost: float) -> np.ndarray:
    """The model of each prompt, (P,); of equals the cheapest."""
    order = np.argsort(cost_M, kind="stable")
    return order[np.argmax((worth_PM - price_of_cost * cost_M)[:, order], axis=1)]


def cost_curve(expected_PM: np.ndarray, true_PM: np.ndarray, cost_M: np.ndarray) -> list[Spent]:
    """What is spent and what it gives, from lambda 0 to where every prompt goes to the cheapest model."""
    gap_M = cost_M - cost_M.min()
    dearer = gap_M > 0
    if not dearer.any():
        return [_spent(expected_PM, true_PM, cost_M, 0.0)]
    cheapest = int(np.argmin(cost_M))
    needed = (expected_PM[:, dearer] - expected_PM[:, [cheapest]]) / gap_M[dearer]
    edges = np.quantile(needed, np.linspace(0, 1, POINTS))
    lambdas = np.unique(np.maximum([0.0, *edges, float(needed.max()) + 1e-9], 0))
    return [_spent(expected_PM, true_PM, cost_M, value) for value in lambdas.tolist()]


def costs_of(models: tuple[str, ...], costs: Mapping[str, float]) -> np.ndarray:
    """The price of each model, (M,). Raises ConfigError for a model without one, or a name that is none."""
    for name in costs:
        if name not in models:
            raise ConfigError(f"costs: '{name}' is in no match; the models are: {', '.join(models)}")
    missing = [name for name in models if name not in costs]
    if missing:
        raise ConfigError(f"costs has no price for {', '.join(missing)}; give one for every model, or none at all")
    return np.array([float(costs[name]) for name in models])


def _spent(expected_PM: np.ndarray, true_PM: np.ndarray, cost_M: np.ndarray, price_of_cost: float) -> Spent:
    chosen_P = choose(expected_PM, cost_M, price_of_cost)
    got_P = true_PM[np.arange(len(chosen_P)), chosen_P]
    shares = np.bincount(chosen_P, minlength=len(cost_M)) / len(chosen_P)
    return Spent(price_of_cost, float(cost_M[chosen_P].mean()), float(got_P.mean()), tuple(shares.tolist()))
