"""trivium's engine, greedy, a request a tick: a batch of equal lengths, or many requests of mixed lengths."""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.rounds import Rounds, options
from trivium.core.world import prepare_environment


def answer(want: dict[str, Any], rounds: Rounds) -> None:
    """Answer until nothing more is wanted."""
    import torch

    from trivium.generate.engine import Engine
    from trivium.generate.sampling import Sampling
    from trivium.nn.io.directory import load_model

    torch.set_num_threads(want["threads"])
    torch.set_float32_matmul_precision("medium")
    model = load_model(Path(want["model"])).eval()
    engine = Engine(model, stop_ids=(), rows=want["rows"], **want["engine"])  # nothing stops an answer, so that the work is equal
    while True:
        request = rounds.tick()
        if "identity" in request:
            rounds.facts = {"identical": identical(model, request["identity"])}
            continue
        prompts, lengths = [np.array(prompt, np.int32) for prompt in request["prompts"]], request["lengths"]
        mixed = {} if min(lengths) == max(lengths) else {"lengths": lengths}
        examples = engine.generate(prompts, Sampling(temperature=0, max_new_tokens=max(lengths)), seed=1, **mixed)
        assert [len(example.tokens) - len(prompt) for example, prompt in zip(examples, prompts, strict=True)] == lengths


def identical(model: Any, prompts: list[list[int]]) -> dict[str, int]:
    """How many requests get the same tokens alone and among 3 and 8 others: greedy, and drawn from a seed."""
    from trivium.generate.engine import Engine
    from trivium.generate.sampling import Sampling

    arrays, found = [np.array(prompt, np.int32) for prompt in prompts], {}
    for name, temperature in (("greedy", 0.0), ("seeded", 1.0)):
        sampling = Sampling(temperature=temperature, max_new_tokens=32)
        alone, few, many = (Engine(model, stop_ids=(), rows=rows).generate(arrays, sampling, seed=7) for rows in (1, 3, 8))
        same = [all(np.array_equal(one.tokens, other.tokens) for other in others) for one, *others in zip(alone, few, many, strict=True)]
        found[name] = sum(same)
    return found


if __name__ == "__main__":
    prepare_environment()
    answer(options(), Rounds())
