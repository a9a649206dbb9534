"""TRL's trainers on the benchmark's own data, an update a tick: SFT, DPO, reward model, GRPO."""

import json
import tempfile
import time
from pathlib import Path

import datasets
import torch
import transformers
from rounds import Rounds, options, peak_bytes, versions
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, TrainerCallback
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, RewardConfig, RewardTrainer, SFTConfig, SFTTrainer

WORKS = {
    "sft": (SFTConfig, SFTTrainer),
    "dpo": (DPOConfig, DPOTrainer),
    "reward": (RewardConfig, RewardTrainer),
    "grpo": (GRPOConfig, GRPOTrainer),
}
PAD, EOS = "<pad>", "<eos>"  # ids 0 and 1


class Watch(TrainerCallback):
    """Ticks at the beginning of every update; knows what the update before it did."""

    def __init__(self, rounds, work):
        self.rounds, self.work = rounds, work
        self.amount, self.sampling, self.added = 0, 0.0, 0.0

    def on_step_begin(self, *_, **__):
        """The trainer's hook."""
        self.rounds.facts = {"peak_bytes": peak_bytes("cpu")}
        more = {"sampling": self.sampling} if self.work == "grpo" else {}
        self.rounds.tick(amounts=self.amount, added=self.added, **more)
        self.amount, self.sampling = 0, 0.0

    def count(self, inputs):
        """What a micro-batch holds: tokens without padding, pairs, or answers' tokens."""
        if self.work == "sft":
            self.amount += int(inputs["attention_mask"].sum()) if "attention_mask" in inputs else inputs["input_ids"].numel()
        elif self.work == "grpo":
            self.amount += int(inputs["completion_mask"].sum())
        else:
            self.amount += len(inputs["input_ids"]) // 2


def words(vocab_size):
    """A tokenizer whose words are its ids, so that texts are the benchmark's own ids."""
    vocabulary = {PAD: 0, EOS: 1, **{word_of(number): number for number in range(2, vocab_size)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=PAD))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, eos_token=EOS, padding_side="left")


def word_of(number):
    """The text of an id."""
    return EOS if number == 1 else f"w{number}"


def text_of(ids):
    """The text of several."""
    return " ".join(map(word_of, ids))


def dataset_of(work, rows):
    """The benchmark's rows in the form that the trainer wants."""
    if work == "sft":
        whole = [row["prompt"] + row["answer"] for row in rows]
        labels = [[-100] * len(row["prompt"]) + row["answer"] for row in rows]
        return datasets.Dataset.from_dict({"input_ids": whole, "labels": labels})
    if work == "reward":
        return datasets.Dataset.from_dict({f"{side}_ids": [row["prompt"] + row[side] for row in rows] for side in ("chosen", "rejected")})
    texts = {"prompt": [text_of(row["prompt"]) for row in rows]}
    if work == "dpo":
        texts |= {side: [" " + text_of(row[side]) for row in rows] for side in ("chosen", "rejected")}
    return datasets.Dataset.from_dict(texts)


def letters(completions, **_):
    """The rule: how many sevens are in an answer."""
    return [float(text.count("7")) for text in completions]


def timed(call, then):
    """The same call, which lets `then` have its seconds."""

    def timed_call(*arguments, **more):
        start = time.perf_counter()
        found = call(*arguments, **more)
        then(time.perf_counter() - start)
        return found

    return timed_call


def trainer_of(want, folder, watch):
    """The trainer with the settings of this contestant over those of the work."""
    config_class, trainer_class = WORKS[want["work"]]
    settings = {
        "output_dir": folder, "max_steps": 1_000_000, "use_cpu": True, "report_to": [], "save_strategy": "no", "disable_tqdm": True,
        "learning_rate": 1e-6, "lr_scheduler_type": "constant", "train_sampling_strategy": "sequential", "adam_beta2": 0.95,
    } | want["settings"]  # fmt: skip
    more = {}
    if want["work"] == "grpo":
        new, more = want["new_tokens"], {"reward_funcs": letters}
        settings |= {"max_completion_length": new, "num_generations": want["answers"], "shuffle_dataset": False}
        settings.setdefault("generation_kwargs", {"min_new_tokens": new})  # nobody stops early, so that the work is equal
    rows = json.loads(Path(want["data"]).read_text())
    return trainer_class(
        model=want["model"], args=config_class(**settings), train_dataset=dataset_of(want["work"], rows),
        processing_class=words(want["vocab_size"]), callbacks=[watch], **more,
    )  # fmt: skip


def watch_precomputing(watch, pairs):
    """The seconds of reading the reference beforehand, for the pairs of an update: each is read once, as in one epoch."""
    method = DPOTrainer._precompute_ref_logps

    def precompute(trainer, dataset, *arguments, **more):
        then = lambda seconds: setattr(watch, "added", seconds / len(dataset) * pairs)  # noqa: E731
        return timed(method, then)(trainer, dataset, *arguments, **more)

    DPOTrainer._precompute_ref_logps = precompute


def watch_steps(trainer, watch):
    """Count what micro-batches hold, and how long sampling takes."""
    compute_loss = trainer.compute_loss

    def counted(model, inputs, *arguments, **more):
        watch.count(inputs)
        return compute_loss(model, inputs, *arguments, **more)

    trainer.compute_loss = counted
    if watch.work == "grpo":
        sample = trainer._generate_single_turn
        trainer._generate_single_turn = timed(sample, lambda seconds: setattr(watch, "sampling", watch.sampling + seconds))


def main():
    """Train until nothing more is wanted."""
    transformers.utils.logging.set_verbosity_error()
    datasets.disable_caching()
    datasets.disable_progress_bars()
    want = options()
    torch.set_num_threads(want["threads"])
    watch = Watch(Rounds(versions=versions("torch", "transformers", "trl", "accelerate", "datasets")), want["work"])
    if want["settings"].get("precompute_ref_log_probs"):
        watch_precomputing(watch, want["rows"])
    with tempfile.TemporaryDirectory() as folder:
        trainer = trainer_of(want, folder, watch)
        watch_steps(trainer, watch)
        trainer.train()


if __name__ == "__main__":
    main()
