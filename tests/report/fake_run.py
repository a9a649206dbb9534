"""A small run folder with the shape and the numbers of a real one: eight stages, noisy curves, over-optimisation, hostile samples."""

import json
import math
from pathlib import Path
from typing import Any

from trivium.core.seeds import generator

HOSTILE = "<script>alert(1)</script> <img src=x onerror=\"alert('2')\"> & 'quoted' \x00\x1b[31m \ud800 \x85"
STAGES = {"prepare": 41, "tokenize": 12, "pretrain": 302, "finetune": 64, "reward": 38, "prefer": 47, "reinforce": 141, "evaluate": 29}
PROMPTS = ("What is a river?", "Name the capital of France.", "Why is the sky blue?\nAnswer in one sentence.", HOSTILE)
ANSWERS = {
    "pretrain": "The river is the first of the river, and the river was the first to be the river of the river, in which the",
    "finetune": "A river is a large body of water that flows to the sea.",
    "prefer": "A river is a natural stream of fresh water that flows towards a sea, a lake or another river.",
    "reinforce": "A river is a natural flowing stream of water. It flows from high ground to the sea.",
}


def write_fake_run(folder: Path, *, num_steps: int = 120) -> Path:
    """Fill a folder with every file that the report reads."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.toml").write_text('seed = 1\n\n[pretrain]\nsteps = 120\n\n[reinforce.objective]\nkind = "ppo"\nkl_coef = 0.05\n')
    write_json(folder / "manifest.json", _manifest())
    write_rows(folder / "metrics.jsonl", [row for stage in STAGES for row in metric_rows(stage, num_steps)])
    write_rows(folder / "speed.jsonl", _speed_rows(num_steps))
    write_json(folder / "results.json", _results())
    write_json(folder / "prepare/funnel.json", _funnel())
    write_json(folder / "sample/selection.json", selection())
    write_json(folder / "rank/ranking.json", ranking())
    write_json(folder / "route/routing.json", routing())
    write_json(folder / "sample/written.json", {"verdicts": {"valid": 3}, "shown": [{"query": HOSTILE, "answer": "", "verdict": "valid"}]})
    write_json(folder / "evaluate/samples.json", _samples())
    write_json(folder / "evaluate/tasks.json", tasks())
    write_json(folder / "reward/calibration.json", _bins())
    for place, (stage, seconds) in enumerate(STAGES.items()):
        write_json(folder / stage / "done.json", {"metrics_end": 100 * place, "facts": _facts(stage, seconds)})
    return folder


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file and the folder it is in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def metric_rows(stage: str, num_steps: int) -> list[dict[str, Any]]:
    """Rows as a stage would record them: falling losses, rising rewards, a true reward that turns."""
    noise = generator(1, stage)
    return [{"stage": stage, "step": step, **_metrics(stage, step / num_steps, noise.normal)} for step in range(1, num_steps + 1)]


def _metrics(stage: str, done: float, noise: Any) -> dict[str, float]:
    lr = 0.02 * min(1.0, done * 10) * (1 - done)
    if stage in ("pretrain", "finetune"):
        loss = 3.4 + 5.6 * math.exp(-6 * done) + noise(0, 0.12)
        return {"loss": loss, "lr": lr, "grad_norm": abs(noise(0.8, 0.2)), "bits_per_byte": loss / 2.9}
    if stage in ("reward", "prefer"):
        accuracy = min(1.0, max(0.0, 0.5 + 0.25 * done + noise(0, 0.08)))
        return {"loss": 0.7 - 0.15 * done + noise(0, 0.03), "lr": lr / 10, "accuracy": accuracy, "margin": done + noise(0, 0.2)}
    if stage == "reinforce":
        return {
            "reward": 3.2 * done**0.7 + noise(0, 0.25),
            "true_reward": 2.9 * done - 2.4 * done**2 + noise(0, 0.2),
            "kl": 14 * done + noise(0, 0.6),
            "entropy": 2.1 - done + noise(0, 0.05),
            "length": 18 + 20 * done + noise(0, 3),
            "stop_rate": 1 - 0.1 * done,
            "clip_fraction": abs(noise(0.1, 0.03)),
            "value_loss": math.nan if 0.5 < done < 0.53 else abs(noise(0.4, 0.1)),
            "lr": 3e-5 * (1 - done),
            "grad_norm": abs(noise(1, 0.3)),
        }
    return {}


def _manifest() -> dict[str, Any]:
    return {
        "name": "quickstart",
        "about": "From raw text to a model that answers. The preferences come from simulated annotators who err 27 % of the time.",
        "seed": 1,
        "versions": {"trivium": "0.1.0", "python": "3.11.9", "torch": "2.9.0"},
        "machine": {"processor": "AMD EPYC 7B13", "cores": 2, "memory_gib": 8, "system": "Linux"},
        "started": "2025-03-12 14:02:11",
    }


def _speed_rows(num_steps: int) -> list[dict[str, Any]]:
    figures = {"seconds": 2.5, "tokens": 20_000, "tokens_per_s": 8000, "flops_per_s": 2.02e11, "ceiling_share": 0.41, "peak_share": 0.12}
    return [{"stage": stage, "step": step, **figures} for stage in ("pretrain", "finetune") for step in range(1, num_steps + 1, 10)]


def _results() -> list[dict[str, Any]]:
    measures = {
        "bits_per_byte": ((1.412, 1.438, 1.441, 1.447), 0.012, 400),
        "true_score": ((0.081, 0.412, 0.523, 0.611), 0.04, 200),
        "win_rate": ((None, 0.5, 0.634, 0.702), 0.065, 200),
        "stop_rate": ((0.02, 0.98, 0.99, 1.0), 0.01, 200),
        "response_tokens": ((64, 18.2, 24.7, 31.9), None, 200),
    }
    rows = []
    for measure, (values, half, n) in measures.items():
        for stage, value in zip(ANSWERS, values, strict=True):
            if value is not None:
                ends = {"low": value - half, "high": value + half} if half else {"low": None, "high": None}
                rows.append({"stage": stage, "measure": measure, "value": value, **ends, "n": n, "seconds": 4.2})
    return [*rows, {"stage": "reward", "measure": "agreement", "value": 0.713, "low": 0.68, "high": 0.745, "n": 800, "seconds": 2.0}]


def _funnel() -> dict[str, Any]:
    dropped = {
        "too_short": (2310, 410_000),
        "not_english": (801, 1_400_000),
        "mostly_symbols": (312, 350_000),
        "repeated_lines": (97, 220_000),
    }
    return {
        "read": {"documents": 18_240, "bytes": 31_400_000},
        "dropped": [{"reason": name, "documents": n, "bytes": size, "samples": ["| | 12", HOSTILE]} for name, (n, size) in dropped.items()],
        "duplicates": {"documents": 1120, "bytes": 1_900_000},
        "kept": {"documents": 13_600, "bytes": 27_120_000},
        "replaced": {"email": {"count": 41, "documents": 30, "samples": ["write to xxx@xxxx.xxx", HOSTILE]}},
    }


def selection() -> dict[str, Any]:
    """What `sample` leaves for the report."""
    curve = [
        {"k": k, "value": value, "low": value - 0.1, "high": value + 0.1, "kl": kl} for k, value, kl in ((1, 0.25, 0), (2, 0.5, 0.193))
    ]
    return {
        "keep": "threshold", "makes": "conversations", "prompts": 300, "answers": 600, "records": 120, "prompts_kept": 100,
        "answers_kept": 120, "reasons": {"no answer scores 1 and ended by itself": 200}, "cut_off": 12, "empty_or_repeated": 30,
        "curve": curve, "true_curve": curve,
        "histogram": [{"low": 0.0, "high": 0.0, "answers": 480, "kept": 0}, {"low": 1.0, "high": 1.0, "answers": 120, "kept": 120}],
    }  # fmt: skip


def ranking() -> dict[str, Any]:
    """What `rank` leaves for the report."""
    place = {"rank": 1, "rating": 1100.0, "low": 1080.5, "high": 1121.0, "elo": 1090.0, "elo_low": 1070.0, "elo_high": 1110.0}
    places = [{"model": name, **place, "elo_in_order": 1093.0, "matches": 200, "score": 0.7} for name in ("big <b>", "small")]
    return {
        "matches": 200, "models": 2, "draws": "a draw is half a win", "intervals": "bootstrap", "is_separated": True, "baseline": "small",
        "style": {"length": 41.5}, "places": places, "flagged": [{"model": "null", "reason": "gave the same answer to 9 of 9 prompts"}],
        "win_rates": [{"model": "big <b>", "raw": 70.0, "low": 60.0, "high": 80.0, "controlled": 61.25, "matches": 200}],
        "heldout": [{"measure": "elo_accuracy", "value": 0.75, "low": 0.65, "high": 0.83, "n": 40}],
    }  # fmt: skip


def routing() -> dict[str, Any]:
    """What `route` leaves for the report."""
    worth = {
        "apgr": 0.64, "apgr_low": 0.57, "apgr_high": 0.71, "cpt": [0.3, 0.66], "cpt_low": [0.2, 0.5], "cpt_high": [0.4, 0.76],
        "curve": [[0.0, 0.0], [0.5, 0.7], [1.0, 1.0]],
    }  # fmt: skip
    prediction = {"accuracy": [0.72, 0.68, 0.75], "log_loss": [0.68, 0.67, 0.69], "gain": [0.01, 0.005, 0.015], "calibration_error": 0.02}
    router = {
        "prediction": prediction, "worth": worth, "share": {"wanted": 0.3, "measured": 0.31},
        "spent": [{"cost": 10.0, "quality": 0.8}, {"cost": 1.0, "quality": 0.6}],
    }  # fmt: skip
    return {
        "features": "hashed words", "train": {"matches": 900, "prompts": 900}, "heldout": {"matches": 300, "prompts": 300},
        "verdict": "'preference' foresees who wins.", "ranked": ["preference"], "routers": {"preference": router}, "oracle": worth,
        "quality": {"big": 0.8, "small": 0.6}, "published": [{"router": "random", "benchmark": "MT-bench", "apgr": 0.5, "cpt_50": 49.03}],
    }  # fmt: skip


def tasks() -> dict[str, Any]:
    """What `evaluate` leaves of its tasks, hostile text in every place that comes from data."""
    return {
        "tasks": {
            HOSTILE: {
                "about": HOSTILE, "items": 120, "shown": f"Q: {HOSTILE}\n  -> ' yes'",
                "contamination": {"items": 120, "too_short": 3, "hit_items": 7, "documents": 9, "samples": []},
            }
        },
        "differences": [
            {"task": HOSTILE, "measure": "acc", "model": "reinforce", "than": HOSTILE, "difference": 0.04, "low": 0.01, "high": 0.07},
            {"task": "bits", "measure": "bits_per_byte", "model": "prefer", "than": "base", "difference": -0.2, "low": -0.3, "high": None},
        ],
    }  # fmt: skip


def _bins() -> list[dict[str, Any]]:
    found = [(0.5, 0.6, 0.55, 0.53, 90), (0.6, 0.7, 0.65, 0.6, 60), (0.9, 1.0, 0.93, 0.8, 20)]
    named = ("low", "high", "predicted", "observed", "n")
    return [dict(zip(named, row, strict=True)) | {"observed_low": row[3] - 0.1, "observed_high": row[3] + 0.1} for row in found]


def _samples() -> list[dict[str, Any]]:
    given = [(stage, prompt, prompt if prompt == HOSTILE else answer) for prompt in PROMPTS for stage, answer in ANSWERS.items()]
    judged = {stage: {"score": None, "stopped": False} if stage == "pretrain" else {"score": 0.5, "stopped": True} for stage in ANSWERS}
    return [{"stage": stage, "prompt": prompt, "response": response, **judged[stage]} for stage, prompt, response in given]


def _facts(stage: str, seconds: float) -> dict[str, Any]:
    sizes = {"pretrain": 2_460_000, "finetune": 410_000, "reward": 260_000, "prefer": 300_000, "reinforce": 690_000}
    if stage not in sizes:
        return {"seconds": seconds}
    return {"seconds": seconds, "tokens": sizes[stage], "parameters": 4_210_000, "flops": 6.0 * 4_210_000 * sizes[stage]}
