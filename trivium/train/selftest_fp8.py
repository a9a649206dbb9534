"""The check of selftest.py for products in 8-bit floats: in bfloat16, on GPUs that have them."""

import torch

from trivium.nn import fp8
from trivium.train.selftest import Check, loss_and_gradients, packed_batches, random_pair, relative_error


def trained(device: torch.device, dtype: torch.dtype) -> float:
    """Loss and gradients of a whole small model on packed rows."""
    found, exact = random_pair(dtype)
    batches = packed_batches()
    fp8.use(found.trunk, batches[0].tokens_BL.shape[1])
    return relative_error(loss_and_gradients(found.to(device), batches), loss_and_gradients(exact, batches))


# e4m3 rounds to 1 part in 16, e5m2 to 1 in 8, both halved by rounding to nearest; errors of many terms partly cancel
FP8 = Check("training in fp8", trained, {torch.bfloat16: 3e-1})


def fp8_checks(device: torch.device) -> list[Check]:
    """What can be checked on this device."""
    return [FP8] if fp8.why_not_fp8(device) is None else []
