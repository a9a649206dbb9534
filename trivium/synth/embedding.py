"""A text as one vector of a language model: the mean of its last hidden states."""

from collections.abc import Sequence

import numpy as np
import torch

from trivium.core.types import Example
from trivium.data.pack import pack
from trivium.nn.model import Model


def mean_hidden(model: Model, examples: Sequence[Example], *, rows: int) -> np.ndarray:
    """The mean of the last hidden states over the tokens of each example that count, (N, D) float32; each has such a token.

    Nothing is trained for it, so what is near is what the model goes on from in the same way; an encoder that was trained on pairs of
    texts separates meanings better.
    """
    found = []
    with torch.no_grad():
        for batch in pack([(each,) for each in examples], rows=rows, length=max(len(each.tokens) for each in examples)):
            there = batch.to(model.device)
            place_P = torch.nonzero(there.loss_mask_BL.flatten() > 0).flatten()
            owner_P = there.sequence_BL.flatten()[place_P]
            hidden_PD = model.hidden(there).flatten(0, 1)[place_P].float()
            total_ND = hidden_PD.new_zeros(batch.num_sequences, hidden_PD.shape[1]).index_add(0, owner_P, hidden_PD)
            found.append((total_ND / torch.bincount(owner_P, minlength=batch.num_sequences)[:, None]).cpu().numpy())
    return np.concatenate(found)
