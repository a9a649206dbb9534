"""lm-eval with its Hugging Face backend: all of a task's requests a tick, in one batch size."""

import logging

import torch
import transformers
from lm_eval.evaluator import evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from rounds import Rounds, options, versions


def main():
    """Evaluate until nothing more is wanted; a task is loaded when it is first asked, in the round that does not count."""
    transformers.utils.logging.set_verbosity_error()
    logging.disable(logging.WARNING)
    want = options()
    torch.set_num_threads(want["threads"])
    model = HFLM(pretrained=want["model"], dtype="float32", device="cpu", batch_size=want["batch"])
    manager, loaded = TaskManager(include_defaults=False), {}
    rounds = Rounds(versions=versions("torch", "transformers", "lm-eval"))
    while True:
        task = rounds.tick()["task"]
        name = task["task"]
        if name not in loaded:
            loaded[name] = manager.load([task])
        found = evaluate(model, loaded[name], bootstrap_iters=0, log_samples=True)
        [samples] = found["samples"].values()
        samples = sorted(samples, key=lambda sample: sample["doc_id"])
        rounds.facts = {"items": [plain(sample) for sample in samples]}


def plain(sample):
    """What the model said of an item: log-probs (with whether they are greedy), or texts."""
    said = [response for responses in sample["resps"] for response in responses]
    return [list(each) if isinstance(each, tuple) else each for each in said]


if __name__ == "__main__":
    main()
