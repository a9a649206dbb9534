"""Loss as a function of parameters and tokens, and what is best for a budget. Fits of its constants: studies/scaling_law.py."""

from dataclasses import dataclass

import numpy as np

FLOPS_PER = 6  # of a parameter and a token: C = 6 N D


@dataclass(frozen=True, slots=True)
class Law:
    """L(N, D) = E + A / N^a + B / D^b, in the unit of the losses it was fitted to; N parameters, D tokens."""

    E: float  # noqa: N815
    A: float
    B: float
    a: float
    b: float

    def __call__(self, N: np.ndarray | float, D: np.ndarray | float) -> np.ndarray:
        """The loss, of the shape of N and D."""
        return self.E + self.A * np.asarray(N, np.float64) ** -self.a + self.B * np.asarray(D, np.float64) ** -self.b

    def optimum(self, flops: float) -> tuple[float, float]:
        """Parameters and tokens of the lowest loss for so many FLOPs, C = 6 N D (Hoffmann et al. 2022, eq. 4)."""
        both, each = self.a + self.b, flops / FLOPS_PER
        ratio = (self.a * self.A / (self.b * self.B)) ** (1 / both)
        return ratio * each ** (self.b / both), each ** (self.a / both) / ratio


# Hoffmann et al. 2022, section 3.3, rounded as printed: they contradict the paper's own 20 tokens a parameter (93 at Gopher's budget).
PUBLISHED = Law(E=1.69, A=406.4, B=410.7, a=0.34, b=0.28)
# Besiroglu et al. 2024, arXiv:2404.10102: the same runs fitted again, with 18 tokens a parameter there. What we use where we must choose.
REFITTED = Law(E=1.8172, A=482.01, B=2085.43, a=0.3478, b=0.3658)
