"""trivium on real tokens: with the quickstart's recipe or a variation of it, the options of a `pretrain` stage, or the peer's.

A request to evaluate is answered between two updates.
"""

from typing import Any

import numpy as np

from benchmarks.peers.rounds import Rounds, options
from trivium.core.config import build
from trivium.core.world import prepare_environment

# The quickstart's. traits: of nn/variants.py; has_zero_outputs: whether blocks start as the identity.
RECIPE: dict[str, Any] = {
    "optimizer": {"kind": "muon", "lr": 0.02, "embed_lr": 0.01, "head_lr": 0.004},
    "schedule": {"warmup_steps": 20, "decay_share": 0.5},
    "packing": "stream",
    "has_qk_norm": True,
    "has_zero_outputs": True,
    "traits": {},
}


def compete(want: dict[str, Any], rounds: Rounds) -> None:
    """Train for the wanted number of updates, then go on answering."""
    from trivium.data.documents import corpus
    from trivium.data.pack import pack
    from trivium.learn.objectives import CrossEntropy
    from trivium.learn.optim.recipes import AdamW, MuonAdamW
    from trivium.learn.schedules import Schedule
    from trivium.nn.config import llama
    from trivium.nn.model import DTYPES, Model, initialise
    from trivium.nn.variants import with_traits
    from trivium.stages.computing.models import with_products
    from trivium.stages.machine import Machine
    from trivium.train.trainer import Trainer

    stage = want.get("pretrain", {})  # what the dial derived
    dialled = {name: stage[name] for name in ("optimizer", "schedule", "packing") if name in stage}
    recipe = as_peer(want) if want["is_as_peer"] else RECIPE | dialled | want.get("variation", {})
    machine = Machine(threads=want["threads"], precision=want["precision"], kernels=want["kernels"], products=want["products"]).measured()
    shape = {name: want[name] for name in ("vocab_size", "depth", "width")}
    config = with_traits(llama(**shape, max_seq_len=want["seq_len"], has_qk_norm=recipe["has_qk_norm"]), recipe["traits"])
    model = initialise(Model(config, compute_dtype=DTYPES[machine.precision]), want["seed"])
    if not recipe["has_zero_outputs"]:
        fill_outputs(model, want["seed"])
    with_products(model, machine, want["seq_len"])
    optimizer = build({"muon": MuonAdamW, "adamw": AdamW}[recipe["optimizer"]["kind"]], recipe["optimizer"])
    schedule = build(Schedule, recipe["schedule"])
    trainer = Trainer("policy", model, CrossEntropy(), optimizer(model), schedule=schedule, steps=want["steps"])
    tokens, starts = np.load(want["train"]), np.load(want["starts"])
    source = corpus(tokens, starts, recipe["packing"], seq_len=want["seq_len"], rows_per_step=want["rows"], seed=want["seed"])
    heldout, step = np.load(want["heldout"]), 0
    while True:
        if rounds.tick().get("evaluate"):
            rounds.facts = {"loss": heldout_loss(model, heldout)}
            continue
        trainer.step(step, pack(source(step), rows=stage.get("micro_batch_rows", want["rows"]), length=want["seq_len"]))
        step += 1


def as_peer(want: dict[str, Any]) -> dict[str, Any]:
    """The recipe that the peer trains with: Llama's shape, AdamW, cosine."""
    return RECIPE | {
        "optimizer": {"kind": "adamw", **{name: want[name] for name in ("lr", "beta2", "weight_decay")}},
        "schedule": {"warmup_steps": want["warmup_steps"], "shape": "cosine"},
        "has_qk_norm": False,
    }


def fill_outputs(model: Any, seed: int) -> None:
    """Make the outputs of attention and MLP like other matrices, N(0, 1/fan_in), where `initialise` has them at zero."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    for block in model.trunk.blocks:
        for weight in (block.attention.out.weight, block.mlp.down.weight):
            torch.nn.init.normal_(weight, std=weight.shape[1] ** -0.5, generator=generator)


def heldout_loss(model: Any, rows_BL: np.ndarray) -> float:
    """Mean loss of a held-out token in nats."""
    from trivium.core.types import example
    from trivium.train.annotate import column_of, logprobs

    columns = column_of(model, [example(row) for row in rows_BL], logprobs, rows=8, length=rows_BL.shape[1])
    return -float(np.mean([column[1:].mean(dtype=np.float64) for column in columns]))


if __name__ == "__main__":
    prepare_environment()
    compete(options(), Rounds())
