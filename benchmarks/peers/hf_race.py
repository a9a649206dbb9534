"""Hugging Face Trainer with AdamW on real tokens: cosine after a warm-up; a request to evaluate is answered between two updates."""

import tempfile

import numpy as np
import torch
import transformers
from hf_pretrain import OnBegin, Tokens, llama
from rounds import Rounds, options, versions
from transformers import Trainer, TrainingArguments


@torch.no_grad()
def heldout_loss(model, rows):
    """Mean loss of a held-out token in nats, in fp32 and without the compiler."""
    total = 0.0
    model.eval()
    for batch in torch.from_numpy(rows).split(8):
        logits = model(batch).logits[:, :-1].float()
        total += torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten(), reduction="sum").item()
    model.train()
    return total / (rows.shape[0] * (rows.shape[1] - 1))


def main():
    """Train for the wanted number of updates, then go on answering."""
    transformers.utils.logging.set_verbosity_error()
    want = options()
    torch.set_num_threads(want["threads"])
    stream, heldout = np.load(want["train"]), np.load(want["heldout"]).astype(np.int64)
    stride = want["seq_len"] - 1  # as ours: neighbouring rows share a token
    rows = np.stack([stream[start : start + stride + 1] for start in range(0, len(stream) - stride, stride)]).astype(np.int64)
    model, rounds = llama(want), Rounds(versions=versions("torch", "transformers", "accelerate"))

    def tick():
        while rounds.tick().get("evaluate"):
            rounds.facts = {"loss": heldout_loss(model, heldout)}

    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            output_dir=folder, per_device_train_batch_size=want["rows"], max_steps=want["steps"], use_cpu=True, report_to=[],
            save_strategy="no", disable_tqdm=True, bf16=want["precision"] == "bfloat16", torch_compile=want["compile"], seed=want["seed"],
            learning_rate=want["lr"], lr_scheduler_type="cosine", warmup_steps=want["warmup_steps"],
            adam_beta2=want["beta2"], weight_decay=want["weight_decay"], dataloader_drop_last=True,
        )  # fmt: skip
        Trainer(model=model, args=settings, train_dataset=Tokens(rows), callbacks=[OnBegin(tick)]).train()
        while True:
            tick()


if __name__ == "__main__":
    main()
