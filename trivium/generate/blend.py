"""One speaker made of several models: at each token what they say is put together, and one word is drawn from it.

Weights 1 - c and c of the logits are the geometric mixture of two models (Munos et al. 2023, arXiv:2312.00886, eq. 4: Nash-MD's
opponent); proxy tuning is nn/proxy.py's Contrast. Each model keeps keys and values of its own, so a token costs what it costs in all of
them together.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from trivium.generate.readers import NativeReader, Piece, Reader
from trivium.generate.renderings import Rendered

Blend = Callable[[Sequence[Tensor]], Tensor]  # logits (S, V) of each model, fp32 -> those that are drawn from, which are its own


@dataclass(frozen=True, slots=True)
class WeightedSum:
    """The logits of all, each times its weight. All of them must have the same vocabulary."""

    weights: Sequence[float]

    def __call__(self, logits: Sequence[Tensor]) -> Tensor:
        """The sum, (S, V)."""
        total_SV = self.weights[0] * logits[0]
        for weight, more_SV in zip(self.weights[1:], logits[1:], strict=True):
            total_SV += weight * more_SV
        return total_SV


class BlendedReader:
    """Readers of several models as one. Temperature and what else Sampling says apply to what they say together."""

    def __init__(self, readers: Sequence[Reader], blend: Blend) -> None:
        self._readers, self._blend, self.choose = readers, blend, readers[0].choose
        self.rows, self.capacity = min(each.rows for each in readers), min(each.capacity for each in readers)
        self.piece_tokens, self.how = min(each.piece_tokens for each in readers), f"{readers[0].how}; {len(readers)} models together"
        self._inner = [each.inner if isinstance(each, Rendered) else each for each in readers]
        self._twins = next(filter(self._are_twins, combinations(range(len(readers)), 2)), None)

    def rendered(self, prompts: Sequence[np.ndarray], each: Sequence[Sequence[np.ndarray]]) -> "BlendedReader":
        """The same, of which each model gets these prompts in its own words; of one alone, all get that."""
        readers: list[Reader] = []
        for number, reader in enumerate(self._readers):
            own = [renderings[number] if len(renderings) > 1 else renderings[0] for renderings in each]
            is_same = all(map(np.array_equal, prompts, own))
            readers.append(reader if is_same else Rendered(reader, prompts, own))
        return BlendedReader(readers, self._blend)

    def read(self, pieces: Sequence[Piece]) -> Tensor:
        """See Reader."""
        asked = [each.ready(pieces) if isinstance(each, Rendered) else pieces for each in self._readers]
        said: dict[int, Tensor] = {}
        if self._twins is not None and all(asked[number] for number in self._twins):
            said = dict(zip(self._twins, self._beside(*self._twins, asked), strict=True))
        for number, its in enumerate(asked):
            if its and number not in said:
                said[number] = self._inner[number].read(its).float()
        if any(piece.is_last for piece in pieces):
            return self._blend([said[number] for number in range(len(asked))])
        return said[next(number for number, its in enumerate(asked) if its)] if said else torch.empty(0, 0)

    def _are_twins(self, pair: tuple[int, int]) -> bool:
        first, second = (self._inner[number] for number in pair)
        return isinstance(first, NativeReader) and first.is_twin_of(second)

    def _beside(self, first: int, second: int, asked: Sequence[Sequence[Piece]]) -> tuple[Tensor, Tensor]:
        """What twins say, read in one call."""
        one, other = self._inner[first], self._inner[second]
        assert isinstance(one, NativeReader)
        assert isinstance(other, NativeReader)
        return one.read_beside(other, asked[first], asked[second])

    def begin(self, row: int, end: int, source: int | None = None, shared: int = 0, *, request: int = 0) -> int | None:
        """See Reader. What only some of them share with the source is read again by all."""
        has = []
        for number, reader in enumerate(self._readers):
            found = reader.begin(row, end, source, shared, request=request)
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

    def follow(self) -> None:
        """See Reader."""
        for reader in self._readers:
            reader.follow()
