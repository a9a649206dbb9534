"""What several ranks wrote is read as one; what was copied for a save does not change; what goes wrong in its thread is told."""

import json
import threading
import time

import pytest
import torch

from tests.train.test_fit import trainers
from trivium.core.errors import ArtefactError, ResourceError
from trivium.core.run import Run
from trivium.train import checkpoint
from trivium.train.checkpoint import Checkpoints
from trivium.train.exact import tree_sum
from trivium.train.saving import Saving
from trivium.train.slices import Piece, Saved, merged, pieces, write


def test_slices_of_three_ranks_make_the_whole(tmp_path):
    whole, plain = torch.arange(35.0).view(7, 5), torch.tensor(3.0)
    indices = []
    for rank, rows in enumerate((slice(0, 3), slice(3, 6), slice(6, 7))):
        own = {"spread": Piece(whole[rows].contiguous(), (7, 5), (rows.start, 0))} | ({"step": Piece(plain)} if rank == 0 else {})
        write(tmp_path, rank, {"policy": own})
        indices.append(json.loads((tmp_path / "slices.json").read_text()))
    found = Saved(tmp_path, "policy", merged(indices)["policy"])
    assert sorted(found) == ["spread", "step"]
    torch.testing.assert_close(dict(found.items()), {"spread": whole, "step": plain}, rtol=0, atol=0)


def test_a_slice_that_is_missing_is_found(tmp_path):
    write(tmp_path, 1, {"policy": {"weight": Piece(torch.ones(3, 2), (5, 2), (2, 0))}})
    write(tmp_path, 0, {"policy": {}})
    index = {"weight": {"shape": [5, 2], "slices": [{"file": "policy.1.safetensors", "offset": [2, 0]}]}}
    with pytest.raises(ArtefactError, match="the slices of weight hold 6 numbers, which is not all of it"):
        Saved(tmp_path, "policy", index)["weight"]


def test_one_process_writes_no_index(tmp_path):
    write(tmp_path, 0, {"policy": pieces({"weight": torch.ones(2)}, 0)})
    assert (tmp_path / "slices.json").read_text() == '{"policy": {}}'
    assert Saved(tmp_path, "policy", {})["weight"].tolist() == [1.0, 1.0]


def test_what_is_whole_is_written_by_rank_0_alone():
    assert pieces({"weight": torch.ones(2)}, 1) == {}


def test_a_save_holds_the_state_of_its_moment(tmp_path, monkeypatch):
    """The weights change while the thread has not begun to write."""
    may_write, real = threading.Event(), checkpoint.commit
    monkeypatch.setattr(checkpoint, "commit", lambda *words, **more: (may_write.wait(), real(*words, **more)))
    with Run(tmp_path, quiet=True) as run:
        run.begin("pretrain", {})
        both, checkpoints = trainers(), Checkpoints(run)
        before = [{name: tensor.clone() for name, tensor in trainer.state().items()} for trainer in both]
        checkpoints.save(1, both)
        with torch.no_grad():
            for trainer in both:
                for weight in trainer.model.parameters():
                    weight.zero_()
        may_write.set()
        assert checkpoints.restore(both) == 1
    torch.testing.assert_close([trainer.state() for trainer in both], before, rtol=0, atol=0)


def test_what_goes_wrong_in_the_thread_is_told_at_the_next_look_and_leaves_the_save_before(tmp_path, monkeypatch):
    with Run(tmp_path, quiet=True) as run:
        run.begin("pretrain", {})
        both, checkpoints = trainers(), Checkpoints(run)
        checkpoints.save(1, both)
        checkpoints.wait()

        def full(*words: object, **more: object) -> None:
            raise ResourceError("the disk is full")

        monkeypatch.setattr(checkpoint, "commit", full)
        checkpoints.save(2, both)
        time.sleep(0.2)
        with pytest.raises(ResourceError, match="the disk is full"):
            checkpoints.is_due()
        assert checkpoints.restore(both) == 1


def test_the_next_save_waits_for_the_last():
    order, gate, saving = [], threading.Event(), Saving()
    saving.start(lambda: (gate.wait(), order.append(1)))
    threading.Timer(0.05, gate.set).start()
    saving.start(lambda: order.append(2))
    saving.wait()
    assert order == [1, 2]


def test_a_part_that_never_comes_does_not_hold_up_the_end():
    saving = Saving()
    saving.start(lambda: saving.is_over.wait())
    saving.give_up()


def test_the_tree_adds_pairs_and_pairs_of_pairs():
    """In fp32 0.1 + 0.2 + 0.3 + 0.4 depends on the order; the tree has (a + b) + (c + d)."""
    parts = [torch.tensor([value]) for value in (1e8, 1.0, -1e8, 1.0)]
    assert tree_sum(parts).item() == float((parts[0] + parts[1]) + (parts[2] + parts[3]))
    assert tree_sum(parts).item() != float(((parts[0] + parts[2]) + parts[1]) + parts[3])
