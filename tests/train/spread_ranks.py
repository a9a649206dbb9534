"""What two processes compute that read, keep and save a model of which each has a part, for test_spread.py.

Run by torchrun in a folder with tokens, demonstrations and pairs; each rank writes what it has seen there.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import save_file

from tests.learn.objective_cases import CASES, LONGEST, Case
from tests.nn.tiny import tiny_config
from trivium.core.follower import Follower
from trivium.core.run import Run
from trivium.core.types import Example
from trivium.data.pack import pack
from trivium.learn.optim import AdamW
from trivium.learn.schedules import Schedule
from trivium.nn.io.directory import load_model
from trivium.nn.model import Model, initialise
from trivium.nn.promised import Promised, drawn_later
from trivium.stages.computing import judges as judges_module
from trivium.stages.computing.shared import shared_column, shared_scores
from trivium.stages.recipe import single
from trivium.train import trainer as trainer_module
from trivium.train.annotate import column_of, entropies, final_scores, logprobs, values
from trivium.train.best import Best
from trivium.train.checkpoint import Checkpoints
from trivium.train.mesh import Parallel, arranged
from trivium.train.parallel import data_rank, local_part
from trivium.train.ranks import together
from trivium.train.spread import Spread, read_in_parts
from trivium.train.trainer import Trainer

APART = Parallel()
SIZE = {"rows": 2, "length": LONGEST}
MACHINE = {"threads": 1, "precision": "float32", "compile": "off", "ceiling": 5e10, "kernels": "torch"}
SHORT = {"seq_len": 64, "micro_batch_rows": 4, "schedule": {"warmup_steps": 0}, "optimizer": {"kind": "adamw", "lr": 1e-3}}
TEXT = {
    "tokens": "tokens",
    "depth": 2,
    "width": 32,
    "head_dim": 16,
    "batch_tokens": 256,
    "steps": 3,
    "evaluate_every": 2,
    "evaluate_rows": 5,
}
STAGES = {  # from the first weights, which are drawn, on
    "pretrain": {**SHORT, **TEXT, "keep_every": 2, "heldout": {"again": "tokens"}},
    "finetune": {**SHORT, "model": "out/pretrain/model", "data": "chats.jsonl", "heldout": "chats.jsonl", "evaluate_every": 1, "steps": 3,
                 "batch_size": 3, "select": {"kind": "loss"}},
    "prefer": {**SHORT, "model": "out/finetune/model", "data": "pairs.jsonl", "heldout": "pairs.jsonl", "steps": 2, "batch_size": 3},
    "reward": {**SHORT, "model": "out/finetune/model", "data": "pairs.jsonl", "heldout": "pairs.jsonl", "steps": 2, "batch_size": 3},
    "reinforce": {**SHORT, "model": "out/finetune/model", "reward_model": ["out/reward/model"], "prompts": "prompts.jsonl", "phases": 2,
                  "prompts_per_phase": 3, "answers": 1, "sampling": {"max_new_tokens": 8}, "engine": {"kind": "native"}},
}  # fmt: skip
READINGS: dict[str, Callable[..., Any]] = {"logprobs": logprobs, "entropies": entropies, "greedy": lambda out, _: out.greedy_BL}


def items(case: Case, count: int, seed: int = 7) -> list[Example]:
    return [item for group in case.groups(count, seed=seed) for item in group]


def critic() -> Trainer:
    model = CASES["value"].model()
    return Trainer("critic", model, CASES["value"].objective, AdamW(lr=0.01)(model), schedule=Schedule(decay_share=0), steps=4)


def told(trainer: Trainer) -> dict[str, list[np.ndarray]]:
    """What the critic says of one answer, fewer than there are ranks, and of five, as the ranks share them."""
    read = shared_column(together, trainer.whole, lambda own: column_of(trainer.whole, own, values, **SIZE))
    return {f"values of {count}": read(items(CASES["value"], count)) for count in (1, 5)}


def judged(model: Model) -> dict[str, list[np.ndarray]]:
    """Scores of one answer and of five by a reward model, of which each rank has a part."""
    if dist.is_initialized():
        read_in_parts(model.requires_grad_(False))
    read = shared_scores(together, lambda judge, own: final_scores(judge.model, own, **SIZE))
    found = {f"judged {count}": [read(SimpleNamespace(model=model), items(CASES["value"], count))] for count in (1, 5)}
    assert not dist.is_initialized() or more(model.parameters()) == 0
    return found


def learned(is_read: bool, parallel: Parallel = APART) -> tuple[Trainer, dict[str, list[np.ndarray]]]:
    """Three updates, and what the model says between them and after the last one."""
    case, found = CASES["cross-entropy"], {}
    with arranged(parallel):
        model = case.model()
        trainer = case.trainer(model)
        rank, size = data_rank() if dist.is_initialized() else (0, 1)
        for step in range(3):
            trainer.step(step, pack(case.groups(6, seed=step)[rank::size], **SIZE))
            if is_read:
                for name, read in READINGS.items():
                    found[f"{name} after {step}"] = column_of(model, items(case, 5), read, **SIZE, with_entropy=name == "entropies")
    return trainer, found


def kept(folder: Path, rank: int) -> dict[str, torch.Tensor]:
    """The weights after the second of three updates, which rank 0 measured best, out of a checkpoint of after the third."""
    found = {}
    for name in ("straight", "restored"):
        case, model = CASES["cross-entropy"], CASES["cross-entropy"].model()
        trainer, scores = case.trainer(model), iter((3.0, 2.0, 1.0) if rank else (1.0, 3.0, 2.0))
        best = Best(model, [lambda scores=scores: {"score": [next(scores)]}], lambda _: True, by="score")
        with (Run if rank == 0 else Follower)(folder / "best", quiet=True) as run:
            run.begin("finetune", {})
            dist.barrier()
            checkpoints = Checkpoints(run, companions=[best])
            if name == "restored":
                checkpoints.restore([trainer])
            else:
                for step in range(3):
                    trainer.step(step, pack(case.groups(6, seed=step)[rank::2], **SIZE))
                    best(step + 1, {})
                    found |= {f"after {step + 1}/{weight}": tensor for weight, tensor in trainer.state().items() if "model" in weight}
                checkpoints.save(3, [trainer])
                checkpoints.wait()
            dist.barrier()
        assert {weight.to_local().device.type for weight in best.weights.values()} == {"cpu"}
        model.gather()  # as who measures it by its answers does
        best.take_back()
        model.gather()
        found |= {f"{name}/model.{weight}": tensor.detach().clone() for weight, tensor in model.named_parameters()}
    return found


def promised(folder: Path) -> None:
    """A model that is drawn or read only when it is cut has the shards of one that was whole before, to the bit."""
    config, stored = tiny_config(tie_head=True, num_kv_heads=2), partial(load_model, folder / "stored")
    pairs = {
        "drawn": (lambda: initialise(Model(config), 3), lambda: drawn_later(config, 3, "cpu", compute_dtype=torch.float32)),
        "read": (stored, partial(stored, later_on="cpu")),
        "judge": (partial(stored, has_scalar=True), partial(stored, has_scalar=True, later_on="cpu")),
    }
    for shared in (Parallel(), Parallel(context=2), Parallel(tensor=2)):
        for name, made in pairs.items():
            models = [make() for make in made]
            with arranged(shared):
                copies = [CASES["cross-entropy"].trainer(model).model for model in models]
            assert all(weight.isnan().all() for weight in models[1].parameters()), name
            weights = [dict(copy.named_parameters()) for copy in copies]
            assert weights[0].keys() == weights[1].keys()
            for weight, whole in weights[0].items():
                assert torch.equal(local_part(whole), local_part(weights[1][weight])), (name, weight)


def more(parameters: Any) -> int:
    """Bytes of weights that are whole, beyond one number of each."""
    return sum(weight.untyped_storage().nbytes() - 4 for weight in parameters)


@contextmanager
def watched(seen: dict[str, Any]) -> Iterator[None]:
    """Note how much of a whole copy there is: while weights are cut, learned, read and saved; and who wants all of it on the device."""
    wholes: list[Model] = []

    def note(name: str, size: int) -> None:
        seen[name] = max(seen.get(name, 0), size)

    def before(owner: Any, method: str, look: Callable[..., None], *, is_after: bool = False) -> None:
        real = getattr(owner, method)

        def done(self: Any, *words: Any, **named: Any) -> Any:
            if not is_after:
                look(self, *words)
            given = real(self, *words, **named)
            if is_after:
                look(self, *words)
            return given

        reals.append((owner, method, real))
        setattr(owner, method, done)

    def look_at_all(name: str) -> Callable[..., None]:
        return lambda *_: note(name, max(more(model.parameters()) for model in wholes))

    def begun(_: Any, model: Model, *__: Any) -> None:
        wholes.append(model)
        parts = [*model.trunk.blocks, model]
        sizes = [sum(4 * weight.numel() - 4 for weight in part.parameters()) for part in parts]
        seen.setdefault("whole", sizes[-1])  # of the policy
        note("largest part", max(*sizes[:-1], sizes[-1] - sum(sizes[:-1])))
        note("before", more(model.parameters()))

    reals: list[tuple[Any, str, Any]] = []
    before(trainer_module, "spread_out", begun)
    before(judges_module, "read_in_parts", lambda model: wholes.append(model), is_after=True)
    before(Promised, "fill", lambda _, __, names: note("cut", more(names)), is_after=True)
    before(Trainer, "_update", look_at_all("learned"))
    before(Spread, "read", look_at_all("read"))
    before(Spread, "gather_on_host", look_at_all("saved"), is_after=True)
    for owner in (Spread, Promised):
        before(owner, "gather", lambda source, model: seen.setdefault("gathered", []).append(type(source).__name__))
    try:
        yield
    finally:
        for owner, method, real in reversed(reals):
            setattr(owner, method, real)


def staged(name: str, options: Mapping[str, Any], rank: int) -> dict[str, Any]:
    """Run a stage in the folder `out`; what was seen."""
    seen: dict[str, Any] = {}
    stage = single(name, dict(options)).stages[name]
    with (Run if rank == 0 else Follower)(Path("out"), quiet=True, machine=MACHINE) as run:
        dist.barrier()
        run.begin(name, {})
        with watched(seen):
            facts = stage.run(run)
        run.finish(facts)
        dist.barrier()
    return seen


def main() -> None:
    dist.init_process_group("gloo", timeout=timedelta(seconds=60))
    rank, folder, tensors = dist.get_rank(), Path.cwd(), {}
    seen = {name: staged(name, options, rank) for name, options in STAGES.items()}
    found = told(critic()) | judged(load_model(folder / "judge", later_on="cpu"))
    for name, parallel in {"apart": Parallel(), "rows": Parallel(context=2), "copies": Parallel(shard=1)}.items():
        trainer, columns = learned(True, parallel)
        tensors |= {f"{name}/{weight}": tensor for weight, tensor in trainer.state().items()}
        found |= {f"{name}/{reading}": each for reading, each in columns.items()}
    silent, _ = learned(False)
    tensors |= {f"not read/{weight}": tensor for weight, tensor in silent.state().items()}
    tensors |= {f"kept/{weight}": tensor for weight, tensor in kept(folder, rank).items()}
    promised(folder)
    tensors |= {f"{name}/{number}": torch.from_numpy(one) for name, each in found.items() for number, one in enumerate(each)}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / f"found-{rank}.safetensors")
    (folder / f"seen-{rank}.json").write_text(json.dumps(seen))
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
