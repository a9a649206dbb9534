"""trivium on real tokens, with the options of a `pretrain` stage or with the peer's shape and AdamW.

A request to evaluate is answered between two updates.
"""

from typing import Any

import numpy as np

from benchmarks.peers.rounds import Rounds, options
from trivium.core.world import prepare_environment


def compete(want: dict[str, Any], rounds: Rounds) -> None:
    """Train for the wanted number of updates, then go on answering."""
    from trivium.core.config import build
    from trivium.data.pack import pack
    from trivium.data.sources import Corpus
    from trivium.learn.objectives import CrossEntropy
    from trivium.learn.optim.recipes import AdamW
    from trivium.learn.schedules import Schedule
    from trivium.nn.config import llama
    from trivium.nn.model import DTYPES, Model, initialise
    from trivium.stages.machine import Machine
    from trivium.stages.models import with_kernels
    from trivium.stages.pretrain import Pretrain
    from trivium.train.trainer import Trainer

    machine = Machine(threads=want["threads"], precision=want["precision"], kernels=want["kernels"], products=want["products"]).measured()
    shape = {name: want[name] for name in ("vocab_size", "depth", "width")}
    config = llama(**shape, max_seq_len=want["seq_len"], has_qk_norm=not want["is_as_peer"])
    model = initialise(Model(config, compute_dtype=DTYPES[machine.precision]), want["seed"])
    with_kernels(model, machine, "int8" if machine.products == "int8" else "float32")
    if want["is_as_peer"]:
        optimizer = AdamW(lr=want["lr"], beta2=want["beta2"], weight_decay=want["weight_decay"])
        schedule, rows_at_once = Schedule(warmup_steps=want["warmup_steps"], shape="cosine"), want["rows"]
    else:
        stage = build(Pretrain, want["pretrain"])
        optimizer, schedule, rows_at_once = stage.optimizer, stage.schedule, stage.micro_batch_rows
    trainer = Trainer("policy", model, CrossEntropy(), optimizer(model), schedule=schedule, steps=want["steps"])
    source = Corpus(np.load(want["train"]), seq_len=want["seq_len"], rows_per_step=want["rows"], seed=want["seed"])
    heldout, step = np.load(want["heldout"]), 0
    while True:
        if rounds.tick().get("evaluate"):
            rounds.facts = {"loss": heldout_loss(model, heldout)}
            continue
        trainer.step(step, pack(source(step), rows=rows_at_once, length=want["seq_len"]))
        step += 1


def heldout_loss(model: Any, rows_BL: np.ndarray) -> float:
    """Mean loss of a held-out token in nats."""
    from trivium.core.types import example
    from trivium.train.annotate import column_of, logprobs

    columns = column_of(model, [example(row) for row in rows_BL], logprobs, rows=8, length=rows_BL.shape[1])
    return -float(np.mean([column[1:].mean(dtype=np.float64) for column in columns]))


if __name__ == "__main__":
    prepare_environment()
    compete(options(), Rounds())
