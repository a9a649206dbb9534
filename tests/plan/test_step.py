"""The terms of a step and of memory by hand."""

import pytest

from tests.plan.shapes import LLAMA_8B, LLAMA_70B
from trivium.plan.devices import Cluster, device
from trivium.plan.memory import Layout, memory
from trivium.plan.step import step

N = LLAMA_8B.parameters
H100 = device("h100")


def taken(*, accumulate=1, shape=LLAMA_8B, **layout):
    layout = Layout(seq_len=8192, **layout)
    return step(shape, layout, Cluster(H100, layout.gpus), share=0.4, accumulate=accumulate)


def test_a_gpu_moves_eight_bytes_a_weight_and_eight_a_shard_more_with_replicas():
    assert taken(shard=64).shared_bytes == pytest.approx(8 * N * 63 / 64)
    assert taken(shard=8, replicate=8).shared_bytes == pytest.approx(8 * N * 7 / 8 + 8 * N / 8)
    assert taken(shard=1).shared_bytes == 0


def test_accumulation_saves_the_reduction_but_not_the_gathers():
    assert taken(shard=64, accumulate=4).shared_bytes == pytest.approx((4 * 4 + 4) * N * 63 / 64)


def test_the_arithmetic_of_full_recomputation_is_a_forward_pass_of_the_matrices_more():
    plain, again = taken(shard=8), taken(shard=8, recompute="full")
    assert again.compute - plain.compute == pytest.approx(8192 * 2 * LLAMA_8B.multiplied / (0.4 * 989e12))


def test_tensor_ranks_pay_four_all_reduces_a_layer():
    bytes_moved = 80 * 4 * 2 * 8192 * 8192 * 2 * 7 / 8
    assert taken(shape=LLAMA_70B, tensor=8).tensor == pytest.approx(bytes_moved / 300e9, rel=0.1)  # and the latency of 640 calls
    assert taken(shard=8).tensor == 0


def test_context_ranks_share_rows_and_gather_keys():
    found = taken(shard=1, context=8, rows=1)
    assert found.compute == pytest.approx(taken(shard=1).compute / 8, rel=1e-6)
    assert found.context == pytest.approx(32 * 3 * 4 * 1024 * 8192 * 7 / 8 / 300e9)


def test_a_token_keeps_131_kilobytes_of_keys_and_values():
    assert LLAMA_8B.kv_bytes == 131_072


def test_memory_falls_with_shards_tensor_ranks_and_recomputation():
    found = [memory(LLAMA_8B, Layout(shard=8, seq_len=8192, recompute=kept)).activations for kept in ("none", "selective", "full")]
    assert found[0] > found[1] > found[2]
    one, four = (memory(LLAMA_8B, Layout(shard=8 // t, tensor=t, seq_len=8192)) for t in (1, 4))
    assert one.states == four.states
    assert one.activations == pytest.approx(4 * four.activations)
    assert one.logits == pytest.approx(4 * four.logits)


def test_a_critic_doubles_the_states_and_a_reference_adds_two_bytes_a_weight():
    layout = Layout(shard=8)
    one, two = memory(LLAMA_8B, layout), memory(LLAMA_8B, layout, copies=2, read_only=1)
    assert two.states == 2 * one.states == 2 * 16 * N / 8
    assert two.beside == 2 * N / 8


def test_logits_of_a_chunk_are_all_there_is_of_them():
    assert memory(LLAMA_8B, Layout(seq_len=8192, head_tokens=512)).logits == 10 * 128_256 * 512
    assert memory(LLAMA_8B, Layout(seq_len=256, head_tokens=512)).logits == 10 * 128_256 * 256
    assert memory(LLAMA_8B, Layout(seq_len=256)).logits == 10 * 128_256 * 256
