"""How ranks are cut, by hand; and what wrapping a model does on a cluster that is only pretended: rank 0 of 64, whose peers say nothing."""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode

from tests.nn.tiny import tiny_model
from trivium.core.errors import ConfigError
from trivium.core.types import example
from trivium.data.pack import pack
from trivium.learn.objectives import CrossEntropy
from trivium.learn.objectives.preference import TDPO
from trivium.learn.optim import AdamW
from trivium.learn.reduce import Counts
from trivium.learn.schedules import Schedule
from trivium.nn.adapter import adapt, frozen_reference
from trivium.nn.batch import Batch
from trivium.nn.lora import LoRA
from trivium.nn.model import Model
from trivium.nn.preset import preset
from trivium.nn.tensor_parallel import why_not_spread
from trivium.plan.memory import Layout, memory
from trivium.stages.planning.jobs import shape_of
from trivium.stages.recipe import single
from trivium.train import spread as spread_module
from trivium.train.mesh import Parallel, Sizes, arranged
from trivium.train.parallel import data_rank
from trivium.train.trainer import Trainer

LAYERS = 6  # of pythia-14m


@contextmanager
def pretended(ranks: int, parallel: Parallel) -> Iterator[None]:
    """A process that is rank 0 of so many; collectives return at once, with whatever lies in memory."""
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=ranks)
    try:
        with arranged(parallel):
            yield
    finally:
        dist.destroy_process_group()


def pythia_trainer() -> Trainer:
    model = Model(preset("pythia-14m"))
    return Trainer("policy", model, CrossEntropy(), AdamW()(model), schedule=Schedule(), steps=1)


def batch(length: int = 16) -> Batch:
    [found] = pack([(example([*range(1, length)]),)], rows=1, length=length)
    return found


class Collectives(TorchDispatchMode):
    """How often each kind runs. (torch's CommDebugMode loses its place when a module runs again.)"""

    KINDS = {
        "allgather": "gather",
        "all_gather": "gather",
        "reduce_scatter": "reduce-scatter",
        "allreduce": "all-reduce",
        "all_reduce": "all-reduce",
    }

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, int] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # noqa: ANN001, ANN204
        if DTensor in types:
            return NotImplemented  # its own operations come by afterwards
        if "c10d" in func.namespace:
            for name, kind in self.KINDS.items():
                if name in func.name():
                    self.seen[kind] = self.seen.get(kind, 0) + 1
        return func(*args, **(kwargs or {}))


def pass_once(trainer: Trainer) -> None:
    loss, _ = trainer.loss(batch(), Counts.of([batch()]))
    loss.backward()


def collectives(trainer: Trainer, work: Callable[[Trainer], object] = pass_once) -> dict[str, int]:
    """How often each kind runs, in one forward and backward pass or in other work."""
    with Collectives() as collectives:
        work(trainer)
    return collectives.seen


@pytest.mark.parametrize(
    ("parallel", "ranks", "expected"),
    [
        (Parallel(), 1, Sizes()),
        (Parallel(), 64, Sizes(shard=64)),
        (Parallel(shard=8), 64, Sizes(replicate=8, shard=8)),
        (Parallel(tensor=8), 64, Sizes(shard=8, tensor=8)),
        (Parallel(shard=2, context=2, tensor=8), 64, Sizes(replicate=2, shard=2, context=2, tensor=8)),
    ],
)
def test_ranks_are_cut_into_what_shares(parallel, ranks, expected):
    assert parallel.sizes(ranks) == expected


def test_ranks_that_share_rows_or_layers_read_the_same_data():
    found = Parallel(shard=2, context=2, tensor=2).sizes(16)
    assert [found.data_rank(rank) for rank in range(16)] == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3]
    with pretended(16, Parallel(shard=2, context=2, tensor=2)):
        assert data_rank() == (0, 4)


@pytest.mark.parametrize(
    ("parallel", "words"),
    [
        (Parallel(shard=3), "8 ranks cannot be cut into shard=3 x context=1 x tensor=1; 3 must divide their number"),
        (Parallel(tensor=3), "8 ranks cannot be cut into shard=all x context=1 x tensor=3; 3 must divide their number"),
        (Parallel(context=16), "8 ranks cannot be cut into shard=all x context=16 x tensor=1; 16 must divide their number"),
    ],
)
def test_a_cut_that_does_not_come_out_even_is_refused(parallel, words):
    with pytest.raises(ConfigError, match=words):
        parallel.sizes(8)


def test_one_process_alone_does_not_pretend_to_be_two():
    with arranged(Parallel(context=2)), pytest.raises(ConfigError, match="1 ranks cannot be cut"):
        pythia_trainer()


def test_a_recipe_says_how_the_work_is_spread():
    recipe = single("pretrain", {"tokens": "x", "parallel": {"shard": 8, "recompute": "all"}})
    assert recipe.parallel == Parallel(shard=8, recompute="all")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_heads": 3, "num_kv_heads": 3}, "3 heads"),
        ({}, "1 kv heads"),
        ({"num_kv_heads": 2, "intermediate_size": 13}, "13 columns in its MLP"),
        ({"num_kv_heads": 2, "qk_norm_over": "width"}, "norms all heads together"),
        ({"num_kv_heads": 2, "has_value_embeddings": True}, "value embeddings"),
    ],
)
def test_layers_that_cannot_be_shared_are_refused(options, words):
    assert words in str(why_not_spread(tiny_model(**options).trunk, 2))


def test_64_ranks_in_8_copies_gather_and_sum_as_often_as_they_should():
    with pretended(64, Parallel(shard=8)):
        trainer = pythia_trainer()
        assert collectives(trainer) == {"gather": 2 * LAYERS + 1, "reduce-scatter": LAYERS + 1, "all-reduce": LAYERS + 1}
        weights = dict(trainer.model.named_parameters())
        assert {weight.device_mesh.shape for weight in weights.values()} == {(8, 8)}
        assert {tuple(map(str, weight.placements)) for weight in weights.values()} == {("R", "S(0)")}
        assert weights["trunk.blocks.0.mlp.up.weight"].to_local().shape == (64, 128)  # an eighth of 512


def test_copies_sum_their_gradients_once_a_step():
    with pretended(64, Parallel(shard=8)):
        trainer = pythia_trainer()
        once = collectives(trainer, lambda trainer: trainer.gradients([batch()]))
        thrice = collectives(trainer, lambda trainer: trainer.gradients([batch()] * 3))
    assert thrice["all-reduce"] == once["all-reduce"]
    assert thrice["reduce-scatter"] == 3 * once["reduce-scatter"] == 3 * (LAYERS + 1)


def test_64_ranks_that_share_everything():
    """Forward and backward a block: twice a sum of what layers add to the stream, and once keys and values of the row and their slopes."""
    with pretended(64, Parallel(shard=4, context=2, tensor=2)):
        trainer = pythia_trainer()
        found = collectives(trainer)
        block = trainer.model.trunk.blocks[0]
        assert block.attention.query.weight.to_local().shape == (8, 128)  # 128 by 2 in layers, by 4 x 2 in weights
        assert block.attention_norm.weight.to_local().shape == (16,)
        assert isinstance(block.mlp.down.weight, DTensor)
        assert {group["params"][0].device_mesh.ndim for group in trainer.optimizers[0].param_groups} == {2, 3}
    weights = 2 * LAYERS + 1
    assert found == {"gather": weights + LAYERS + 1, "reduce-scatter": 2 * LAYERS + 1, "all-reduce": LAYERS + 1 + 4 * LAYERS}


@pytest.mark.parametrize("parallel", [Parallel(), Parallel(shard=8), Parallel(tensor=2), Parallel(shard=4, context=2, tensor=2)])
def test_a_rank_holds_what_the_plan_counts(parallel):
    """Its part of the weights, with gradients and moments as large, and all of them while they are sampled from; what tensor ranks do not
    share is whole.
    """
    cut = parallel.sizes(64)
    with pretended(64, parallel):
        trainer = pythia_trainer()
        held = sum(weight.to_local().numel() for weight in trainer.model.parameters())
        whole = sum(weight.numel() for weight in trainer.whole.parameters())
    layout = Layout(shard=cut.shard, replicate=cut.replicate, tensor=cut.tensor, context=cut.context)
    found = memory(shape_of(preset("pythia-14m")), layout, wholes=1)
    assert found.states == pytest.approx(16 * held, rel=0.02)  # norms and some biases are not shared by tensor ranks either
    assert found.whole == 4 * whole


def held_by(model: Model) -> int:
    """Bytes of the weights, in memory that is counted once if they share it."""
    storages = {weight.untyped_storage().data_ptr(): weight.untyped_storage().nbytes() for weight in model.parameters()}
    return sum(storages.values())


def test_a_rank_holds_one_number_of_each_weight_that_nobody_reads():
    with pretended(8, Parallel()):
        model = Model(preset("pythia-14m"))
        tensors, size, device = len(list(model.parameters())), model.num_parameters, model.device
        trainer = Trainer("policy", model, CrossEntropy(), AdamW()(model), schedule=Schedule(), steps=1)
        for _ in range(2):
            assert held_by(model) == 4 * tensors
            assert (model.num_parameters, model.device) == (size, device)
            assert all(weight.isnan().all() for weight in model.parameters())
            model.gather()
            assert held_by(model) == 4 * size
            trainer.let_go()


def test_of_what_a_policy_is_compared_with_a_rank_keeps_its_part_alone():
    with pretended(8, Parallel()):
        model = tiny_model()
        reference = frozen_reference(model)
        where = weakref.ref(reference.trunk.embed.weight)
        trainer = Trainer("policy", model, TDPO(), AdamW()(model), schedule=Schedule(), steps=1, reference=reference)
        del reference
        assert where() is None
        assert all(isinstance(weight, DTensor) for weight in trainer.loss.parameters())


def test_what_is_spread_is_not_copied_before(monkeypatch):
    """A copy and the model it is made of are in the same memory until the shards are there."""
    model, seen = Model(preset("pythia-14m")), []
    real, where = spread_module.shard, [weight.data_ptr() for weight in model.parameters()]
    monkeypatch.setattr(spread_module, "shard", lambda loss, *more: (seen.extend(loss.model.parameters()), real(loss, *more)))
    with pretended(8, Parallel()):
        trainer = Trainer("policy", model, CrossEntropy(), AdamW()(model), schedule=Schedule(), steps=1)
        assert [weight.data_ptr() for weight in seen] == where
        assert not {weight.to_local().untyped_storage().data_ptr() for weight in trainer.model.parameters()} & set(where)


def test_an_adapter_is_let_go_and_what_is_frozen_below_it_stays():
    model = tiny_model(has_qk_norm=False)
    frozen = dict(model.named_parameters())["trunk.blocks.0.attention.query.weight"]
    adapt(model, LoRA(), 0)
    with pretended(8, Parallel()):
        Trainer("policy", model, CrossEntropy(), AdamW()(model), schedule=Schedule(), steps=1)
        assert not frozen.isnan().any()
        assert {bool(weight.isnan().all()) for weight in model.parameters() if weight.requires_grad} == {True}


def test_recomputing_gathers_no_weight_more():
    with pretended(64, Parallel(recompute="all")):
        assert collectives(pythia_trainer()) == {"gather": 2 * LAYERS + 1, "reduce-scatter": LAYERS + 1}


def test_a_model_that_was_compiled_whole_is_compiled_block_by_block_where_each_gathers_its_weights():
    model = Model(preset("pythia-14m"))
    model._compiled = model.trunk.forward
    with pretended(8, Parallel()):
        trainer = Trainer("policy", model, CrossEntropy(), AdamW()(model), schedule=Schedule(), steps=1)
    assert trainer.model._compiled is None
    assert trainer.model.trunk.is_compiled


def test_blocks_gather_their_weights_in_the_precision_they_compute_in():
    seen = {}
    with pretended(8, Parallel()):
        model = Model(preset("pythia-14m"), compute_dtype=torch.bfloat16)
        trainer = Trainer("policy", model, CrossEntropy(), AdamW()(model), schedule=Schedule(), steps=1)
        trunk = trainer.model.trunk
        trunk.blocks[0].mlp.up.register_forward_pre_hook(
            lambda module, _: seen.update(block=module.weight.dtype, head=trunk.head.weight.dtype)
        )
        collectives(trainer)
        assert seen == {"block": torch.bfloat16, "head": torch.float32}
        assert {(weight.dtype, weight.grad.dtype) for weight in trainer.model.parameters()} == {(torch.float32, torch.float32)}
