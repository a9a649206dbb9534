"""The terms of a step and of memory by hand."""

from dataclasses import replace

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
    assert taken(shard=8, replicate=8, accumulate=4).shared_bytes == pytest.approx(4 * 8 * N * 7 / 8 + 8 * N / 8)  # copies: once
    assert taken(shard=1).shared_bytes == 0


def test_accumulation_saves_nothing_of_what_is_sharded():
    """The trainer reduces with every micro-batch (tests/train/test_mesh.py): a whole gradient would be 4 bytes a weight on each rank."""
    assert taken(shard=64, accumulate=4).shared_bytes == pytest.approx(4 * (4 + 4) * N * 63 / 64)


def test_the_arithmetic_of_full_recomputation_is_a_forward_pass_of_the_matrices_more():
    plain, again = taken(shard=8), taken(shard=8, recompute="full")
    assert again.compute - plain.compute == pytest.approx(8192 * 2 * LLAMA_8B.multiplied / (0.4 * 989e12))


def test_tensor_ranks_share_layers_and_each_computes_the_head():
    head = 6 * LLAMA_8B.vocab_size * LLAMA_8B.hidden_size
    work = LLAMA_8B.flops_per_token(8192, is_causal=False)
    ours, theirs = taken(tensor=8), taken(tensor=8, is_ours=False)
    assert ours.compute == pytest.approx(8192 * ((work - head) / 8 + head) / (0.4 * 989e12))
    assert theirs.compute == pytest.approx(8192 * work / 8 / (0.4 * 989e12))


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
    one, four = (memory(LLAMA_8B, Layout(shard=8 // t, tensor=t, seq_len=8192, is_ours=False)) for t in (1, 4))
    assert one.states == four.states
    assert one.activations == pytest.approx(4 * four.activations)
    assert one.logits == pytest.approx(4 * four.logits)


# of 8B: 4,096 wide, 1,024 of keys, 14,336 in the MLP; queries are as wide as the stream
@pytest.mark.parametrize(
    ("recompute", "tensor", "numbers"),
    [
        ("none", 1, 4 * 4096 + 2 * 4096 + 2 * 1024 + 3 * 14336),
        ("none", 8, 4 * 4096 + (2 * 4096 + 2 * 1024 + 3 * 14336) / 8),
        ("selective", 1, 3 * 4096 + 2 * 4096 + 2 * 1024 + 2 * 14336),
        ("selective", 8, 3 * 4096 + (2 * 4096 + 2 * 1024 + 2 * 14336) / 8),
        ("full", 1, 4096), ("full", 8, 4096),
    ],
)  # fmt: skip
def test_a_token_keeps_in_each_layer_what_docs_parallelism_says(recompute, tensor, numbers):
    """The difference that a layer makes, so without what is computed again of the one at hand."""
    layout = Layout(shard=8, tensor=tensor, seq_len=8192, recompute=recompute)
    more = replace(LLAMA_8B, num_layers=LLAMA_8B.num_layers + 1)
    found = memory(more, layout).activations - memory(LLAMA_8B, layout).activations
    assert found == pytest.approx(2 * numbers * 8192)


def test_weights_that_are_sampled_from_are_whole_on_every_rank_which_no_number_of_them_makes_smaller():
    """70B is 282 GB in fp32: while it learns nobody samples from it. Without sampling it is never whole (train/spread.py)."""
    [few, many] = (memory(LLAMA_70B, Layout(shard=shard, tensor=8, recompute="full"), wholes=1) for shard in (1, 512))
    assert few.whole == many.whole == 4 * LLAMA_70B.parameters
    assert many.total == many.states + 4 * LLAMA_70B.parameters
    alone = memory(LLAMA_70B, Layout(shard=512, tensor=8, recompute="full"))
    assert (alone.whole, alone.total) == (0, alone.states + alone.learning)
    eight = memory(LLAMA_8B, Layout(shard=8), wholes=1)
    assert eight.total == eight.states + max(eight.whole, 1.15 * (eight.gathered + eight.activations + eight.logits))
    lora = memory(LLAMA_8B, Layout(shard=8), trained=1000, wholes=1)
    assert (lora.whole, lora.beside) == (4000, 4 * (LLAMA_8B.parameters - 1000))  # what is frozen stays where it is read
    assert memory(LLAMA_8B, Layout(), wholes=1).whole == 0  # one process trains the model that is read
    assert memory(LLAMA_8B, Layout(shard=8, is_ours=False), wholes=1).whole == 0


def test_embedding_and_head_are_gathered_in_fp32_and_shared_by_no_tensor_ranks():
    layers, rest = 32 * LLAMA_8B.layer_parameters, 2 * 128_256 * 4096 + 4096
    assert LLAMA_8B.parameters == layers + rest
    found = memory(LLAMA_8B, Layout(shard=2, tensor=4))
    assert found.states == 16 * (layers / 4 + rest) / 2
    assert found.gathered == 10 * LLAMA_8B.layer_parameters / 4 + 8 * rest


def test_a_critic_doubles_the_states_and_a_reference_is_whole_on_every_rank():
    layout = Layout(shard=8)
    one, two = memory(LLAMA_8B, layout, wholes=1), memory(LLAMA_8B, layout, copies=2, wholes=2, read_only=1)
    assert two.states == 2 * one.states == 2 * 16 * N / 8
    assert two.whole == 2 * one.whole == 8 * N
    assert two.beside == 4 * N
    assert memory(LLAMA_8B, layout, read_apart=1).beside == 4 * N / 8


def test_logits_of_a_chunk_are_all_there_is_of_them():
    assert memory(LLAMA_8B, Layout(seq_len=8192, head_tokens=512)).logits == 10 * 128_256 * 512
    assert memory(LLAMA_8B, Layout(seq_len=256, head_tokens=512)).logits == 10 * 128_256 * 256
    assert memory(LLAMA_8B, Layout(seq_len=256)).logits == 10 * 128_256 * 256
