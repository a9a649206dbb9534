"""python -m benchmarks.proxy: proxy tuning against its three models run apart, one after the other, on the same requests.

A token of a proxy costs one of the base and one of each small model, and putting their logits together. Everything beyond the sum of the
three run apart is overhead; the goal is at most 1.3 times that sum. A line of its own has the two small models read one after the other,
where our kernels read them side by side. Nothing stops an answer, so the work is equal, and the contestants take turns, so that a machine
that becomes slower hits all alike.
"""

import argparse
import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import numpy as np

from benchmarks.table import Line, Work, report
from trivium.core.world import num_cores, prepare_environment
from trivium.nn.config import llama

GOAL = 1.3
TOGETHER, IN_TURN, APART = "three together", "the same, small ones in turn", "three apart"
WORDS = 4096
SIZES = {  # depth and width of the base, and of the small models
    "quickstart": ((4, 256), (2, 128)),
    "17m beside quickstart": ((6, 384), (4, 256)),
}  # fmt: skip


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Time both and print it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.proxy", description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="short answers, two rounds: to see that it runs")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--kernels", choices=["native", "torch"], default="native")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.rounds, chosen.batches, chosen.new_tokens = 2, [1, 4], 8
    prepare_environment()
    import torch

    torch.set_num_threads(num_cores())
    works = [
        _work(f"{name}, batch {batch}", _speakers(base, small, batch, chosen), rounds=chosen.rounds)
        for name, (base, small) in SIZES.items()
        for batch in chosen.batches
    ]
    slowest = max(1 / work.ratio for work in works if work.ratio)
    return report("proxy", works, {}, [f"together at most {slowest:.2f} times the sum of the three apart (the goal is {GOAL})"])


def _speakers(base: tuple[int, int], small: tuple[int, int], batch: int, chosen: Any) -> dict[str, Callable[[], None]]:
    """What answers with the three together, and with each of them alone, one after the other; by name."""
    from trivium.generate.engine import Engine
    from trivium.generate.sampling import Sampling
    from trivium.nn.model import Model, initialise
    from trivium.nn.proxy import Contrast, ProxyModel

    draw = np.random.default_rng(1)
    prompts = [draw.integers(0, WORDS, 16) for _ in range(batch)]
    sampling = Sampling(temperature=0.7, max_new_tokens=chosen.new_tokens)
    shapes = [llama(vocab_size=WORDS, depth=depth, width=width, max_seq_len=256, head_dim=64) for depth, width in (base, small, small)]
    three = [initialise(Model(shape), seed).to(chosen.device) for seed, shape in enumerate(shapes)]
    proxy = ProxyModel(*three, Contrast())
    together, in_turn, *apart = (Engine(each, stop_ids=(), rows=batch, kernels=chosen.kernels) for each in (proxy, proxy, *three))

    def answers(*speaking: Any) -> Callable[[], None]:
        def answer() -> None:
            for engine in speaking:
                engine.generate(prompts, sampling, seed=1)

        return answer

    answers(in_turn)()
    reader: Any = in_turn._reader  # it is kept from call to call
    reader._twins = None
    return {TOGETHER: answers(together), IN_TURN: answers(in_turn), APART: answers(*apart)}


def _work(name: str, speakers: Mapping[str, Callable[[], None]], *, rounds: int) -> Work:
    """Seconds of each, in turns; the first round warms up."""
    seconds: dict[str, list[float]] = {title: [] for title in speakers}
    for number in range(rounds + 1):
        for title, answer in list(speakers.items())[:: 1 if number % 2 else -1]:
            started = time.perf_counter()
            answer()
            if number:
                seconds[title].append(time.perf_counter() - started)
    lines = [Line(title, title != APART, median(each), min(each), max(each)) for title, each in seconds.items()]
    return Work(name, "seconds", lines, is_cost=True)


if __name__ == "__main__":
    main()
