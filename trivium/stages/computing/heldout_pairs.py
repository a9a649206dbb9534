"""What preference training did to pairs that it was not trained on: whether the better answer is more likely, and became so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trivium.core.run import Run
from trivium.core.types import Example, Group
from trivium.nn.model import Model
from trivium.report.intervals import clustered_share_interval, mean_interval
from trivium.stages.base import data_source, result_row
from trivium.stages.computing.models import Speaker
from trivium.stages.computing.preference_groups import pairs_of, ranked_groups
from trivium.text.read import read_preferences
from trivium.train.annotate import column_of, logprobs

if TYPE_CHECKING:
    from trivium.stages.prefer import Prefer


@dataclass(frozen=True, slots=True)
class HeldoutPairs:
    """Pairs, the better answer first, with the log-probs of both under the model before training, (N, 2).

    sizes: how many neighbouring pairs are of one prompt; their outcomes are alike, which the intervals know.
    """

    pairs: Sequence[Group]
    sizes: Sequence[int]
    before_N2: np.ndarray
    rows: int
    length: int

    @staticmethod
    def read(stage: Prefer, speaker: Speaker, run: Run) -> HeldoutPairs:
        """All pairs of the stage's held-out file; costs a forward pass over them. Raises DataError if there is none that fits."""
        source = stage.heldout or ""
        found = ranked_groups(list(read_preferences(data_source(run, source))), speaker, stage.seq_len, run, source=source)
        by_prompt = [pairs for number, (_, group) in enumerate(found) if (pairs := pairs_of(group, 0, run.seed, number))]
        pairs, rows, length = [pair for part in by_prompt for pair in part], stage.micro_batch_rows, stage.seq_len
        return HeldoutPairs(pairs, [len(part) for part in by_prompt], _sums(run, speaker.model, pairs, rows, length), rows, length)

    def measure(self, run: Run, model: Model) -> list[dict[str, Any]]:
        """Rows of results.json, with 95 % intervals, n in pairs; equal numbers count as half.

        implicit_accuracy: how often the log-ratio to the model before training, DPO's implicit reward, is higher for the better answer
        (.5 before by definition). implicit_margin: by how many nats, a mean over prompts. logprob_accuracy: the same of the
        log-probability itself, before and after. longer_wins_accuracy, shorter_wins_accuracy: of length; it knows the better of the two.
        """
        return self.rows_of(_sums(run, model, self.pairs, self.rows, self.length), run.stage)

    def rows_of(self, after_N2: np.ndarray, stage: str) -> list[dict[str, Any]]:
        """The same from the log-probs of the answers after training, (N, 2)."""
        gained_N2 = after_N2 - self.before_N2
        lengths_N2 = np.array([[len(item.tokens) for item in pair] for pair in self.pairs], np.float64)
        shares = {
            "implicit_accuracy": gained_N2,
            "logprob_accuracy_before": self.before_N2,
            "logprob_accuracy": after_N2,
            "longer_wins_accuracy": lengths_N2,
            "shorter_wins_accuracy": -lengths_N2,
        }
        n, ends = len(self.pairs), np.cumsum(self.sizes)[:-1]
        found: dict[str, tuple[float, float | None, float | None]] = {
            name: clustered_share_interval([float(part.sum()) for part in np.split(_wins(values), ends)], self.sizes)
            for name, values in shares.items()
        }
        margins = np.split(gained_N2[:, 0] - gained_N2[:, 1], ends)
        found["implicit_margin"] = mean_interval([float(part.mean()) for part in margins])
        return [result_row(stage, name, interval, n) for name, interval in found.items()]


def _wins(values_N2: np.ndarray) -> np.ndarray:
    return (np.sign(values_N2[:, 0] - values_N2[:, 1]) + 1) / 2


def _sums(run: Run, model: Model, pairs: Sequence[Group], rows: int, length: int) -> np.ndarray:
    """The log-probability of each answer, nats; (N, 2) float64."""
    answers: list[Example] = [item for pair in pairs for item in pair]
    with run.progress(len(answers), "held out") as progress:
        columns = column_of(model, answers, logprobs, rows=rows, length=length, tell=progress.update)
    sums = [float(column[item.loss_mask > 0].sum(dtype=np.float64)) for column, item in zip(columns, answers, strict=True)]
    return np.array(sums).reshape(-1, 2)
