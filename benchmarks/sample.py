"""python -m benchmarks.sample: new tokens a second of SmolLM2-135M, ours against transformers' `generate` and llama.cpp.

Prompts of 32 tokens and 128 new ones, greedy, nobody stops early; batch 1, 8 and 32. Then 64 requests of 8 to 256 new tokens,
where the peer gets its best chance: lengths known beforehand, sorted, in the batch size that suits it. At last the same request must
get the same tokens alone and in any batch. Both sides read the same float32 directory; llama.cpp reads the 4-bit file it came from.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ceiling import hopeless, read_bandwidth
from benchmarks.contest import PEERS, Contestant, Failed, Score, Talk, able, take_turns
from benchmarks.environment import LLAMA_CPP, TRANSFORMERS
from benchmarks.table import Work, report
from trivium.core.errors import ResourceError
from trivium.core.world import cache_folder, num_cores, prepare_environment

MODEL_PARAMETERS = 134_515_008  # all are read for every token; the embedding is the head
BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}
NUM_IDS, PROMPT_TOKENS = 49_152, 32
OURS = {"float32": {}, "bfloat16": {"precision": "bfloat16"}, "int8": {"precision": "int8"}}  # of the weights: options of Engine
PEER_SETTINGS = (("float32", False), ("float32", True), ("bfloat16", False), ("bfloat16", True))  # precision, static cache and compiled
PEER_BATCHES = ((8, True), (16, True), (32, True))  # for mixed lengths: batch, sorted by length, which only helps


def model_folder(gguf: Path) -> Path:
    """The Hugging Face directory of the model, made from the GGUF file by transformers once."""
    folder = cache_folder() / "benchmarks" / f"{gguf.stem}-float32"
    if not folder.exists():
        unfinished = folder.with_name(folder.name + ".unfinished")
        command = [str(TRANSFORMERS.python()), str(PEERS / "make_model.py"), str(gguf), str(unfinished)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ResourceError(f"{gguf.name} cannot be turned into a directory ({(done.stderr.splitlines() or ['?'])[-1][:200]})")
        unfinished.rename(folder)
    return folder


def ours(common: dict[str, Any], precisions: Sequence[str]) -> list[Contestant]:
    """Our engine with weights in each precision."""
    command = (sys.executable, "-m", "benchmarks.ours.sample")
    return [Contestant(f"trivium {name}", command, common | {"precision": name, "engine": OURS[name]}, True) for name in precisions]


def transformers_settings(common: dict[str, Any], *, is_quick: bool) -> list[Contestant]:
    """`generate` in every setting, on all cores and, uncompiled, on half of them."""
    command, cores = (str(TRANSFORMERS.python()), str(PEERS / "hf_generate.py")), num_cores()
    found = []
    for precision, is_static in PEER_SETTINGS:
        for threads in (cores,) if is_static or is_quick or cores == 1 else (cores, cores // 2):
            name = f"transformers {precision}{', static cache, compiled' if is_static else ''}, {threads} threads"
            found.append(Contestant(name, command, common | {"precision": precision, "is_static": is_static, "threads": threads}))
    return [one for one in found if not (is_quick and one.options["is_static"])]


def llama_cpp(common: dict[str, Any]) -> list[Contestant]:
    """llama.cpp with 4-bit and 8-bit weights."""
    command = (str(LLAMA_CPP.python()), str(PEERS / "llama_cpp_generate.py"))
    return [Contestant(f"llama.cpp {bits} bit", command, common | {"bits": bits}) for bits in (4, 8)]


def work(scores: Sequence[Score], name: str, request: dict[str, Any], bandwidth: float | None) -> Work:
    """One table. bandwidth: bytes a second, for the limit of reading our weights once a step; None where rows come and go."""
    tokens, rows = sum(request["lengths"]), len(request["lengths"])
    lines = [score.line(name, tokens) for score in scores]
    found = Work(f"SmolLM2-135M, {name}", "new tokens/s", lines)
    best = found.best(is_ours=True)
    if best is None or bandwidth is None:
        return found
    precision = next(score.contestant.options["precision"] for score in scores if score.contestant.name == best.name)
    return Work(found.name, found.unit, lines, ceiling=rows * bandwidth / (MODEL_PARAMETERS * BYTES[precision]))


def request_of(lengths: list[int], draw: np.random.Generator) -> dict[str, Any]:
    """Requests for so many new tokens each, with different prompts: nobody may read one for all."""
    return {"lengths": lengths, "prompts": draw.integers(100, NUM_IDS, (len(lengths), PROMPT_TOKENS)).tolist()}


def mixed_contestants(scores: Sequence[Score], work_name: str, batches: Sequence[tuple[int, bool]]) -> list[Contestant]:
    """For mixed lengths: our fastest variant, and transformers' fastest uncompiled setting in batches of these sizes, sorted or not."""
    going = [score for score in scores if not score.failed]
    ours = [score for score in going if score.contestant.is_ours]
    peers = [score for score in going if score.contestant.options.get("is_static") is False]
    entered = [max(ours, key=lambda score: score.rate(work_name, 1)).contestant] if ours else []
    if peers:
        best = max(peers, key=lambda score: score.rate(work_name, 1)).contestant
        for batch, is_sorted in batches:
            name = f"{best.name}, batches of {batch}{', sorted' if is_sorted else ''}"
            entered.append(Contestant(name, best.command, best.options | {"batch": batch, "is_sorted": is_sorted}))
    return entered


def identity(common: dict[str, Any], prompts: list[list[int]]) -> str:
    """Ask our engine in fp32 the same requests alone and in batches; one line that says how many answers were the same."""
    options = common | {"engine": {}}
    try:
        with Talk(Contestant("identity", (sys.executable, "-m", "benchmarks.ours.sample"), options, True)) as talk:
            same = talk.ask(identity=prompts)["identical"]
    except Failed as error:
        return f"same tokens alone and in any batch: not known ({error})"
    counts = ", ".join(f"{name} {count} of {len(prompts)}" for name, count in same.items())
    return f"same tokens alone and in batches of 3 and 8 (fp32): {counts}"


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the contests and print them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sample", description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="short answers, one round, nothing compiled: to see that it runs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--new-tokens", type=int, default=128)
    parser.add_argument("--rows", type=int, default=32, help="rows that our engine decodes together")
    # int8 rounds the weights, which transformers does not: fair against llama.cpp only
    parser.add_argument("--ours", nargs="+", default=["float32", "bfloat16"], choices=list(OURS), help="precision of our weights")
    parser.add_argument("--peers", nargs="*", default=["transformers"], choices=["transformers", "llama.cpp"])
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.rounds, chosen.batches, chosen.new_tokens = 1, [1, 8], 16
    prepare_environment()
    import torch

    from trivium.text.assets import fetch

    gguf, draw = fetch("smollm2"), np.random.default_rng(1)
    common = {"model": str(model_folder(gguf)), "gguf": str(gguf), "threads": num_cores(), "rows": chosen.rows}
    torch.set_num_threads(num_cores())
    bandwidth = read_bandwidth()
    entered = ours(common, chosen.ours)
    if "transformers" in chosen.peers:
        entered += able(transformers_settings(common, is_quick=chosen.quick), hopeless(("bfloat16",)))
    if "llama.cpp" in chosen.peers:
        entered += llama_cpp(common)
    fixed = {f"batch {batch}": request_of([chosen.new_tokens] * batch, draw) for batch in chosen.batches}
    scores = take_turns(entered, fixed, rounds=chosen.rounds)
    longest, count = (32, 16) if chosen.quick else (256, 64)
    mixed = {f"{count} requests of 8 to {longest}": request_of(draw.integers(8, longest + 1, count).tolist(), draw)}
    batches = PEER_BATCHES[-2:-1] if chosen.quick else PEER_BATCHES
    entered = mixed_contestants(scores, f"batch {chosen.batches[-1]}", batches)
    mixed_scores = take_turns(entered, mixed, rounds=max(1, chosen.rounds // 2))
    bandwidth = max(bandwidth, read_bandwidth())  # before and after: neighbours only ever lower it
    works = [work(scores, name, request, bandwidth) for name, request in fixed.items()]
    works += [work(mixed_scores, name, request, None) for name, request in mixed.items()]
    sizes = (3, 32, 7) if chosen.quick else (3, 32, 7, 19, 11, 32, 5, 26)
    prompts = [draw.integers(100, NUM_IDS, size).tolist() for size in sizes]
    notes = [f"read bandwidth {bandwidth / 1e9:.1f} GB/s", identity(common, prompts)]
    versions = {name: version for score in scores for name, version in score.versions.items()}
    return report("sample", works, versions, notes)


if __name__ == "__main__":
    main()
