"""transformers' `generate`, greedy, a request a tick: a batch of equal lengths, or many requests of mixed lengths in batches."""

import torch
import transformers
from rounds import Rounds, options, versions
from transformers import AutoModelForCausalLM


def main():
    """Answer until nothing more is wanted."""
    transformers.utils.logging.set_verbosity_error()
    want = options()
    torch.set_num_threads(want["threads"])
    model = AutoModelForCausalLM.from_pretrained(want["model"], dtype=getattr(torch, want["precision"])).eval()
    model.generation_config.eos_token_id = None  # nobody stops early, so that the work is equal
    settings = {"do_sample": False, "pad_token_id": 0}
    if want["is_static"]:
        settings["cache_implementation"] = "static"
        model.forward = torch.compile(model.forward, dynamic=False)
    rounds = Rounds(versions=versions("torch", "transformers"))
    while True:
        request = rounds.tick()
        requests = list(zip(request["lengths"], request["prompts"], strict=True))
        if want.get("is_sorted"):
            requests.sort(reverse=True)
        size = want.get("batch", len(requests))
        for start in range(0, len(requests), size):
            lengths, prompts = zip(*requests[start : start + size], strict=True)
            ids, new = torch.tensor(prompts), max(lengths)  # all rows go on until the longest ends
            out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=new, min_new_tokens=new, **settings)
            assert out.shape == (ids.shape[0], ids.shape[1] + new)


if __name__ == "__main__":
    main()
