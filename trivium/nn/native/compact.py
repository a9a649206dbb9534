"""A batch as one row of what must be computed: no padding, and what sequences have in common at their beginning only once.

The states of a causal model depend on the tokens before them and on nothing else, so two answers to one prompt, or two conversations
with one system prompt, have the same states there. Numbers are those of the whole batch but for the order of sums; so are slopes, which
add up at the shared positions. Where only log-probs are read, nobody asks for the state of the last token of a sequence.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trivium.core.types import num_common
from trivium.nn.batch import Batch
from trivium.nn.kernels import Sight

LEAST = 16  # tokens in common that are worth a gap in attention


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
        """is_shared: a beginning of LEAST tokens and more that a sequence has in common with the last one that had none is left out, and
        all of one that is the beginning of the one before.
        """
        tokens, position = (x_BL.flatten().numpy() for x_BL in (batch.tokens_BL, batch.position_BL))
        place, kept, sights = np.zeros(len(tokens), np.int64), [], []
        leader, leader_at, used, before = np.empty(0, np.int64), 0, 0, slice(0, 0)
        for last in batch.last_N.tolist():
            first = last - int(position[last])
            sequence = tokens[first : last + (not batch.has_unread_ends or first == last)]
            if is_shared and len(sequence) >= LEAST and num_common(tokens[before], sequence) == len(sequence):
                place[first : first + len(sequence)] = place[before][: len(sequence)]
                continue
            common = num_common(leader, sequence) if is_shared else 0
            if common < LEAST:
                leader, leader_at, common = sequence, used, 0
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
