"""Computing again instead of keeping: the same bits, less memory, and no more work than was said."""

import copy

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from tests.learn.objective_cases import CASES, LONGEST
from tests.nn.tiny import tiny_model
from trivium.data.pack import pack
from trivium.learn.objectives import CrossEntropy
from trivium.learn.reduce import Counts
from trivium.nn.batch import Batch
from trivium.nn.model import Model
from trivium.nn.recompute import recompute
from trivium.train.mesh import Parallel, arranged
from trivium.train.trainer import Loss

HOW = ("nothing", "cheap", "all")


class Alive(TorchDispatchMode):
    """Bytes of what was computed inside of it and is still kept."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # noqa: ANN001, ANN204
        result = func(*args, **(kwargs or {}))
        for found in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(found, torch.Tensor):
                self.__dict__.setdefault("made", {})[found.untyped_storage().data_ptr()] = (
                    StorageWeakRef(found.untyped_storage()),
                    found.untyped_storage().nbytes(),
                )
        return result

    def bytes(self) -> int:
        return sum(size for storage, size in self.made.values() if not storage.expired())


def batch(count: int = 4) -> Batch:
    [found] = pack(CASES["cross-entropy"].groups(count), rows=4, length=2 * LONGEST)
    return found


def loss_of(model: Model, how: str) -> Loss:
    with arranged(Parallel(recompute=how)):
        return Loss(model, CrossEntropy())


@pytest.mark.parametrize("how", HOW[1:])
@pytest.mark.parametrize("name", ["cross-entropy", "dpo", "ppo", "value"])
def test_the_gradients_are_the_same_bits(name, how):
    batches = pack(CASES[name].groups(4), rows=4, length=2 * LONGEST)
    kept = CASES[name].gradients(batches)
    with arranged(Parallel(recompute=how)):
        again = CASES[name].gradients(batches)
    torch.testing.assert_close(again, kept, rtol=0, atol=0)


def test_less_is_kept_the_more_is_computed_again():
    kept, work = [], []
    for how in HOW:
        loss, there = loss_of(tiny_model(num_layers=4), how), batch()
        with Alive() as alive:
            total, _ = loss(there, Counts.of([there]))
            kept.append(alive.bytes())
        with FlopCounterMode(display=False) as counter:
            total.backward()
        work.append(counter.get_total_flops())
    nothing, cheap, everything = kept
    assert everything < 0.5 * cheap < 0.5 * nothing
    assert work[0] < work[1] < work[2]  # the scores of short rows are written out, and are no product with a weight


def test_what_samples_computes_once():
    model = tiny_model()
    recompute(model.trunk, "all")
    expected = tiny_model().hidden(batch())
    with torch.no_grad():
        torch.testing.assert_close(model.hidden(batch()), expected, rtol=0, atol=0)


def test_a_copy_computes_with_its_own_weights():
    model = tiny_model()
    recompute(model.trunk, "cheap")
    copied = copy.deepcopy(model)
    before = copied.hidden(batch()).detach()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    torch.testing.assert_close(copied.hidden(batch()), before, rtol=0, atol=0)


def test_the_last_word_counts():
    model = tiny_model()
    for how in ("all", "all", "cheap", "nothing"):
        recompute(model.trunk, how)
    assert all("forward" not in vars(block) for block in model.trunk.blocks)
