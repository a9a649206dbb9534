"""What else an update learns beside what it is for: text of pre-training (PPO-ptx), or demonstrations."""

from dataclasses import dataclass

from trivium.data.pack import pack
from trivium.data.sources import Source
from trivium.learn.objectives import Objective
from trivium.nn.batch import Batch
from trivium.train.parallel import own_shares


@dataclass(frozen=True, slots=True)
class Beside:
    """The groups that `source` gives for step n, by an objective of their own, whose loss counts `coef` times.

    Each of the two losses is divided by its own counts, so coef does not depend on how much there is of either. rows, length: of a
    micro-batch. name: prefix of its metrics.
    """

    name: str
    source: Source
    objective: Objective
    coef: float
    rows: int
    length: int

    def batches(self, step: int, shares: int = 1) -> tuple[list[Batch], list[int]]:
        """The micro-batches of step n, with several ranks those of this one; and how many are in each of so many parts."""
        parts = [pack(groups, rows=self.rows, length=self.length) for groups in own_shares(self.source(step), shares)]
        return [batch for part in parts for batch in part], [len(part) for part in parts]
