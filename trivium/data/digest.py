"""What a step was trained on, as one short word: anyone with the tokens can compute it again and compare."""

from collections.abc import Sequence

import numpy as np
import xxhash

from trivium.core.types import Group


def digest_of(groups: Sequence[Group]) -> str:
    """xxh3-128 of the token ids of all sequences of a step, one after the other, as little-endian int32; before packing.

    So it does not depend on micro-batches or ranks. It says what was read, not what counted: masks are left out.
    """
    running = xxhash.xxh3_128()
    for group in groups:
        for item in group:
            running.update(np.ascontiguousarray(item.tokens, "<i4").data)
    return running.hexdigest()
