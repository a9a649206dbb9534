"""litgpt's GPT trained on random tokens with Lightning Fabric, in the steps and settings of its `pretrain` command, a step a tick.

The command itself cannot be stopped between two updates; what it does in one is repeated here with its own parts.
"""

import lightning
import numpy as np
import torch
from litgpt.config import Config
from litgpt.model import GPT
from litgpt.utils import chunked_cross_entropy
from rounds import Rounds, options, peak_bytes, versions, waiting


def model_of(want):
    """The Llama-like shape in litgpt's words."""
    heads = want["width"] // want["head_dim"]
    return GPT(
        Config(
            block_size=want["seq_len"], padded_vocab_size=want["vocab_size"], vocab_size=want["vocab_size"], n_layer=want["depth"],
            n_head=heads, n_query_groups=heads, n_embd=want["width"], rotary_percentage=1.0, parallel_residual=False, bias=False,
            norm_class_name="RMSNorm", mlp_class_name="LLaMAMLP", intermediate_size=want["intermediate_size"],
        )
    )  # fmt: skip


def main():
    """Train until nothing more is wanted."""
    want = options()
    torch.set_num_threads(want["threads"])
    device, precision = want["device"], "bf16-mixed" if want["precision"] == "bfloat16" else "32-true"
    fabric = lightning.Fabric(accelerator=device, devices=1, precision=precision)
    fabric.seed_everything(want["seed"], verbose=False)
    model = model_of(want)
    model = fabric.setup(torch.compile(model) if want["compile"] else model)
    is_fused = device == "cuda"  # as it has it
    optimizer = fabric.setup_optimizers(torch.optim.AdamW(model.parameters(), lr=1e-3, fused=is_fused))
    shape = (want["num_rows"], want["seq_len"] + 1)
    tokens = torch.from_numpy(np.random.default_rng(want["seed"]).integers(0, want["vocab_size"], shape))
    rounds, start = Rounds(versions=versions("torch", "litgpt", "lightning"), wait=waiting(device)), 0
    while True:
        rounds.facts = {"peak_bytes": peak_bytes(device)}
        rounds.tick()
        batch = tokens[start : start + want["rows"]].to(fabric.device)
        start = (start + want["rows"]) % (len(tokens) - want["rows"] + 1)
        loss = chunked_cross_entropy(model(batch[:, :-1].contiguous()), batch[:, 1:].contiguous())
        fabric.backward(loss)
        fabric.clip_gradients(model, optimizer, max_norm=1.0)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()  # it logs every update


if __name__ == "__main__":
    main()
