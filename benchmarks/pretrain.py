"""python -m benchmarks.pretrain: tokens a second of pre-training, ours against Hugging Face Trainer and litgpt.

The same Llama-like shape (L6 d384, 6 heads of 64, V8192, untied), 8 rows of 512 random tokens an update, on all cores. Ours runs
with the peers' AdamW and with our default, Muon, which does more work an update; the query-key norm is on, as by default.
Left out: how good the model becomes, which `benchmarks.race` measures.
"""

import argparse
import sys
from typing import Any

from benchmarks.ceiling import matmul_flops, training_shapes
from benchmarks.contest import PEERS, Contestant, Score, take_turns
from benchmarks.environment import LITGPT, TRANSFORMERS, Environment
from benchmarks.table import Line, Work, report
from trivium.core.world import num_cores, prepare_environment

SHAPE = {"vocab_size": 8192, "depth": 6, "width": 384, "intermediate_size": 1024, "seq_len": 512, "rows": 8, "num_rows": 512, "seed": 1}
OURS = (("torch", "full"), ("native", "full"), ("native", "int8"))  # kernels, products: values of Machine's options
PEER_SETTINGS = (("float32", False), ("float32", True), ("bfloat16", False), ("bfloat16", True))


def contestants(chosen: argparse.Namespace) -> list[Contestant]:
    """Ours in every variant and the chosen peers in every setting; --quick leaves out all that is compiled first."""
    shape = SHAPE | {"threads": num_cores()} | ({"rows": 2} if chosen.quick else {})
    every = [
        Contestant(
            f"trivium, {kernels} kernels, {products} products, {optimizer}",
            (sys.executable, "-m", "benchmarks.ours.pretrain"),
            shape
            | {"precision": "float32", "compile": False, "kernels": kernels, "products": products, "optimizer": optimizer}
            | {"micro_batch_rows": min(chosen.micro_batch_rows, shape["rows"])},
            is_ours=True,
        )
        for kernels, products in OURS
        for optimizer in ("adamw", "muon")
    ]
    for peer, environment, script in (("transformers", TRANSFORMERS, "hf_pretrain.py"), ("litgpt", LITGPT, "litgpt_pretrain.py")):
        if peer in chosen.peers:
            every += [_peer(peer, environment, script, shape, *setting) for setting in PEER_SETTINGS]
    return [one for one in every if not chosen.quick or one.options["compile"] in ("off", False)]


def _peer(name: str, environment: Environment, script: str, shape: dict[str, Any], precision: str, is_compiled: bool) -> Contestant:
    label = f"{name} {precision}{', compiled' if is_compiled else ''}"
    return Contestant(label, (str(environment.python()), str(PEERS / script)), shape | {"precision": precision, "compile": is_compiled})


def work(scores: list[Score], shape: dict[str, Any], flops_per_token: float, ceilings: dict[str, float]) -> Work:
    """The table of this contest. The ceiling is the faster of the fp32 and bf16 products, whatever a contestant computes in."""
    tokens, fastest = shape["rows"] * shape["seq_len"], max(ceilings["float32"], ceilings["bfloat16"])
    lines = []
    for score in scores:
        name, is_ours = score.contestant.name, score.contestant.is_ours
        if score.failed:
            lines.append(Line(name, is_ours, failed=score.failed))
            continue
        value, rates = score.rate("steps", tokens), score.rates("steps", tokens)
        own = ceilings[score.contestant.options["precision"]]
        notes = {"GFLOP/s": f"{value * flops_per_token / 1e9:.0f}", "of its own ceiling": f"{value * flops_per_token / own:.0%}"}
        lines.append(Line(name, is_ours, value, min(rates), max(rates), notes=notes))
    name = "train L{depth} d{width} V{vocab_size}, {rows} rows of {seq_len}".format(**shape)
    return Work(name, "tokens/s", lines, ceiling=fastest / flops_per_token)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the contest and print it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pretrain", description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="2 rows, 2 rounds, nothing compiled: to see that it runs")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=3, help="updates of each contestant in a round")
    parser.add_argument("--micro-batch-rows", type=int, default=8, help="rows that ours takes at a time")
    parser.add_argument("--peers", nargs="*", default=["transformers", "litgpt"], choices=["transformers", "litgpt"])
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.rounds, chosen.steps = 2, 2
    prepare_environment()
    import torch

    from trivium.nn.config import llama
    from trivium.nn.flops import flops_per_token

    entered = contestants(chosen)
    shape = entered[0].options
    config = llama(vocab_size=shape["vocab_size"], depth=shape["depth"], width=shape["width"], max_seq_len=shape["seq_len"])
    torch.set_num_threads(num_cores())
    products = training_shapes(config, shape["rows"] * shape["seq_len"])
    names = ("float32", "bfloat16", "int8")
    before = {name: matmul_flops(getattr(torch, name), products) for name in names}
    scores = take_turns(entered, {"steps": {"steps": chosen.steps}}, rounds=chosen.rounds)
    ceilings = {name: max(before[name], matmul_flops(getattr(torch, name), products)) for name in names}  # neighbours only ever lower it
    versions = {name: version for score in scores for name, version in score.versions.items()}
    ceiling_line = "matmul ceilings at these shapes, GFLOP/s: " + ", ".join(f"{name} {flops / 1e9:.0f}" for name, flops in ceilings.items())
    return report("pretrain", [work(scores, shape, flops_per_token(config, shape["seq_len"]), ceilings)], versions, [ceiling_line])


if __name__ == "__main__":
    main()
