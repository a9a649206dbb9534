"""What two processes compute, for test_spike.py: run by torchrun, rank 0 writes the results into the folder it is given.

All checks run inside one launch, since loading torch takes longer than all of them.
"""

import json
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file

from tests.learn.objective_cases import CASES, LONGEST, Case
from tests.nn.tiny import tiny_model
from trivium.core.follower import Follower
from trivium.core.run import Run
from trivium.core.types import Group
from trivium.data.pack import pack
from trivium.learn.objectives import CrossEntropy
from trivium.learn.optim import AdamW, MuonAdamW
from trivium.learn.reference_update import ReferenceUpdate
from trivium.learn.schedules import Schedule
from trivium.nn.batch import Batch
from trivium.stages.computing.watch import Watch
from trivium.stages.guard import Guard
from trivium.train import checkpoint
from trivium.train.beside import Beside
from trivium.train.checkpoint import Checkpoints
from trivium.train.fit import Layout, fit
from trivium.train.parallel import full_tensor
from trivium.train.reference import MovingReference
from trivium.train.trainer import Trainer

RECIPES = {"adamw": AdamW(lr=0.01), "muon": MuonAdamW()}
STEPS = 4
CLIPPED = ("cross-entropy", "dpo", "ranking", "grpo")
LEAST_NORM = 1e-3  # below that of every objective
SAVED_AT = 2  # steps after which the state is saved, and loaded again
WATCHED = 5
HELDOUT = {  # rewards after each step, as rank 0 and rank 1 see them: with a patience of 2 a guard stops after two below the best
    "rank 1 sooner": ((0.5, 0.6, 0.5, 0.4, 0.3), (0.5, 0.4, 0.3, 0.2, 0.1)),
    "rank 0 sooner": ((0.5, 0.4, 0.3, 0.2, 0.1), (0.5, 0.6, 0.5, 0.4, 0.3)),
    "rank 1 alone": ((0.1, 0.2, 0.3, 0.4, 0.5), (0.5, 0.4, 0.3, 0.2, 0.1)),
}


def masked(group: Group) -> Group:
    return tuple(replace(item, loss_mask=np.zeros_like(item.loss_mask)) for item in group)


def shares(case: Case) -> dict[str, tuple[list[Batch], list[Batch]]]:
    """Micro-batches of rank 0 and of rank 1, by the name of what is peculiar about them."""
    groups, rows = case.groups(6), max(len(group) for group in case.groups(6))
    cut = [pack([group], rows=rows, length=LONGEST)[0] for group in groups]
    nothing = [pack([masked(group)], rows=rows, length=LONGEST)[0] for group in groups[:1]]
    return {
        "even": (cut[0::2], cut[1::2]),
        "five and one": (cut[:5], cut[5:]),
        "one masked whole": (cut[:2], nothing),
        "one empty": (cut, pack([], rows=rows, length=LONGEST)),
        "packed": (pack(groups[:4], rows=4, length=3 * LONGEST), pack(groups[4:], rows=4, length=3 * LONGEST)),
    }


def clipped(case: Case, batches: list[Batch]) -> dict[str, torch.Tensor]:
    """The gradients as an update takes them, scaled to LEAST_NORM together; of length 1 here."""
    trainer = case.trainer()
    trainer.max_grad_norm = LEAST_NORM
    trainer.gradients(batches)
    trainer._clip()
    return {name: full_tensor(weight.grad) / LEAST_NORM for name, weight in trainer.model.named_parameters() if weight.grad is not None}


def recipe_trainer(name: str) -> Trainer:
    model = tiny_model(tie_head=name == "adamw")
    return Trainer("policy", model, CrossEntropy(), RECIPES[name](model), schedule=Schedule(decay_share=0), steps=STEPS)


def beside_trainer() -> Trainer:
    """A policy that learns text beside: five rows of it, which two ranks share unequally."""
    case, model = CASES["ppo"], CASES["ppo"].model()
    text = Beside("replay", lambda _: CASES["cross-entropy"].groups(5, seed=2), CrossEntropy(), 3.0, rows=2, length=LONGEST)
    return Trainer("policy", model, case.objective, AdamW(lr=0.01)(model), schedule=Schedule(), steps=STEPS, beside=text)


def follow(share: Callable[[list[Group]], list[Group]]) -> tuple[Trainer, MovingReference]:
    """Four updates of DPO against a reference that moves after each second one (TR-DPO). share: the groups of this process."""
    case, model = CASES["dpo"], CASES["dpo"].model()
    reference = MovingReference(ReferenceUpdate(every=2, share=0.6), lambda n: case.groups(6, seed=n), model, rows=4, length=LONGEST)
    trainer = Trainer("policy", model, case.objective, AdamW(lr=0.01)(model), schedule=Schedule(decay_share=0), steps=STEPS)
    for step in range(STEPS):
        trainer.step(step, pack(share(reference(step)), rows=2, length=LONGEST))
    return trainer, reference


def save_and_go_on(folder: Path, rank: int, trainer: Trainer, batches: list[Batch]) -> None:
    """Save after SAVED_AT steps in the folder of a run, where nothing is written before all of the steps are done."""
    may_write, real = threading.Event(), checkpoint.write
    checkpoint.write = lambda *words: (may_write.wait(), real(*words))
    with (Run if rank == 0 else Follower)(folder, quiet=True) as run:
        run.begin("pretrain", {})
        dist.barrier()  # rank 0 makes the folder, as in a pipeline
        checkpoints = Checkpoints(run)
        checkpoints.save(SAVED_AT, [trainer])
        train(trainer, batches, SAVED_AT, STEPS)
        may_write.set()
        checkpoints.wait()
    checkpoint.write = real


def watched(folder: Path, rank: int, rewards: Sequence[float]) -> int:
    """Train with a guard, which sees these rewards on this rank; after how many updates it was over."""
    case, model, seen = CASES["cross-entropy"], CASES["cross-entropy"].model(), list[int]()
    trainer = Trainer("policy", model, case.objective, AdamW(lr=0.01)(model), schedule=Schedule(), steps=WATCHED)
    watch = Watch(Guard(models="watcher", patience=2))

    def measured(done: int, metrics: dict[str, float]) -> None:
        seen.append(done)
        assert trainer.whole.trunk.head.weight.untyped_storage().nbytes() == 4  # nobody reads it while weights are updated
        model.gather()
        for name, weight in model.named_parameters():
            assert torch.equal(weight, full_tensor(dict(trainer.model.named_parameters())[name])), name
        metrics |= {"kl": 0.0, "stop_rate": 1.0, "heldout_reward": rewards[done - 1]}

    with (Run if rank == 0 else Follower)(folder, quiet=True) as run:
        run.begin("reinforce", {})
        dist.barrier()
        fit(
            run, lambda n: case.groups(6, seed=n), [trainer], steps=WATCHED, layout=Layout(rows=2, length=LONGEST),
            checkpoints=Checkpoints(run, companions=[watch]), hooks=[measured, watch],
        )  # fmt: skip
    return len(seen)


def train(trainer: Trainer, batches: list[Batch], first: int, last: int) -> list[dict[str, float]]:
    return [trainer.step(step, batches) for step in range(first, last)]


def main(folder: Path) -> None:
    dist.init_process_group("gloo", timeout=timedelta(seconds=60))
    rank, tensors, reports = dist.get_rank(), {}, {}
    for name, case in CASES.items():
        trainer = case.trainer()
        for kind, share in shares(case).items():
            loss, gradients = trainer.gradients(share[rank])
            tensors |= {f"{name}/{kind}/{weight}": gradient.clone() for weight, gradient in gradients.items()} | {
                f"{name}/{kind}/loss": loss
            }
        reports[name] = trainer.step(0, shares(case)["five and one"][rank])
    for name in CLIPPED:
        found = clipped(CASES[name], shares(CASES[name])["five and one"][rank])
        tensors |= {f"{name}/clipped/{weight}": gradient for weight, gradient in found.items()}
    loss, gradients = beside_trainer().gradients(shares(CASES["ppo"])["five and one"][rank])
    tensors |= {f"beside/{weight}": gradient.clone() for weight, gradient in gradients.items()} | {"beside/loss": loss}
    trainer, reference = follow(lambda groups: groups[:5] if rank == 0 else groups[5:])
    tensors |= {f"followed/{name}": value for name, value in trainer.state().items()}
    tensors |= {f"reference/{name}": value for name, value in reference.state().items()}
    share = shares(CASES["cross-entropy"])["five and one"][rank]
    for name in RECIPES:
        trainer = recipe_trainer(name)
        reports[name] = train(trainer, share, 0, SAVED_AT)
        resumed = recipe_trainer(name)
        resumed.load_state(load_file(folder / f"{name}.safetensors"))  # what one process saved
        train(resumed, share, SAVED_AT, STEPS)
        tensors |= {f"{name}/saved/{weight}": value.clone() for weight, value in trainer.state().items()}
        tensors |= {f"{name}/resumed/{weight}": value for weight, value in resumed.state().items()}
        save_and_go_on(folder / f"{name} saved", rank, trainer, share)
    ended = {name: watched(folder / name, rank, rewards[rank]) for name, rewards in HELDOUT.items()}
    (folder / f"watched-{rank}.json").write_text(json.dumps(ended))
    if rank == 0:
        save_file(tensors, folder / "two_ranks.safetensors")
        (folder / "reports.json").write_text(json.dumps(reports))
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
