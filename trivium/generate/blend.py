"""One speaker made of several models: at each token their logits are added, each times its weight.

Weights 1 - c and c are the geometric mixture of two models (Munos et al. 2023, arXiv:2312.00886, eq. 4: Nash-MD's opponent);
1, 1 and -1 are proxy tuning (Liu et al. 2024, arXiv:2401.08565). All of them must have the same vocabulary; each keeps keys and values
of its own, so a token costs what it costs in all of them together.
"""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from trivium.generate.readers import Chosen, Piece, Reader
from trivium.generate.sampling import Sampling, Seen


class BlendedReader:
    """Readers of several models as one. Temperature and what else Sampling says apply to the sum."""

    def __init__(self, readers: Sequence[Reader], weights: Sequence[float]) -> None:
        self._readers, self._weights = readers, weights
        self.rows, self.capacity = min(each.rows for each in readers), min(each.capacity for each in readers)
        self.piece_tokens, self.how = min(each.piece_tokens for each in readers), f"{readers[0].how}; {len(readers)} models together"

    def read(self, pieces: Sequence[Piece]) -> Tensor:
        """See Reader."""
        logits_SV = [reader.read(pieces).float() for reader in self._readers]
        total_SV = self._weights[0] * logits_SV[0]
        for weight, more_SV in zip(self._weights[1:], logits_SV[1:], strict=True):
            total_SV += weight * more_SV
        return total_SV

    def begin(self, row: int, end: int, source: int | None = None, shared: int = 0) -> int | None:
        """See Reader. What only some of them share with the source is read again by all."""
        has = []
        for number, reader in enumerate(self._readers):
            found = reader.begin(row, end, source, shared)
            if found is None:
                for other in self._readers[:number]:
                    other.end(row)
                return None
            has.append(found)
        return min(has)

    def end(self, row: int) -> None:
        """See Reader."""
        for reader in self._readers:
            reader.end(row)

    def renew(self) -> None:
        """See Reader."""
        for reader in self._readers:
            reader.renew()

    def choose(
        self, logits_SV: Tensor, sampling: Sampling, stream: int, request_S: np.ndarray, position_S: np.ndarray, seen: Seen | None
    ) -> Chosen:
        """See Reader."""
        return self._readers[0].choose(logits_SV, sampling, stream, request_S, position_S, seen)
