"""What goes to other processes comes back as it was, to the bit."""

import numpy as np

from trivium.core.types import Example
from trivium.data.wire import columns_from_bytes, columns_to_bytes, examples_from_bytes, examples_to_bytes


def test_examples_come_back_with_columns_and_meta():
    draw = np.random.default_rng(1)
    sent = [
        Example(
            draw.integers(0, 99, size).astype(np.int32), draw.random(size).astype(np.float32),
            {"old_logprobs": draw.standard_normal(size).astype(np.float32)}, {"stopped": bool(size % 2)},
        )
        for size in (3, 1, 7)
    ]  # fmt: skip
    for found, each in zip(examples_from_bytes(examples_to_bytes(sent)), sent, strict=True):
        assert found.meta == each.meta
        assert found.tokens.dtype == each.tokens.dtype
        np.testing.assert_array_equal(found.tokens, each.tokens)
        np.testing.assert_array_equal(found.loss_mask, each.loss_mask)
        np.testing.assert_array_equal(found.columns["old_logprobs"], each.columns["old_logprobs"])


def test_columns_keep_their_type():
    sent = [np.array([0.1, -0.0]), np.array([np.nan]), np.zeros(0)]
    found = columns_from_bytes(columns_to_bytes(sent))
    assert [each.tobytes() for each in found] == [each.tobytes() for each in sent]


def test_nothing_is_something_that_can_be_sent():
    assert examples_from_bytes(examples_to_bytes([])) == []
    assert columns_from_bytes(columns_to_bytes([])) == []
