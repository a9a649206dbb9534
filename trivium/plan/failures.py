"""How often machines stop, how often to save for it, and what time is left: Young's and Daly's formula, and a simulation."""

import math
from dataclasses import dataclass

from trivium.core.seeds import generator

GPU_HOURS_PER_STOP = 50e3  # Llama 3: 419 unexpected stops of 16,384 GPUs in 54 days are 50.7 thousand (Grattafiori et al. 2024, table 5)
RESTART_S = 300.0  # to find out, start again and load


@dataclass(frozen=True, slots=True)
class Reliability:
    """stop_every_s: mean time between stops; save_every_s: the best interval; goodput: the share of time that counts."""

    stop_every_s: float
    save_every_s: float
    goodput: float


def reliability(gpus: int, *, save_s: float, restart_s: float = RESTART_S) -> Reliability:
    """save_s: how long a save holds training up. Young 1974, Daly 2006 (first order): interval = root(2 x save x time between stops)."""
    between = GPU_HOURS_PER_STOP / gpus * 3600
    interval = math.sqrt(2 * save_s * between)
    return Reliability(between, interval, max(0.0, 1 - save_s / interval - (interval / 2 + restart_s) / between))


def simulated_goodput(
    gpus: int, *, save_s: float, seed: int, restart_s: float = RESTART_S, save_every_s: float = 0.0, stops: int = 2000
) -> float:
    """The same by drawing so many stops of a Poisson process: after each, work since the last save is lost and a restart is waited for.

    save_every_s: another interval than the best one.
    """
    best = reliability(gpus, save_s=save_s, restart_s=restart_s)
    cycle = (save_every_s or best.save_every_s) + save_s
    runs = generator(seed, "stops").exponential(best.stop_every_s, size=stops)
    kept = sum(int(run // cycle) for run in runs.tolist()) * (cycle - save_s)
    return kept / (float(runs.sum()) + stops * restart_s)
