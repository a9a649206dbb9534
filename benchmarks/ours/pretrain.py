"""trivium pre-training on random tokens through nn, learn, data and train, a step a tick."""

from typing import Any

import numpy as np

from benchmarks.peers.rounds import Rounds, options, peak_bytes, waiting
from trivium.core.world import prepare_environment


def train(want: dict[str, Any], rounds: Rounds) -> None:
    """Train until nothing more is wanted. The optimizer and all that is not named in `want` are the defaults."""
    from trivium.data.pack import pack
    from trivium.data.sources import Corpus
    from trivium.learn.objectives import CrossEntropy
    from trivium.learn.optim.recipes import AdamW, MuonAdamW
    from trivium.learn.schedules import Schedule
    from trivium.nn.config import llama
    from trivium.nn.model import DTYPES, Model, initialise
    from trivium.stages.computing.models import with_products
    from trivium.stages.machine import Machine
    from trivium.train.trainer import Trainer

    settings = {name: want[name] for name in ("device", "threads", "precision", "kernels", "products")}
    machine = Machine(**settings).measured()
    shape = {name: want[name] for name in ("vocab_size", "depth", "width", "head_dim")}
    config = llama(**shape, max_seq_len=want["seq_len"])
    model = initialise(Model(config, compute_dtype=DTYPES[machine.precision]), want["seed"]).to(machine.place())
    with_products(model, machine, want["seq_len"])
    if want["compile"]:
        model.compile_training()
    optimizers = (AdamW(lr=1e-3) if want["optimizer"] == "adamw" else MuonAdamW(lr=0.02, embed_lr=0.01, head_lr=0.004))(model)
    trainer = Trainer("policy", model, CrossEntropy(), optimizers, schedule=Schedule(), steps=1_000_000)
    num_tokens = want["num_rows"] * (want["seq_len"] - 1) + 1  # neighbouring rows share a token
    tokens = np.random.default_rng(want["seed"]).integers(0, want["vocab_size"], num_tokens).astype(np.uint16)
    source = Corpus(tokens, seq_len=want["seq_len"], rows_per_step=want["rows"], seed=want["seed"])
    step = 0
    while True:
        rounds.facts = {"peak_bytes": peak_bytes(machine.device)}
        rounds.tick()
        trainer.step(step, pack(source(step), rows=want["micro_batch_rows"], length=want["seq_len"]))
        step += 1


if __name__ == "__main__":
    prepare_environment()
    wanted = options()
    train(wanted, Rounds(wait=waiting(wanted["device"])))
