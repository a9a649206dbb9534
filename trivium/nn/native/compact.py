"""A batch as one row of what must be computed: no padding, and what sequences have in common at their beginning only once.

The states of a causal model depend on the tokens before them and on nothing else, so two answers to one prompt, or two conversations
with one system prompt, have the same states there. Numbers are those of the whole batch but for the order of sums; so are slopes, which
add up at the shared positions. Where only log-probs are read, nobody asks for the state of the last token of a sequence.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trivium.core.types import num_common
from trivium.nn.batch import Batch
from trivium.nn.kernels import Sight

LEAST = 4  # tokens in common that are worth a gap in attention


@dataclass(frozen=True, slots=True)
class Compact:
    """tokens_1U, position_1U: the row. sight: who sees whom in it. place_P: where the state of each of the B * L positions of the batch is;
    padding is given that of some other position. kept_U: which of the positions the row is made of.
    """

    tokens_1U: Tensor
    position_1U: Tensor
    sight: Sight
    place_P: Tensor
    kept_U: Tensor

    @staticmethod
    def of(batch: Batch, *, is_shared: bool) -> "Compact":
        """is_shared: what `taken_over` finds is computed once."""
        tokens, position = (x_BL.flatten().numpy() for x_BL in (batch.tokens_BL, batch.position_BL))
        firsts = [last - int(position[last]) for last in batch.last_N.tolist()]
        ends = [last + (not batch.has_unread_ends or first == last) for first, last in zip(firsts, batch.last_N.tolist(), strict=True)]
        sequences = [tokens[first:end] for first, end in zip(firsts, ends, strict=True)]
        taken = taken_over(sequences) if is_shared else ((0, False) for _ in sequences)
        place, kept, sights = np.zeros(len(tokens), np.int64), [], []
        leader_at, used, before = 0, 0, slice(0, 0)
        for first, sequence, (common, is_inside) in zip(firsts, sequences, taken, strict=True):
            if is_inside:
                place[first : first + common] = place[before][:common]
                continue
            leader_at = leader_at if common else used
            size, before = len(sequence) - common, slice(first, first + len(sequence))
            place[before] = np.concatenate([leader_at + np.arange(common), used + np.arange(size)])
            kept.append(np.arange(first + common, first + len(sequence)))
            sights.append(np.tile((leader_at, leader_at + common, used) if common else (used, 0, 0), (size, 1)))
            used += size
        kept_U = torch.from_numpy(np.concatenate(kept))
        start, skip_from, skip_to = torch.from_numpy(np.concatenate(sights).astype(np.int32).T.copy())[:, None]
        return Compact(
            batch.tokens_BL.flatten()[kept_U][None],
            batch.position_BL.flatten()[kept_U][None],
            Sight(start, skip_from, skip_to),
            torch.from_numpy(place),
            kept_U,
        )

    def kept(self, x_BLD: Tensor) -> Tensor:
        """What the whole batch has at the positions of the row, (1, U, D)."""
        return x_BLD.flatten(0, 1).index_select(0, self.kept_U)[None]

    def spread(self, states_1UD: Tensor, batch: Batch) -> Tensor:
        """The states of the whole batch, (B, L, D)."""
        return states_1UD[0].index_select(0, self.place_P).unflatten(0, batch.tokens_BL.shape)


def taken_over(sequences: Sequence[np.ndarray]) -> Iterator[tuple[int, bool]]:
    """How many tokens of each are those of another one, and whether all of them are the beginning of the one before.

    Otherwise they are what it begins with in common with the leader, the last one that takes nothing over: LEAST tokens and more. One that
    could takes nothing over either if those behind it then take over more than it gives up: items after one description, each with choices.
    """
    leader = before = np.empty(0, np.int64)
    for place, sequence in enumerate(sequences):
        if len(sequence) >= LEAST and num_common(before, sequence) == len(sequence):
            yield len(sequence), True
            continue
        common = num_common(leader, sequence)
        if common < LEAST or _leads(sequences, place, common):
            leader, common = sequence, 0
        before = sequence
        yield common, False


def _leads(sequences: Sequence[np.ndarray], place: int, common: int) -> bool:
    """Whether those that follow have more in common with this one, beyond what all have with the leader, than that."""
    saved = 0
    for other in range(place + 1, len(sequences)):
        longer = num_common(sequences[place], sequences[other])
        if longer <= common:
            break
        saved += longer - common if longer < len(sequences[other]) else 0  # one that is all in it costs nothing anyway
        if saved > common:
            return True
    return False
