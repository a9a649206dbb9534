"""Best of n answers by a reward model: where does the true reward of what is chosen turn as n grows?

Gao, Schulman, Hilton 2022, arXiv:2210.10760: with d = sqrt(KL) the gold reward of best-of-n is about d (alpha - beta d), which peaks at
d = alpha / (2 beta) (section 3.1); KL = log n - (n - 1) / n (section 2). Difference: the reward of one answer is fitted too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trivium.report.reading import SELECTION, Record, list_of, number_of, table_of
from trivium.report.svg import Line, line_chart
from trivium.studies.finding import Cell, Figure

FEWEST = 4  # answers to a prompt: three constants are fitted


@dataclass(frozen=True, slots=True)
class Choice:
    """A stage that chose among answers; for each number of them, from 1: KL, the reward model's mean, the true one and its 95 % ends."""

    run: str
    stage: str
    kl_N: np.ndarray
    proxy_N: np.ndarray
    true_N: np.ndarray
    low_N: np.ndarray
    high_N: np.ndarray

    @property
    def turn(self) -> int:
        """Where the true mean is highest."""
        return int(np.argmax(self.true_N))

    @property
    def has_turned(self) -> bool:
        """Whether the interval of the most answers lies below that of the best number of them. The same prompts, so this is careful."""
        return bool(self.high_N[-1] < self.low_N[self.turn])

    @property
    def row(self) -> list[Cell]:
        """As the table of the study has it."""
        alpha, beta, _ = fit(self.kl_N, self.true_N)
        seen = "turned" if self.has_turned else "did not turn"
        at = (0, self.turn, -1)
        return [
            self.run, f"{self.stage}, best of n", len(self.kl_N), float(self.kl_N[self.turn]), turn_kl(alpha, beta), None, None,
            float(self.kl_N[-1]), *(float(self.true_N[place]) for place in at), *(float(self.proxy_N[place]) for place in at[1:]), seen,
        ]  # fmt: skip

    @property
    def told(self) -> str:
        """In words."""
        ends = f"{self.true_N[0]:.3f} of one answer to {self.true_N[-1]:.3f} of the best of {len(self.kl_N)} (KL {self.kl_N[-1]:.1f})"
        return f"{self.run}/{self.stage} goes from a true reward of {ends} and {'turned' if self.has_turned else 'did not turn'}"

    @property
    def figure(self) -> Figure:
        """Both rewards against the KL."""
        title = "best of n, against KL"
        whiskers = list(zip(self.kl_N.tolist(), self.low_N.tolist(), self.high_N.tolist(), strict=True))
        true = Line("true reward", list(zip(self.kl_N.tolist(), self.true_N.tolist(), strict=True)), whiskers=whiskers)
        alpha, beta, first = fit(self.kl_N, self.true_N)
        d = np.sqrt(np.linspace(0, self.kl_N[-1], 100))
        fitted = Line("fit", list(zip((d**2).tolist(), (first + d * (alpha - beta * d)).tolist(), strict=True)))
        return Figure(title, f"{self.run} / {self.stage}", line_chart(title, [true, fitted], x_name="KL to the start, nats"))


def choices_of(record: Record) -> list[Choice]:
    """The stages of a run that chose among FEWEST answers or more, and knew the true reward."""
    found = []
    for stage, selection in record.left[SELECTION].items():
        proxy, true = ([table_of(point) for point in list_of(selection.get(name))] for name in ("curve", "true_curve"))
        if len(true) >= FEWEST and len(proxy) == len(true):
            columns = [[number_of(point.get(name)) for point in true] for name in ("kl", "value", "low", "high")]
            kl_N, true_N, low_N, high_N = (np.array(column, np.float64) for column in columns)
            proxy_N = np.array([number_of(point.get("value")) for point in proxy], np.float64)
            if np.isfinite(np.stack([kl_N, proxy_N, true_N, low_N, high_N])).all():
                found.append(Choice(record.name, stage, kl_N, proxy_N, true_N, low_N, high_N))
    return found


def fit(kl_N: np.ndarray, true_N: np.ndarray) -> tuple[float, float, float]:
    """(alpha, beta, first) of reward = first + d (alpha - beta d), d = sqrt(KL), by least squares."""
    d = np.sqrt(kl_N)
    found, *_ = np.linalg.lstsq(np.stack([d, -(d**2), np.ones_like(d)], axis=1), true_N, rcond=None)
    alpha, beta, first = found.tolist()
    return alpha, beta, first


def turn_kl(alpha: float, beta: float) -> float:
    """The KL at which d (alpha - beta d) is highest, (alpha / (2 beta))^2; infinite where it has no maximum."""
    return max(0.0, alpha / (2 * beta)) ** 2 if beta > 0 else float("inf")


def told(choices: Sequence[Choice]) -> str:
    """All of them in words; nothing where there are none."""
    return f" Choosing the best of n: {'; '.join(choice.told for choice in choices)}." if choices else ""
