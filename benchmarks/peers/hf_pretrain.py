"""Hugging Face Trainer pre-training a Llama from scratch on random tokens, a step a tick."""

import tempfile

import numpy as np
import torch
import transformers
from rounds import Rounds, options, peak_bytes, versions, waiting
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments


class Tokens(torch.utils.data.Dataset):
    """Rows of tokens, which are their own labels."""

    def __init__(self, tokens):
        self.rows = torch.from_numpy(tokens)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, number):
        return {"input_ids": self.rows[number], "labels": self.rows[number]}


class OnBegin(TrainerCallback):
    """Calls a function at the beginning of every update."""

    def __init__(self, call):
        self.call = call

    def on_step_begin(self, *_, **__):
        """The trainer's hook."""
        self.call()


def llama(want):
    """The model of this shape, with the library's own initialisation."""
    torch.manual_seed(want["seed"])
    heads = want["width"] // want.get("head_dim", 64)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=want["vocab_size"], hidden_size=want["width"], num_hidden_layers=want["depth"], num_attention_heads=heads,
            num_key_value_heads=heads, intermediate_size=want["intermediate_size"], max_position_embeddings=want["seq_len"],
            tie_word_embeddings=False,
        )
    )  # fmt: skip


def main():
    """Train until nothing more is wanted."""
    transformers.utils.logging.set_verbosity_error()
    want = options()
    torch.set_num_threads(want["threads"])
    tokens = np.random.default_rng(want["seed"]).integers(0, want["vocab_size"], (want["num_rows"], want["seq_len"]))
    rounds, device = Rounds(versions=versions("torch", "transformers", "accelerate"), wait=waiting(want["device"])), want["device"]

    def tick():
        rounds.facts = {"peak_bytes": peak_bytes(device)}
        rounds.tick()

    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            output_dir=folder, per_device_train_batch_size=want["rows"], max_steps=1_000_000, use_cpu=device == "cpu", report_to=[],
            save_strategy="no", disable_tqdm=True, bf16=want["precision"] == "bfloat16", torch_compile=want["compile"], learning_rate=1e-3,
        )  # fmt: skip
        Trainer(model=llama(want), args=settings, train_dataset=Tokens(tokens), callbacks=[OnBegin(tick)]).train()


if __name__ == "__main__":
    main()
