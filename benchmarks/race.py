"""python -m benchmarks.race: bits per byte of held-out text against time, ours against Hugging Face Trainer with AdamW.

The same text, tokenizer, rows and held-out bytes. First every contestant's settings are timed in turns and its fastest one is
kept; from its speed follows how many updates fit into the minutes, so that every learning-rate schedule ends when the time does.
Then they train in turns. Not counted on any side: starting, evaluating, and what the first two updates take longer (compiling).
Ours trains as `trivium pretrain` would: the dial makes batch and rates of the tokens that it reads in the minutes.
`half` is ours with half the minutes: where it ends below the peer, ours needs at most half.

The peer's rate and rows (PEER) are chosen by `--sweep`, which trains it alone with each of SWEEP for the same time.
"""

import argparse
import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.ceiling import hopeless
from benchmarks.contest import PEERS, Contestant, able, take_turns
from benchmarks.curves import Curve, record, work
from benchmarks.environment import TRANSFORMERS
from benchmarks.table import aligned, report
from trivium.core.errors import ResourceError
from trivium.core.world import cache_folder, num_cores, prepare_environment
from trivium.nn.scaling import SMALL_TOKENS

SHAPE = {"vocab_size": 8192, "depth": 4, "width": 256, "intermediate_size": 704, "seq_len": 256}
PEER = {"rows": 8, "lr": 2e-3, "warmup_steps": 20, "beta2": 0.95, "weight_decay": 0.1}
SWEEP = {"lr": (5e-4, 1e-3, 2e-3, 4e-3, 8e-3), "rows": (4, 8, 16)}
OURS = (  # kernels, products, precision
    ("native", "int8", "bfloat16"), ("native", "full", "bfloat16"), ("native", "int8", "float32"), ("native", "full", "float32"),
    ("torch", "full", "float32"),
)  # fmt: skip
HELDOUT_ROWS = 128
CHECKS = 20  # evaluations of a race, and turns
TRANSFORMERS_NAME, HALF = "transformers AdamW", ", half the time"
Run = tuple[Contestant, float, str]  # who, for how many minutes, under which name
CONTESTANTS = ("trivium", "as-peer", "transformers", "half")


def prepare(data: Sequence[str], folder: Path, heldout_share: float, *, is_aligned: bool = False) -> tuple[dict[str, Any], float]:
    """Clean, tokenize and write what all contestants read; the options that say where, and bytes a token of the held-out text.

    is_aligned: held-out rows begin where documents do, as texts do in use; at most one a document.
    """
    import trivium
    from trivium.text.shards import Shard
    from trivium.text.tokenizer import Tokenizer

    prepared = trivium.prepare(sources=list(data), heldout_share=heldout_share, out=folder / "prepare")
    tokens = trivium.tokenize(corpus=str(prepared / "prepare" / "corpus"), vocab_size=SHAPE["vocab_size"], out=folder / "tokenize")
    train, heldout = (Shard.open(tokens / "tokenize" / part) for part in ("train", "heldout"))
    length = SHAPE["seq_len"]
    starts = np.linspace(0, heldout.num_tokens - length, min(HELDOUT_ROWS, heldout.num_tokens // length)).astype(int)
    if is_aligned:
        begins = heldout.starts[heldout.starts <= heldout.num_tokens - length]
        starts = np.unique(begins[np.searchsorted(begins, starts, side="right") - 1])
    np.save(folder / "train.npy", train.tokens)
    np.save(folder / "starts.npy", train.starts)
    np.save(folder / "heldout.npy", np.stack([heldout.tokens[start : start + length] for start in starts]))
    files = {part: str(folder / f"{part}.npy") for part in ("train", "starts", "heldout")}
    vocab_size = Tokenizer.load(tokens / "tokenize").vocab_size
    return files | SHAPE | {"vocab_size": vocab_size, "threads": num_cores()}, heldout.num_bytes / heldout.num_tokens


def entrants(common: dict[str, Any], wanted: Sequence[str], *, is_quick: bool) -> dict[str, list[Contestant]]:
    """Each that is wanted with all its settings; the peer, where it must be quick, with one. `half` is a race of trivium's."""
    found: dict[str, list[Contestant]] = {}
    ours = (sys.executable, "-m", "benchmarks.ours.race")
    for kernels, products, precision in OURS:
        options = common | PEER | {"precision": precision, "compile": False, "kernels": kernels, "products": products, "is_as_peer": True}
        setting = f" ({kernels} kernels, {precision}, {products} products)"
        if {"trivium", "half"} & set(wanted):
            as_user = dialled(options | {"is_as_peer": False}, SMALL_TOKENS)
            found.setdefault("trivium", []).append(Contestant("trivium" + setting, ours, as_user, True))
        if "as-peer" in wanted:
            found.setdefault("as-peer", []).append(Contestant("trivium, the peer's shape and AdamW" + setting, ours, options, True))
    if "transformers" in wanted:
        found["transformers"] = peers(common, is_quick=is_quick)
    return found


def peers(common: dict[str, Any], *, is_quick: bool) -> list[Contestant]:
    """Hugging Face Trainer in its settings."""
    command, found = (str(TRANSFORMERS.python()), str(PEERS / "hf_race.py")), []
    for precision in ("float32",) if is_quick else ("float32", "bfloat16"):
        for is_compiled in (False,) if is_quick else (False, True):
            setting = f" ({precision}{', compiled' if is_compiled else ''})"
            options = common | PEER | {"precision": precision, "compile": is_compiled}
            found.append(Contestant(TRANSFORMERS_NAME + setting, command, options))
    return found


def dialled(options: dict[str, Any], tokens: float) -> dict[str, Any]:
    """Ours with what `trivium pretrain` derives for a horizon of so many tokens: rows an update, learning rates."""
    from trivium.core.config import plain
    from trivium.nn.flops import flops_per_token
    from trivium.stages.pretrain import Pretrain

    given = {name: options[name] for name in ("depth", "width", "seq_len")}
    open_stage = Pretrain(tokens="@tokenize", time_budget="1s", **given)
    a_token = flops_per_token(open_stage.shape_at(given["depth"], options["vocab_size"]), given["seq_len"])
    stage, _ = open_stage.settled(options["vocab_size"], lambda _: tokens * a_token)  # the budget, whatever its seconds, is this work
    return options | {"pretrain": plain(stage), "rows": stage.batch_tokens // stage.seq_len}


def lineup(
    fastest: Mapping[str, Contestant], seconds: dict[Contestant, float], minutes: float, wanted: Sequence[str], *, rounds: int
) -> list[Run]:
    """Who runs how long under which name; ours with its batch for that time, at which its updates are timed again."""
    runs = []
    for name in wanted:
        one, length = fastest["trivium" if name == "half" else name], minutes / 2 if name == "half" else minutes
        if name in ("trivium", "half"):
            usual, rows = one, one.options["rows"]
            tokens = 60 * length / seconds[usual] * rows * one.options["seq_len"]
            one = Contestant(usual.name, usual.command, dialled(usual.options, tokens), True)
            by_rows = seconds[usual] * one.options["rows"] / rows
            seconds[one] = step_seconds([one], rounds=rounds).get(one, by_rows)  # one that fails is told in the race
        runs.append((one, length, one.name + HALF * (name == "half")))
    return runs


def step_seconds(contestants: Sequence[Contestant], *, rounds: int = 3, updates: int = 4) -> dict[Contestant, float]:
    """How long an update takes each of them, measured in turns; those that fail are missing."""
    going = [Contestant(one.name, one.command, one.options | {"steps": 1000, "seed": 0}, one.is_ours) for one in contestants]
    scores = take_turns(going, {"updates": {"steps": updates}}, rounds=rounds)
    for score in (score for score in scores if score.failed):
        print(f"{score.contestant.name} failed: {score.failed}")
    return {one: 1 / score.rate("updates", 1) for one, score in zip(contestants, scores, strict=True) if not score.failed}


def main(arguments: list[str] | None = None) -> dict[str, Any] | None:
    """Run the races and print them; with --sweep, only the peer's table of rates."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.race", description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="a fifth of a minute, one seed, fp32, nothing compiled: to see that it runs")
    parser.add_argument("--data", nargs="+", default=["wiki-leads", "gcide"], help="text or jsonl files, or names of assets")
    parser.add_argument("--heldout-share", type=float, default=0.05, help="of the documents")
    parser.add_argument("--minutes", type=float, nargs="+", default=[5, 15])
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=CONTESTANTS, help="who races; half: ours in half the time")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=cache_folder() / "benchmarks" / "race", help="folder for the tokens and race.csv")
    parser.add_argument("--sweep", action="store_true", help="find the peer's learning rate and rows")
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.minutes, chosen.seeds = [0.2], 1
    prepare_environment()
    common, bytes_per_token = prepare(chosen.data, chosen.out, chosen.heldout_share)
    if chosen.sweep:
        return sweep(able(peers(common, is_quick=chosen.quick), hopeless(("bfloat16",))), chosen.minutes[0], bytes_per_token)
    slow, rounds = hopeless(("bfloat16", "int8")), 1 if chosen.quick else 3
    entered = entrants(common, chosen.contestants, is_quick=chosen.quick)
    found = {name: able(settings, slow)[: 1 if chosen.quick else None] for name, settings in entered.items()}
    seconds = step_seconds([one for settings in found.values() for one in settings], rounds=rounds)
    fastest = {name: fastest_of(name, settings, seconds) for name, settings in found.items()}
    curves = []
    for minutes in chosen.minutes:
        runs = lineup(fastest, seconds, minutes, chosen.contestants, rounds=rounds)
        for seed in range(1, chosen.seeds + 1):
            curves += race(runs, seconds, seed, bytes_per_token, minutes, checks=4 if chosen.quick else CHECKS)
    write_csv(chosen.out / "race.csv", curves)
    versions = {name: version for curve in curves for name, version in curve.versions.items()}
    peer = fastest["transformers"].name if "transformers" in fastest else None
    works = [work(curves, minutes, peer, common) for minutes in chosen.minutes]
    return report("race", works, versions, [f"data: {' '.join(chosen.data)}; curves: {chosen.out / 'race.csv'}"])


def fastest_of(name: str, settings: Sequence[Contestant], seconds: Mapping[Contestant, float]) -> Contestant:
    """The setting whose updates take the least time. Raises ResourceError if none could be timed."""
    timed = [one for one in settings if one in seconds]
    if not timed:
        raise ResourceError(f"{name}: no setting of it could train here (the reasons are above); choose the others with --contestants")
    return min(timed, key=lambda one: seconds[one])


def race(
    runs: Sequence[Run], seconds: Mapping[Contestant, float], seed: int, bytes_per_token: float, minutes: float, *, checks: int
) -> list[Curve]:
    """The curve of each run in the race over so many minutes; all of them train in turns."""
    started = []
    for one, length, name in runs:
        steps = max(checks, round(60 * length / seconds[one]))
        named = Contestant(name, one.command, one.options | {"steps": steps, "seed": seed}, one.is_ours)
        started.append(Curve(named, minutes, seed, steps))
    return record(started, bytes_per_token, checks=checks)


def sweep(settings: Sequence[Contestant], minutes: float, bytes_per_token: float) -> None:
    """Print what the peer reaches with each learning rate and number of rows in the same time, in its fastest setting."""
    seconds = step_seconds(settings)
    best = fastest_of("transformers", settings, seconds)
    table = [["rows", *(f"lr {lr:g}" for lr in SWEEP["lr"])]]
    for rows in SWEEP["rows"]:
        resized = Contestant(best.name, best.command, best.options | {"rows": rows})
        pace = median(step_seconds([resized]).values())
        tried = [Contestant(f"{rows} rows, lr {lr:g}", best.command, resized.options | {"lr": lr}) for lr in SWEEP["lr"]]
        curves = race([(one, minutes, one.name) for one in tried], dict.fromkeys(tried, pace), 1, bytes_per_token, minutes, checks=4)
        table.append([str(rows), *(f"{curve.final:.4f}" for curve in curves)])
    print(f"\n{best.name}: bits per byte after {minutes:g} minutes, {bytes_per_token:.3f} bytes a token\n{aligned(table)}")


def write_csv(path: Path, curves: Sequence[Curve]) -> None:
    """Every point of every curve."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["contestant", "minutes", "seed", "updates", "seconds", "bits_per_byte"])
        for curve in curves:
            rows.writerows([curve.name, curve.minutes, curve.seed, *point] for point in curve.points())


if __name__ == "__main__":
    main()
