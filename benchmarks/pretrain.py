"""python -m benchmarks.pretrain: tokens a second of pre-training, ours against Hugging Face Trainer and litgpt, on a CPU or a GPU.

The same Llama-like shape, rows of random tokens an update, on all cores or one GPU. Ours runs with the peers' AdamW and with our
default, Muon, which does more work an update; the query-key norm is on, as by default.
Left out: how good the model becomes, which `benchmarks.race` measures.
"""

import argparse
import sys
from typing import Any

from benchmarks.ceiling import hopeless, matmul_flops, training_shapes
from benchmarks.contest import PEERS, Contestant, Score, able, one_by_one, take_turns
from benchmarks.environment import LITGPT, TRANSFORMERS, Environment
from benchmarks.shapes import SHAPES, Shape, palm_flops_per_token
from benchmarks.table import Work, report
from trivium.core.errors import ConfigError
from trivium.core.world import num_cores, prepare_environment
from trivium.nn.flops import flops_per_token

# Ours by device: options of Machine, and whether torch's compiler is used
OURS: dict[str, dict[str, dict[str, Any]]] = {
    "cpu": {
        "torch": {"precision": "float32", "kernels": "torch", "products": "full", "compile": False},
        "native": {"precision": "float32", "kernels": "native", "products": "full", "compile": False},
        "native bf16": {"precision": "bfloat16", "kernels": "native", "products": "full", "compile": False},
        "int8": {"precision": "float32", "kernels": "native", "products": "int8", "compile": False},
        "int8 bf16": {"precision": "bfloat16", "kernels": "native", "products": "int8", "compile": False},
    },
    "cuda": {
        "bf16": {"precision": "bfloat16", "kernels": "torch", "products": "full", "compile": True},
        "fp8": {"precision": "bfloat16", "kernels": "torch", "products": "fp8", "compile": True},
    },
}
PEER_SETTINGS = {  # precision, compiled
    "cpu": (("float32", False), ("float32", True), ("bfloat16", False), ("bfloat16", True)),
    "cuda": (("bfloat16", False), ("bfloat16", True)),
}
PEER_SCRIPTS = {"transformers": (TRANSFORMERS, "hf_pretrain.py"), "litgpt": (LITGPT, "litgpt_pretrain.py")}
STEPS = {"cpu": 3, "cuda": 20}


def contestants(shape: Shape, chosen: argparse.Namespace) -> list[Contestant]:
    """Ours in the chosen variants and the chosen peers in every setting; --quick leaves out all that is compiled first."""
    options = shape.options(min(2, shape.rows) if chosen.quick else shape.rows) | {"threads": num_cores(), "device": chosen.device}
    rows = {"micro_batch_rows": min(chosen.micro_batch_rows or options["rows"], options["rows"])}
    every = [
        Contestant(
            f"trivium, {name}, {optimizer}",
            (sys.executable, "-m", "benchmarks.ours.pretrain"),
            options | rows | variant | {"optimizer": optimizer},
            is_ours=True,
        )
        for name, variant in OURS[chosen.device].items()
        for optimizer in chosen.optimizers
        if not chosen.ours or name in chosen.ours
    ]
    for peer in chosen.peers:
        environment, script = PEER_SCRIPTS[peer]
        every += [_peer(peer, environment, script, options, *setting) for setting in PEER_SETTINGS[chosen.device]]
    return [one for one in every if not (chosen.quick and chosen.device == "cpu" and one.options["compile"])]


def _peer(name: str, environment: Environment, script: str, options: dict[str, Any], precision: str, is_compiled: bool) -> Contestant:
    label = f"{name} {precision}{', compiled' if is_compiled else ''}"
    return Contestant(label, (str(environment.python()), str(PEERS / script)), options | {"precision": precision, "compile": is_compiled})


def work(scores: list[Score], shape: Shape, ceilings: dict[str, float], peak: float) -> Work:
    """The table of one shape. The ceiling is the fastest of the measured products but int8, whatever a contestant computes in.

    peak: FLOP/s of the device's data sheet, 0 if it is not known.
    """
    config, rows = shape.config(), scores[0].contestant.options["rows"]
    counted, palm = flops_per_token(config, shape.seq_len), palm_flops_per_token(config, shape.seq_len)

    def notes(score: Score, value: float) -> dict[str, str]:
        own = ceilings[score.contestant.options["precision"]]
        found = {"GFLOP/s": f"{value * counted / 1e9:,.0f}", "of its own ceiling": f"{value * counted / own:.0%}"}
        found |= {"MFU (PaLM's count)": f"{value * palm / peak:.1%}"} if peak else {}
        return found | {"peak GiB": f"{score.peak_bytes('steps') / 2**30:.1f}"}

    lines = [score.line("steps", rows * shape.seq_len, notes) for score in scores]
    fastest = max(flops for name, flops in ceilings.items() if name != "int8")
    return Work(f"train {shape}, {rows} rows of {shape.seq_len}", "tokens/s", lines, ceiling=fastest / counted)


def race(shape: Shape, chosen: argparse.Namespace, peak: float) -> tuple[Work, dict[str, str], str]:
    """All contestants on one shape: the table, their versions, and a line with the ceilings."""
    import torch

    slow = hopeless(("bfloat16", "int8")) if chosen.device == "cpu" else {}
    entered = able(contestants(shape, chosen), slow)
    products = training_shapes(shape.config(), entered[0].options["rows"] * shape.seq_len)
    names = [name for name in ("float32", "bfloat16", "int8") if name not in slow] if chosen.device == "cpu" else ["bfloat16"]

    def measured() -> dict[str, float]:
        return {name: matmul_flops(getattr(torch, name), products, device=chosen.device) for name in names}

    before = measured()
    if chosen.device == "cuda":
        torch.cuda.empty_cache()  # the contestants need it
    run = take_turns if chosen.device == "cpu" else one_by_one
    scores = run(entered, {"steps": {"steps": chosen.steps or STEPS[chosen.device]}}, rounds=chosen.rounds)
    ceilings = {name: max(before[name], flops) for name, flops in measured().items()}  # neighbours only ever lower it
    versions = {name: version for score in scores for name, version in score.versions.items()}
    line = f"matmul ceilings at the shapes of {shape}, GFLOP/s: " + ", ".join(f"{name} {x / 1e9:,.0f}" for name, x in ceilings.items())
    return work(scores, shape, ceilings, peak), versions, line


def targets(names: list[str]) -> list[str]:
    """A line for each shape that has a target."""
    return [
        f"target at {name} on one H100 SXM: {SHAPES[name].target:,.0f} tokens/s ({SHAPES[name].target_source})"
        for name in names
        if SHAPES[name].target
    ]


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """The command line. Raises ConfigError for a device that is not there, or several, of which a peer would take all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pretrain", description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--preset", nargs="+", choices=[*SHAPES], help="laptop on a CPU, 124m on a GPU, if not given")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--profile", action="store_true", help="no contest: print what a training step of ours spends its time on")
    parser.add_argument("--quick", action="store_true", help="2 rows, 2 rounds, on a CPU nothing compiled: to see that it runs")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=0, help="updates of each contestant in a round; 0: 3 on a CPU, 20 on a GPU")
    parser.add_argument("--micro-batch-rows", type=int, default=0, help="rows that ours takes at a time; 0: all")
    parser.add_argument("--ours", nargs="+", choices=[name for variants in OURS.values() for name in variants], help="all if not given")
    parser.add_argument("--optimizers", nargs="+", default=["adamw", "muon"], choices=["adamw", "muon"])
    parser.add_argument("--peers", nargs="*", default=[*PEER_SCRIPTS], choices=[*PEER_SCRIPTS])
    chosen = parser.parse_args(arguments)
    chosen.preset = chosen.preset or (["laptop"] if chosen.device == "cpu" else ["124m"])
    if chosen.profile:
        chosen.peers = []
    if chosen.quick:
        chosen.rounds, chosen.steps = 2, 2
    if chosen.device == "cuda":
        import torch

        if torch.cuda.device_count() != 1:
            raise ConfigError(
                f"--device cuda: torch finds {torch.cuda.device_count()} GPUs, and this benchmark compares on one;"
                " choose it with CUDA_VISIBLE_DEVICES=0"
            )
    return chosen


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the contest on every chosen shape and print it; with --profile, tables of operations instead."""
    prepare_environment()
    chosen = parsed(arguments)
    import torch

    from trivium.stages.machine import device_name, peak_flops

    torch.set_num_threads(num_cores())
    if chosen.profile:
        from benchmarks.remains import table

        for name in chosen.preset:
            entered = [one for one in contestants(SHAPES[name], chosen) if one.is_ours]
            print(f"{entered[0].name}, {name}\n{table(entered[0].options)}")
        return {}
    peak = peak_flops(device_name(chosen.device))
    works, versions, lines = [], {}, []
    for name in chosen.preset:
        table_of_shape, found, line = race(SHAPES[name], chosen, peak)
        works, versions, lines = [*works, table_of_shape], versions | found, [*lines, line]
    return report("pretrain", works, versions, [*lines, *(targets(chosen.preset) if chosen.device == "cuda" else [])])


if __name__ == "__main__":
    main()
