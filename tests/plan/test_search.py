"""The layout that is chosen: it fits, nothing that fits is faster, and a plan that cannot be says what can."""

import re

import pytest

from tests.plan.shapes import LLAMA_8B, LLAMA_70B
from trivium.core.errors import ConfigError
from trivium.nn.config import ModelConfig
from trivium.plan.devices import Cluster, device
from trivium.plan.launch import launch_lines, options_of
from trivium.plan.memory import Layout
from trivium.plan.search import Training, best, choices
from trivium.stages.planning.jobs import shape_of

H100 = device("h100")
BATCH = 4 << 20


def training(shape=LLAMA_8B, *, seq_len=8192, update_tokens=BATCH, **options):
    return Training(shape, seq_len, update_tokens, head_tokens=512, **options)


@pytest.mark.parametrize(("gpus", "kind"), [(8, "h100"), (64, "h100"), (512, "h100"), (64, "b200")])
def test_the_choice_fits_uses_all_gpus_and_nothing_that_fits_is_faster(gpus, kind):
    cluster = Cluster(device(kind), gpus)
    chosen = best(training(), cluster)
    assert chosen.fits
    assert chosen.layout.gpus == gpus
    assert chosen.step.tokens == BATCH
    assert chosen.step.tokens_per_s == max(each.step.tokens_per_s for each in choices(training(), cluster) if each.fits)


@pytest.mark.parametrize(("rows", "micro_batches"), [(8, 1), (9, 2), (10, 2), (16, 2), (17, 3)])
def test_ranks_with_a_row_more_than_others_make_all_wait(rows, micro_batches):
    """Each rank runs as many micro-batches as the one with the most (train/parallel.py); the tokens are those of the update."""
    found = [each for each in choices(training(update_tokens=rows * 8192), Cluster(H100, 8)) if each.layout.rows == each.layout.tensor == 1]
    assert {each.step.accumulate for each in found} == {micro_batches}
    assert {each.step.tokens for each in found} == {rows * 8192}


def test_twice_the_gpus_are_nearly_twice_as_fast():
    few, many = (best(training(), Cluster(H100, gpus)).step.tokens_per_s for gpus in (64, 128))
    assert 1.9 < many / few <= 2.001


def test_a_slow_network_is_seen_and_answered():
    fast, slow = (best(training(), Cluster(H100, 64, bits)) for bits in (400e9, 10e9))
    assert fast.step.is_hidden
    assert slow.step.tokens_per_s <= fast.step.tokens_per_s
    assert slow.step.shared_bytes <= fast.step.shared_bytes


def test_adapters_need_less_memory_than_all_weights():
    layout = Layout(shard=8, seq_len=2048)
    assert training(trained=10_000_000).memory(layout).states < 0.3 * training().memory(layout).states


@pytest.mark.parametrize(
    ("options", "expected"), [({}, {1, 2}), ({"qk_norm_over": "width"}, {1}), ({"trained": 10_000}, {1}), ({"is_fp8": True}, {1})]
)
def test_no_layout_is_planned_that_training_would_refuse(options, expected):
    """Two heads for keys can be shared by two ranks, not by four; adapters and products in fp8 by none (nn/tensor_parallel.py)."""
    config = ModelConfig(
        vocab_size=1024, hidden_size=512, num_layers=2, num_heads=8, num_kv_heads=2, head_dim=64, intermediate_size=2048,
        has_qk_norm=True, qk_norm_over=options.pop("qk_norm_over", "head"),
    )  # fmt: skip
    found = choices(training(shape_of(config), **options), Cluster(H100, 8))
    assert {each.layout.tensor for each in found} == expected


def test_a_small_update_leaves_gpus_without_work():
    def busy(rows: int) -> set[int]:
        found = choices(training(seq_len=128, update_tokens=rows * 128), Cluster(H100, 64))
        return {each.cluster.gpus for each in found if each.layout.tensor == each.layout.context == 1}

    assert (busy(16), busy(20), busy(5), busy(64)) == ({16}, {16}, {4}, {64})


def test_what_does_not_fit_says_what_would_and_that_does():
    with pytest.raises(ConfigError, match=r"8\.0B parameters in rows of 8,192 tokens do not fit on 2 x H100: \d+ GiB of 80") as caught:
        best(training(), Cluster(H100, 2))
    ways = re.findall(r"(\d+) x ([A-Z]\w+)", str(caught.value).split("what would fit:")[1])
    assert ways
    for gpus, name in ways:
        assert best(training(), Cluster(device(name), int(gpus))).fits


def test_nothing_fits_a_model_that_no_gpu_has_whole_where_it_is_sampled_from():
    said = "265 GiB of 80 on each in the leanest layout, 263 of them while it has the weights whole; nothing in the table"
    with pytest.raises(ConfigError, match=said):
        best(training(LLAMA_70B, wholes=1), Cluster(H100, 512))
    assert best(training(LLAMA_70B), Cluster(H100, 512)).fits


def test_the_lines_that_start_it_name_the_layout():
    layout = Layout(shard=8, replicate=4, tensor=2, recompute="selective")
    assert options_of(layout) == ["parallel.shard=8", "parallel.tensor=2", "parallel.recompute=cheap"]
    assert options_of(Layout(shard=8)) == []
    by_hand, by_slurm = launch_lines(["run", "my recipe"], Cluster(H100, 64))
    assert by_hand.startswith("torchrun --nnodes 8 --nproc-per-node 8 --rdzv-backend c10d")
    assert "-m trivium.cli run 'my recipe'" in by_hand
    assert by_slurm.startswith("sbatch --nodes 8 --ntasks-per-node 1 --gpus-per-node 8")
    assert "--signal TERM@120" in by_slurm  # torchrun would die of SIGUSR1, its ranks with it
    assert launch_lines(["run", "x"], Cluster(H100, 1)) == ["trivium run x"]
    assert launch_lines(["run", "x"], Cluster(H100, 8))[0] == "torchrun --standalone --nproc-per-node 8 -m trivium.cli run x"
