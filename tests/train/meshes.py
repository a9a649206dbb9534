"""What two processes compute that share rows, or layers, and four that share both, for test_meshes.py.

Run by torchrun; rank 0 writes into the folder it is given.
"""

import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file

from tests.learn.objective_cases import CASES, LONGEST, Case
from tests.nn.tiny import VOCAB, tiny_config, tiny_model
from trivium.core.types import Group, example
from trivium.data.pack import pack
from trivium.learn.objectives import CrossEntropy
from trivium.learn.optim import AdamW, MuonAdamW
from trivium.learn.schedules import Schedule
from trivium.nn.batch import Batch
from trivium.nn.model import Model
from trivium.train.annotate import column_of, logprobs
from trivium.train.mesh import Parallel, arranged
from trivium.train.parallel import data_rank, full_tensor, total_norm
from trivium.train.slices import pieces
from trivium.train.trainer import Trainer

RECIPES = {"adamw": AdamW(lr=0.01), "muon": MuonAdamW()}
STEPS = 4
SAVED_AT = 2  # steps after which the state is saved, and loaded again
ODD = 2 * LONGEST + 3  # positions of a row that no two ranks have equal shares of
SHAPES = {
    "llama": {"num_heads": 4, "num_kv_heads": 2, "has_qk_norm": False},
    "qwen3": {"num_heads": 4, "num_kv_heads": 2, "tie_head": True},
    "one head": {"num_heads": 2, "num_kv_heads": 2},
    "pythia": {
        "num_heads": 2, "num_kv_heads": 2, "has_qk_norm": False, "has_attention_bias": True, "has_output_bias": True, "has_mlp_bias": True,
        "norm": "layer", "is_gated": False, "activation": "gelu", "is_parallel": True, "rotary_share": 0.5,
    },
    "gemma": {"num_heads": 4, "num_kv_heads": 2, "sliding_window": 5, "attention_softcap": 3.0, "logit_softcap": 2.0, "norm_place": "both"},
}  # fmt: skip


def documents(lengths: tuple[int, ...], seed: int = 0) -> list[Group]:
    rng = np.random.default_rng(seed)
    return [(example(rng.integers(0, VOCAB, length)),) for length in lengths]


def packed(case: Case) -> list[Batch]:
    """Micro-batches of rows that hold several sequences and are cut by two ranks in the middle of one."""
    return pack(case.groups(4), rows=3, length=ODD)


ROWS = {  # (lengths of the documents, positions of a row)
    "three documents": ((5, 7, 9), 21),
    "three documents, padded": ((5, 4, 9), 21),
    "one long": ((21,), 21),
    "a position a rank": ((2,), 2),
    "one position for both": ((3, 3), 3),
}


def rounding() -> Model:
    """A model that computes in bf16 with weights in fp32."""
    model = Model(tiny_config(**SHAPES["llama"]), compute_dtype=torch.bfloat16)
    model.load_state_dict(tiny_model(**SHAPES["llama"]).state_dict())
    return model


def compiled() -> Model:
    model = tiny_model(**SHAPES["llama"])
    for block in model.trunk.blocks:
        block.compile(dynamic=False, backend="aot_eager")
    model.trunk.is_compiled = True
    return model


FOUR = {
    "two copies": Parallel(shard=2),
    "rows in two copies": Parallel(shard=1, context=2),
    "weights and rows": Parallel(context=2),
    "weights and layers": Parallel(tensor=2),
    "rows and layers": Parallel(context=2, tensor=2),
}
DIFFERENT = (5, 9, 7, 21, 3)  # tokens of documents, of which one rank reads the odd ones


def text_trainer(shape: str, recipe: str = "adamw", model: Model | None = None) -> Trainer:
    model = model or tiny_model(**SHAPES[shape])
    return Trainer("policy", model, CrossEntropy(), RECIPES[recipe](model), schedule=Schedule(decay_share=0), steps=STEPS)


def train(trainer: Trainer, batches: list[Batch], first: int, last: int) -> list[dict[str, float]]:
    return [trainer.step(step, batches) for step in range(first, last)]


def rows(name: str) -> list[Batch]:
    lengths, length = ROWS[name]
    return pack(documents(lengths), rows=2, length=length)


def kept(prefix: str, trainer: Trainer, batches: list[Batch]) -> dict[str, torch.Tensor]:
    """Loss and gradients of the batches, and the log-probs of other texts, which ranks share among them."""
    loss, gradients = trainer.gradients(batches)
    norm = total_norm(weight.grad for weight in trainer.model.parameters() if weight.grad is not None)
    read = column_of(trainer.whole, [text for [text] in documents(DIFFERENT, seed=1)], logprobs, rows=1, length=max(DIFFERENT))
    found = {"loss": loss, "norm": norm, "read": torch.from_numpy(np.concatenate(read)), **gradients}
    return {f"{prefix}/{name}": value.clone() for name, value in found.items()}


def in_context() -> dict[str, torch.Tensor]:
    tensors = {}
    with arranged(Parallel(context=2)):
        tensors |= kept("context/compiled", text_trainer("llama", model=compiled()), rows("three documents"))
        for name, case in CASES.items():
            tensors |= kept(f"context/{name}", case.trainer(), packed(case))
        for shape in SHAPES:
            for name in ROWS:
                tensors |= kept(f"context/{shape}/{name}", text_trainer(shape), rows(name))
    return tensors


def across_heads(folder: Path) -> dict[str, torch.Tensor]:
    tensors = {}
    with arranged(Parallel(tensor=2)):
        tensors |= kept("tensor/compiled", text_trainer("llama", model=compiled()), rows("three documents"))
        for shape in SHAPES:
            tensors |= kept(f"tensor/{shape}", text_trainer(shape), rows("three documents"))
        for recipe in RECIPES:
            trainer = text_trainer("qwen3", recipe)
            reports = train(trainer, rows("three documents"), 0, SAVED_AT)
            check_slices(trainer)
            resumed = text_trainer("qwen3", recipe)
            resumed.load_state(load_file(folder / f"{recipe}.safetensors"))  # what one process saved
            train(resumed, rows("three documents"), SAVED_AT, STEPS)
            tensors |= {f"tensor/saved/{recipe}/{name}": value for name, value in trainer.state().items()}
            tensors |= {f"tensor/resumed/{recipe}/{name}": value for name, value in resumed.state().items()}
            tensors[f"tensor/norms/{recipe}"] = torch.tensor([report["grad_norm"] for report in reports])
    return tensors


def wrapped() -> dict[str, torch.Tensor]:
    """Ranks that read different data, with what may be inside of the wrapping."""
    tensors, own = {}, pack(documents(DIFFERENT)[dist.get_rank() :: 2], rows=1, length=21)
    for how in ("cheap", "all"):
        with arranged(Parallel(recompute=how)):
            tensors |= kept(f"wrapped/{how}", text_trainer("llama"), own)
    tensors |= kept("wrapped/compiled", text_trainer("llama", model=compiled()), own)
    return tensors | kept("wrapped/bf16", text_trainer("llama", model=rounding()), own)


def check_slices(trainer: Trainer) -> None:
    """What this rank would write of its weights stands where its index says, and all ranks write each number once."""
    for name, tensor in trainer.tensors().items():
        whole, own = full_tensor(tensor), pieces({name: tensor}, dist.get_rank()).values()
        for piece in own:
            where = tuple(slice(start, start + size) for start, size in zip(piece.offset, piece.data.shape, strict=False))
            assert torch.equal(whole[where], piece.data), name
        written = torch.tensor(sum(piece.data.numel() for piece in own))
        dist.all_reduce(written)
        assert int(written) == whole.numel(), name


def of_four() -> dict[str, torch.Tensor]:
    """Ranks that share two things at a time."""
    tensors = {}
    for name, parallel in FOUR.items():
        with arranged(parallel):
            rank, size = data_rank()
            trainer = text_trainer("llama")
            tensors |= kept(f"four/{name}", trainer, pack(documents(DIFFERENT)[rank::size], rows=1, length=21))
            check_slices(trainer)
    return tensors


def main(folder: Path) -> None:
    dist.init_process_group("gloo", timeout=timedelta(seconds=60))
    tensors = of_four() if dist.get_world_size() == 4 else wrapped() | in_context() | across_heads(folder)
    if dist.get_rank() == 0:
        save_file(tensors, folder / "meshes.safetensors")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
