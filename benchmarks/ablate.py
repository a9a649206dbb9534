"""python -m benchmarks.ablate: variations of our recipe for pre-training against the default, on the same text for the same time.

Every variation is one change. Their seconds an update are measured in turns; from these follows how many updates fit into the
minutes, so that every schedule ends when the time does. Then all of them train in turns, for several seeds, and are compared with
the default seed by seed: a difference counts if its 95 % interval (Student's t over the seeds) leaves out 0. Of a dozen variations
that change nothing, one comes out so every other time; so what is better goes together into a second race, with the default.
"""

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from statistics import mean, median
from typing import Any

from benchmarks.contest import Contestant
from benchmarks.curves import Curve
from benchmarks.race import PEER, prepare, race, step_seconds, write_csv
from benchmarks.table import Line, Work, report
from trivium.core.config import merge
from trivium.core.world import cache_folder, prepare_environment
from trivium.nn.variants import SPEEDRUN
from trivium.report.intervals import mean_interval

DEFAULT, PRESET, SUM = "default", "speedrun as it is", "sum of the winners"
VARIATIONS: dict[str, dict[str, Any]] = {  # what each changes in RECIPE of ours/race.py: SwiGLU, norms on queries and keys, Muon
    DEFAULT: {},
    "no qk-norm": {"has_qk_norm": False},
    "AdamW": {"optimizer": {"kind": "adamw", **{name: PEER[name] for name in ("lr", "beta2", "weight_decay")}}},
    "relu2, plain MLP of 4x": {"traits": {"activation": "relu2", "is_gated": False}},
    "value embeddings": {"traits": {"has_value_embeddings": True}},
    "residual scalars": {"traits": {"has_residual_scalars": True}},
    "softcap 15": {"traits": {"logit_softcap": 15.0}},
    "outputs not zero at first": {"has_zero_outputs": False},
    "best-fit rows": {"packing": "bestfit"},
    "decay 0.8": {"schedule": {"warmup_steps": 20, "decay_share": 0.8}},
    PRESET: {"traits": dict(SPEEDRUN)},
}
QUICK, QUICK_DATA = (DEFAULT, "best-fit rows", PRESET), ["factbook"]
ROWS = 8  # an update: 2,048 tokens, as quickstart has it
CHECKS = 10  # turns of a race, each with an evaluation
BETTER = "better"


def contestants(variations: Mapping[str, dict[str, Any]], common: dict[str, Any]) -> list[Contestant]:
    """Ours with each of the variations; the default stands where a peer would."""
    command = (sys.executable, "-m", "benchmarks.ours.race")
    options = common | {"rows": ROWS, "is_as_peer": False}
    return [Contestant(name, command, options | {"variation": change}, name != DEFAULT) for name, change in variations.items()]


def compared(curves: Sequence[Curve], seq_len: int) -> list[Line]:
    """A line for each variation: bits per byte, and by how much they differ from the default's of the same seed."""
    base = {curve.seed: curve.final for curve in curves if curve.name == DEFAULT}
    names = dict.fromkeys(curve.name for curve in curves)
    return [_line([curve for curve in curves if curve.name == name], base, seq_len) for name in names]


def _line(mine: Sequence[Curve], base: Mapping[int, float], seq_len: int) -> Line:
    contestant, finals = mine[0].contestant, [curve.final for curve in mine]
    if not all(map(math.isfinite, finals)):
        return Line(contestant.name, contestant.is_ours, failed=next((curve.failed for curve in mine if curve.failed), "it diverged"))
    pace = median(median(curve.seconds) for curve in mine)
    notes = {
        "tokens/s": f"{contestant.options['rows'] * seq_len / pace:,.0f}",
        "updates": str(mine[0].steps),
        "seconds": f"{mean(sum(curve.seconds) for curve in mine):.0f}",
    }
    differences = [curve.final - base[curve.seed] for curve in mine]
    if contestant.is_ours and all(map(math.isfinite, differences)):
        middle, low, high = mean_interval(differences)
        notes |= {"difference": f"{middle:+.4f}", "95 % interval": "" if low is None else f"{low:+.4f} to {high:+.4f}"}
        notes["verdict"] = verdict(low, high)
    return Line(contestant.name, contestant.is_ours, mean(finals), min(finals), max(finals), notes=notes)


def verdict(low: float | None, high: float | None) -> str:
    """What the interval of a difference in bits per byte says; None: there is one seed only."""
    if low is None or high is None:
        return "one seed"
    return BETTER if high < 0 else "worse" if low > 0 else "within noise"


def winners(lines: Sequence[Line]) -> dict[str, Any]:
    """All changes that are better, together; empty if there are fewer than two. The preset is a sum itself and stays out."""
    names = [line.name for line in lines if line.notes.get("verdict") == BETTER and line.name != PRESET]
    return reduce(merge, (VARIATIONS[name] for name in names), {}) if len(names) > 1 else {}


def compete(variations: Mapping[str, dict[str, Any]], common: dict[str, Any], bytes_per_token: float, chosen: Any) -> list[Curve]:
    """The curves of all variations and seeds."""
    going = contestants(variations, common)
    seconds = step_seconds(going, rounds=1 if chosen.quick else 5, updates=2 if chosen.quick else 10)
    runs = [(one, chosen.minutes, one.name) for one in going if one in seconds]
    checks, curves = 2 if chosen.quick else CHECKS, []
    for seed in range(1, chosen.seeds + 1):
        curves += race(runs, seconds, seed, bytes_per_token, chosen.minutes, checks=checks)
    return curves


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the ablation and print it."""
    chosen = _parser().parse_args(arguments)
    if chosen.quick:
        chosen.minutes, chosen.seeds = 0.05, 2
    chosen.data = chosen.data or (QUICK_DATA if chosen.quick else ["wiki-leads", "gcide"])
    prepare_environment()
    from trivium.stages.machine import Machine

    machine = Machine(device="cpu", precision="float32").measured()  # once, so that all of them compute alike
    common, bytes_per_token = prepare(chosen.data, chosen.out, chosen.heldout_share, is_aligned=True)
    common |= {"threads": machine.threads, "precision": machine.precision, "kernels": machine.kernels, "products": machine.products}
    variations = {
        name: VARIATIONS[name] for name in dict.fromkeys((DEFAULT, *(chosen.variations or (QUICK if chosen.quick else VARIATIONS))))
    }
    print(f"{len(variations)} variations, {chosen.seeds} seeds: {len(variations) * chosen.seeds * chosen.minutes:.1f} minutes of training")
    curves = compete(variations, common, bytes_per_token, chosen)
    shape = "L{depth} d{width} V{vocab_size}".format(**common)
    work = _work(f"{shape}: one change each, {chosen.minutes:g} minutes, {chosen.seeds} seeds", curves, common)
    works, best = [work], winners(work.lines)
    if best:
        together = compete({DEFAULT: {}, SUM: best}, common, bytes_per_token, chosen)
        works.append(_work(f"{shape}: {best}", together, common))
        write_csv(chosen.out / "sum.csv", together)
    write_csv(chosen.out / "ablate.csv", curves)
    setting = f"{machine.kernels} kernels, {machine.products} products; data: {' '.join(chosen.data)}; curves: {chosen.out / 'ablate.csv'}"
    return report("ablate", works, {}, [setting])


def _work(name: str, curves: Sequence[Curve], common: dict[str, Any]) -> Work:
    return Work(name, "bits/byte", compared(curves, common["seq_len"]), is_cost=True, decimals=4)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ablate", description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="a few of them, three seconds each: to see that it runs")
    parser.add_argument("--variations", nargs="+", choices=list(VARIATIONS), metavar="NAME", help=f"of: {', '.join(VARIATIONS)}")
    parser.add_argument("--data", nargs="+", help="text or jsonl files, or names of assets (wiki-leads gcide)")
    parser.add_argument("--heldout-share", type=float, default=0.05, help="of the documents")
    parser.add_argument("--minutes", type=float, default=3, help="of training, for each variation and seed")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=cache_folder() / "benchmarks" / "ablate", help="folder for the tokens and ablate.csv")
    return parser


if __name__ == "__main__":
    main()
