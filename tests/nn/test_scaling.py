"""The rules against numbers that one can check on paper, and against the two runs that they are anchored in."""

import pytest

from trivium.nn.config import llama
from trivium.nn.flops import num_parameters
from trivium.nn.scaling import (
    LARGE_TOKENS,
    adamw_lr,
    batch_factor,
    batch_for,
    depth_for_flops,
    depth_for_parameters,
    embedding_factor,
    head_dim_of,
    scaled_parameters,
    tokens_for,
    training_flops,
    vocabulary_of,
    width_of,
)  # fmt: skip


def shape(depth):
    return llama(vocab_size=32768, depth=depth, width=width_of(depth), max_seq_len=64, head_dim=head_dim_of(width_of(depth)))


@pytest.mark.parametrize(
    ("depth", "width", "head_dim", "heads"), [(1, 64, 64, 1), (12, 768, 64, 12), (16, 1024, 128, 8), (17, 1152, 128, 9)]
)
def test_a_depth_makes_a_width_and_heads(depth, width, head_dim, heads):
    assert (width_of(depth), head_dim_of(width), shape(depth).num_heads) == (width, head_dim, heads)


def test_a_model_narrower_than_a_head_has_one():
    assert head_dim_of(32) == 32


def test_tokens_are_ten_for_every_number_of_matrices_and_head():
    config = llama(vocab_size=100, depth=1, width=64, max_seq_len=8)
    inner = 192  # 8/3 of the width in multiples of 64
    matrices, head, norms = 4 * 64 * 64 + 3 * 64 * inner, 100 * 64, 3 * 64 + 2 * 64
    assert scaled_parameters(config) == matrices + head + norms
    assert tokens_for(config) == 10 * (matrices + head + norms)


def test_the_large_anchor_is_twelve_tokens_for_each_parameter_of_depth_12():
    assert LARGE_TOKENS == 12 * (12 * 12 * 768**2 + 32768 * 768)


@pytest.mark.parametrize(
    ("tokens", "batch"),
    [
        (550 * 2048, 2048),
        (LARGE_TOKENS, 2**19),
        (LARGE_TOKENS * 2 ** (1 / 0.383), 2**20),
        (LARGE_TOKENS * 8 ** (1 / 0.383), 2**22),
        (5_000, 128),
        (250_000, 2048),
    ],
)
def test_the_batch_is_that_of_both_anchors_and_grows_with_a_power_of_the_horizon(tokens, batch):
    assert batch_for(tokens, seq_len=128) == batch


def test_a_batch_below_the_rule_lowers_the_rates_by_its_root_and_a_larger_one_leaves_them():
    assert [batch_factor(batch, 550 * 2048, 128) for batch in (512, 2048, 8192)] == [0.5, 1.0, 1.0]


def test_rates_fall_with_the_width():
    assert (embedding_factor(256), embedding_factor(1024)) == (1.0, 0.5)
    assert (adamw_lr(768), adamw_lr(1536)) == (6e-4, 3e-4)


def test_the_vocabulary_is_small_while_the_blocks_are():
    assert [vocabulary_of(depth) for depth in (4, 6, 8, 9, 12)] == [4096, 8192, 8192, 32768, 32768]


@pytest.mark.parametrize("depth", [1, 4, 12, 24])
def test_size_and_work_lead_back_to_the_depth(depth):
    assert depth_for_parameters(1.05 * num_parameters(shape(depth)), shape) == depth
    assert depth_for_flops(0.99 * training_flops(shape(depth), 64), shape, 64) == depth
