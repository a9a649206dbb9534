"""How likely a model finds each of a few continuations of a prompt."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from trivium.core.types import Example
from trivium.data.pack import pack
from trivium.nn.model import Model


def choice_logprobs(
    model: Model, prompts: Sequence[np.ndarray], options: Sequence[np.ndarray], *, rows: int, length: int
) -> np.ndarray:  # fmt: skip
    """The log-prob in nats of each option, all of its tokens, after each prompt; (N, K) float64. N prompts, K options, token ids each.

    Options that differ in their last token only cost one forward pass over the prompts together.
    """
    found_NK = np.zeros((len(prompts), len(options)))
    alike: dict[bytes, list[int]] = {}
    for place, option in enumerate(options):
        alike.setdefault(np.asarray(option[:-1], np.int32).tobytes(), []).append(place)
    for places in alike.values():
        items = [_continued(prompt, options[places[0]]) for prompt in prompts]
        found_NK[:, places] = _last_tokens(model, items, [int(options[place][-1]) for place in places], rows, length)
    return found_NK


def _last_tokens(model: Model, items: Sequence[Example], tokens: Sequence[int], rows: int, length: int) -> np.ndarray:
    """The log-prob of what counts in each example, with each of these as its last token; (N, number of tokens)."""
    found = []
    with torch.no_grad():
        for batch in pack([(item,) for item in items], rows=rows, length=length):
            there = batch.to(model.device)
            hidden_BLD = model.hidden(there)  # no token is seen by what comes before it, so it is the same for all of them
            columns = []
            for token in tokens:
                ended = there.tokens_BL.flatten().index_fill(0, there.last_N, token).view_as(there.tokens_BL)
                logprobs_BL, _ = model.logprobs(hidden_BLD, replace(there, tokens_BL=ended), 1.0, False)
                columns.append(there.sum(logprobs_BL))
            found.append(torch.stack(columns, dim=1).double().cpu().numpy())
    return np.concatenate(found)


def _continued(prompt: np.ndarray, option: np.ndarray) -> Example:
    mask = np.zeros(len(prompt) + len(option), np.float32)
    mask[len(prompt) :] = 1
    return Example(np.concatenate([prompt, option]).astype(np.int32), mask)
