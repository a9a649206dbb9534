"""A loss of power in the middle of training."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from trivium.core.interrupt import Interrupted
from trivium.train.trainer import Trainer


@contextmanager
def lost_before(update: int) -> Iterator[None]:
    """What is trained inside ends before this update, counted from 0; that it ends there is asserted."""
    step = Trainer.step

    def stopped(self: Trainer, n: int, *batches: Any) -> dict[str, float]:
        if n == update:
            raise Interrupted(15, "power loss")
        return step(self, n, *batches)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Trainer, "step", stopped)
        with pytest.raises(Interrupted):
            yield
