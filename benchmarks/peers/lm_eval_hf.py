"""lm-eval with its Hugging Face backend: the first items of a task a tick, in the batch size that the request names."""

import logging

import torch
import transformers
from lm_eval.evaluator import evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from rounds import Rounds, options, versions


def main():
    """Evaluate until nothing more is wanted; a task is loaded when it is first asked, which does not count."""
    transformers.utils.logging.set_verbosity_error()
    logging.disable(logging.WARNING)
    want = options()
    torch.set_num_threads(want["threads"])
    model = HFLM(pretrained=want["model"], dtype="float32", device="cpu", batch_size=1)
    manager, loaded = TaskManager(include_defaults=False), {}
    rounds = Rounds(versions=versions("torch", "transformers", "lm-eval"))
    while True:
        request = rounds.tick()
        task, model.batch_size_per_gpu = request["task"], request["batch"]
        name = task["task"]
        if name not in loaded:
            loaded[name] = manager.load([task])
        found = evaluate(model, loaded[name], limit=request["items"], bootstrap_iters=0, log_samples=True)
        [samples] = found["samples"].values()
        samples = sorted(samples, key=lambda sample: sample["doc_id"])
        rounds.facts = {"items": [plain(sample) for sample in samples]}


def plain(sample):
    """What the model said of an item: log-probs (with whether they are greedy), or texts."""
    said = [response for responses in sample["resps"] for response in responses]
    return [list(each) if isinstance(each, tuple) else each for each in said]


if __name__ == "__main__":
    main()
