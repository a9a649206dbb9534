"""How well a router foresees who wins on prompts that it has not seen, how sure it may be, and whether the prompt helped at all."""

from dataclasses import dataclass

import numpy as np

from trivium.report.intervals import clustered_mean_interval
from trivium.score.calibration import Bin, calibrate, calibration_error
from trivium.score.ranking.leaderboard import share_right
from trivium.score.ranking.table import MatchTable
from trivium.score.ranking.ties import half, sigmoid
from trivium.score.routing.routers.lesson import gaps


@dataclass(frozen=True, slots=True)
class Prediction:
    """On held-out matches, with 95 % intervals by prompts. accuracy: of those with a winner; log_loss: nats, draws count half.

    gain: by how many nats the log-loss is below that of plain Bradley-Terry. calibration: from 1/2 to 1, of the model put ahead.
    """

    accuracy: tuple[float, float, float]
    log_loss: tuple[float, float, float]
    gain: tuple[float, float, float]
    calibration_error: float
    calibration: tuple[Bin, ...]
    matches: int
    prompts: int

    @property
    def beats_plain(self) -> bool:
        """Whether the prompt helped for sure: the interval of the gain lies above 0."""
        return self.gain[1] > 0


def predicted(test: MatchTable, strength_PM: np.ndarray, plain_PM: np.ndarray) -> Prediction:
    """Measure strengths on prompts (P, M) on held-out matches. plain: those of Bradley-Terry without the prompt."""
    gap_N, score_N, prompt_N = gaps(test, strength_PM), test.score_N, test.prompt_N
    loss_N, plain_N = -half(gap_N, score_N).value, -half(gaps(test, plain_PM), score_N).value
    decided = score_N != 0.5
    nothing = (float("nan"),) * 3
    accuracy = share_right(gap_N[decided], test.where(decided)) if decided.any() else nothing
    ahead_N = np.where(gap_N >= 0, score_N, 1 - score_N)  # what became of the model that was put ahead
    bins = calibrate(sigmoid(np.abs(gap_N)).tolist(), ahead_N.tolist(), prompt_N.tolist(), lowest=0.5)
    return Prediction(
        accuracy, clustered_mean_interval(loss_N, prompt_N), clustered_mean_interval(plain_N - loss_N, prompt_N),
        calibration_error(bins), tuple(bins), len(score_N), len(np.unique(prompt_N)),
    )  # fmt: skip


def verdict(kind: str, found: Prediction) -> str:
    """Whether a predictor that was named before beats plain Bradley-Terry on held-out prompts, in a sentence."""
    gain, low, high = found.gain
    measured = f"by {abs(gain):.4f} nats a match, 95 % interval of the gain {low:+.4f} to {high:+.4f} (accuracy {found.accuracy[0]:.1%})"
    if found.beats_plain:
        return f"'{kind}' foresees who wins on held-out prompts better than plain Bradley-Terry, {measured}."
    return f"'{kind}' does not beat plain Bradley-Terry on held-out prompts: it is {'better' if gain > 0 else 'worse'} {measured}."


def quality_of(table: MatchTable) -> np.ndarray:
    """What the answer of each model was worth on each prompt, (P, M): its value, else its mean score; nan if it was not measured there."""
    total, count = (np.zeros((table.num_prompts, table.num_models)) for _ in range(2))
    score_N2 = np.stack([table.score_N, 1 - table.score_N], axis=1)
    worth_N2 = table.values_N2 if np.isfinite(table.values_N2).all() else score_N2
    for side, model_N in enumerate((table.first_N, table.second_N)):
        np.add.at(total, (table.prompt_N, model_N), worth_N2[:, side])
        np.add.at(count, (table.prompt_N, model_N), 1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
