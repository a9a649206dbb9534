"""The checks of selftest.py for the kernels in C++: with states in float32 on a CPU, where there is a compiler."""

import numpy as np
import torch
from torch import Tensor

from trivium.nn.model import Model
from trivium.nn.native import block
from trivium.nn.native.decoder import Decoder
from trivium.nn.native.library import why_not
from trivium.nn.native.packed import Precision
from trivium.nn.native.training import Products
from trivium.train.selftest import CONFIG, Check, loss_and_gradients, packed_batches, random_pair, relative_error

FLOAT32 = torch.float32


def trained(how: Products) -> float:
    """Loss and gradients of a whole small model on packed rows."""
    found, exact = random_pair(FLOAT32)
    block.use(found.trunk, how)
    batches = packed_batches()
    return relative_error(loss_and_gradients(found, batches), loss_and_gradients(exact, batches))


def spoken(precision: Precision) -> float:
    """Logits of two rows, a prompt and then one token a step."""
    found, exact = random_pair(FLOAT32)
    tokens = np.random.default_rng(2).integers(0, CONFIG.vocab_size, (2, 40))
    decoder = Decoder(found.trunk, rows=2, capacity=64, precision=precision)
    rows, places = np.repeat([0, 1], 30), np.tile(np.arange(30), 2)
    parts: list[Tensor] = [decoder.step(tokens[:, :30].ravel(), rows, places, np.array([29, 59])).clone()]
    parts += [decoder.step(tokens[:, at], np.arange(2), np.full(2, at), np.arange(2)).clone() for at in range(30, 40)]
    return relative_error([torch.stack(parts, dim=1)], [_logits(exact, tokens)[:, 29:]])


def _logits(exact: Model, tokens: np.ndarray) -> Tensor:
    with torch.no_grad():
        return exact.trunk.logits(exact.trunk(torch.from_numpy(tokens), torch.arange(tokens.shape[1]).expand(len(tokens), -1)))


def native_checks() -> list[Check]:
    """What can be checked on this machine; empty where there is no compiler. int8 rounds factors to 1 part in 254, weights' too."""
    if why_not() is not None:
        return []
    return [
        Check("training in C++", lambda device, dtype: trained("float32"), {FLOAT32: 1e-4}),
        Check("training in C++, products in bfloat16", lambda device, dtype: trained("bfloat16"), {FLOAT32: 6e-2}),
        Check("training in int8", lambda device, dtype: trained("int8"), {FLOAT32: 6e-2}),
        Check("sampling in C++", lambda device, dtype: spoken("float32"), {FLOAT32: 1e-4}),
        Check("sampling in bfloat16", lambda device, dtype: spoken("bfloat16"), {FLOAT32: 2e-2}),
        Check("sampling in int8", lambda device, dtype: spoken("int8"), {FLOAT32: 6e-2}),
    ]
