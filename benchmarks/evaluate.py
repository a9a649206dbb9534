"""python -m benchmarks.evaluate: items a second of SmolLM2-135M at tasks, ours against lm-eval's Hugging Face backend, and item by item.

Both sides read the same float32 directory and ask the very same prompts, written out beforehand with their examples. A task agrees if every
item's choice is the same; log-probs are compared besides. An item that differs is listed with both sides' numbers. Eight tasks come
from a package; `--data FOLDER` adds those whose data is in none, from files named like `arc_easy*.jsonl.gz` anywhere below it.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contest import PEERS, Contestant, Score, take_turns
from benchmarks.environment import LM_EVAL
from benchmarks.lm_eval_tasks import as_lm_eval
from benchmarks.sample import model_folder
from benchmarks.table import Line, Work, report
from trivium.core.errors import ResourceError
from trivium.core.world import num_cores, prepare_environment
from trivium.evals.scoring import Choices, Continuation, Pair, Text
from trivium.evals.task import Item, NamedTask

PACKAGED = ("boolq", "piqa", "openbookqa", "commonsense_qa", "mmlu", "siqa", "logiqa", "stereoset")
GIVEN = ("arc_easy", "arc_challenge", "hellaswag", "winogrande", "lambada", "blimp", "crows_pairs", "truthfulqa", "mmlu_5_shot", "gsm8k")
FILES = {
    "gsm8k": "gsm8k_test*",
    "mmlu_5_shot": "mmlu*",
    "lambada": "lambada_test*",
    "arc_easy": "arc_easy_test*",
    "arc_challenge": "arc_challenge_test*",
}
PEER_BATCHES = (1, 8, 32)  # it gets the best of them
CLOSE = 2e-3  # nats of a continuation: sums of fp32 in another order


def references(data: Path | None, wanted: Sequence[str]) -> list[str]:
    """The tasks that can be asked here, in order; those of `wanted` if any are named. Raises ResourceError for one without data."""
    found = list(PACKAGED)
    for name in GIVEN:
        files = sorted(data.rglob(FILES.get(name, f"{name}*"))) if data else []
        if files:
            found.append(f"{name}:{files[-1]}")
        elif name in wanted:
            raise ResourceError(f"{name}: its data is in no package; give a folder that holds {FILES.get(name, name + '*')} as --data")
    return [each for each in found if not wanted or each.partition(":")[0] in wanted]


def contestants(model: Path, *, is_quick: bool) -> list[Contestant]:
    """Ours, and lm-eval in each batch size."""
    common = {"model": str(model), "threads": num_cores()}
    peer = (str(LM_EVAL.python()), str(PEERS / "lm_eval_hf.py"))
    sizes = PEER_BATCHES[1:2] if is_quick else PEER_BATCHES
    ours = Contestant("trivium", (sys.executable, "-m", "benchmarks.ours.evaluate"), common | {"rows": 64}, is_ours=True)
    return [ours, *(Contestant(f"lm-eval hf, batch {size}", peer, common | {"batch": size}) for size in sizes)]


def agreement(named: NamedTask, items: Sequence[Item], ours: Sequence[Any], theirs: Sequence[Any]) -> tuple[int, list[str]]:
    """(items on which both sides come to the same, a line for each of the others)."""
    scoring, lines = named.task.scoring, []
    for item, mine, other in zip(items, ours, theirs, strict=True):
        if isinstance(scoring, Choices | Pair | Continuation | Text):
            logprobs = np.array([each[0] if isinstance(each, list) else each for each in other])
            apart = float(np.abs(np.array(mine) - logprobs).max())
            is_same = int(np.argmax(mine)) == int(np.argmax(logprobs)) if len(mine) > 1 else apart < CLOSE
            said = f"ours {np.round(mine, 4).tolist()}, theirs {np.round(logprobs, 4).tolist()}"
        else:
            is_same, said = mine[0].strip() == other[0].strip(), f"ours {mine[0][:80]!r}, theirs {other[0][:80]!r}"
        if not is_same:
            lines.append(f"{named.name} item {item.number}: {said}")
    return len(items) - len(lines), lines


def farthest(ours: Sequence[Any], theirs: Sequence[Any]) -> float | None:
    """The largest difference of a log-prob in nats; None of answers."""
    if not ours or isinstance(ours[0][0], str):
        return None
    pairs = (
        (a, b[0] if isinstance(b, list) else b) for mine, other in zip(ours, theirs, strict=True) for a, b in zip(mine, other, strict=True)
    )
    return max(abs(a - b) for a, b in pairs)


def compared(scores: Sequence[Score], tasks: dict[str, tuple[NamedTask, list[Item]]]) -> tuple[list[str], dict[str, Any]]:
    """Lines about the agreement with each peer at each task, and the same for programs."""
    ours = next(score for score in scores if score.contestant.is_ours)
    lines, facts = [], {}
    for name, (named, items) in tasks.items():
        for score in scores:
            if score is ours or score.failed or ours.failed or name not in score.answers:
                continue
            mine, other = ours.answers[name][-1]["items"], score.answers[name][-1]["items"]
            same, different = agreement(named, items, mine, other)
            far = farthest(mine, other)
            of = f"{name}, {score.contestant.name}: {same:,} of {len(items):,} items agree"
            lines.append(of + ("" if far is None else f"; log-probs at most {far:.1e} nats apart"))
            lines += [f"  {line}" for line in different[:5]]
            facts.setdefault(name, {})[score.contestant.name] = {"items": len(items), "agree": same, "apart": far}
    return lines, facts


def total(scores: Sequence[Score], counts: dict[str, int]) -> Work:
    """All tasks together, in items over the sum of their median times; the peer also with the best of its batch sizes at each task."""
    lines, peers = [], [score for score in scores if not score.contestant.is_ours and not score.failed]
    for score in scores:
        one, names = score.contestant, [name for name in counts if name in score.answers]
        if score.failed or len(names) < len(counts):
            lines.append(Line(one.name, one.is_ours, failed=score.failed or "not asked"))
            continue
        rate = sum(counts.values()) / sum(1 / score.rate(name, 1.0) for name in names)
        lines.append(Line(one.name, one.is_ours, rate, rate, rate))
    if len(peers) > 1:
        best = sum(min(1 / score.rate(name, 1.0) for score in peers) for name in counts)
        rate = sum(counts.values()) / best
        lines.append(Line("lm-eval hf, best batch of each task", False, rate, rate, rate))
    return Work("SmolLM2-135M, all tasks", "items/s", lines)


def main(words: Sequence[str] | None = None) -> None:
    """Run the contest and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluate", description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="three tasks of 16 items, one batch size of the peer")
    parser.add_argument("--data", type=Path, help="folder with the data of further tasks")
    parser.add_argument("--tasks", nargs="*", default=[], help="only these")
    parser.add_argument("--limit", type=int, help="the first items of each task (default 500; quick: 16)")
    parser.add_argument("--rounds", type=int, help="timed rounds after the warm-up (default 2; quick: 1)")
    want = parser.parse_args(words)
    limit, rounds = want.limit or (16 if want.quick else 500), want.rounds or (1 if want.quick else 2)
    names = want.tasks or (["piqa", "commonsense_qa", "stereoset"] if want.quick else [])
    from trivium.text import assets

    model = model_folder(assets.fetch("smollm2"))
    with tempfile.TemporaryDirectory() as folder:
        tasks, works = {}, {}
        for reference in references(want.data, names):
            named = NamedTask.read(reference)
            items = named.items(limit)
            tasks[named.name] = (named, items)
            works[named.name] = {"reference": reference, "limit": limit, "task": as_lm_eval(named, items, Path(folder))}
        scores = take_turns(contestants(model, is_quick=want.quick), works, rounds=rounds)
    counts = {name: len(items) for name, (_, items) in tasks.items()}
    tables = [Work(f"SmolLM2-135M, {name}", "items/s", [score.line(name, count) for score in scores]) for name, count in counts.items()]
    tables.append(total(scores, counts))
    lines, facts = compared(scores, tasks)
    versions = next((score.versions for score in scores if score.versions and not score.contestant.is_ours), {})
    report("evaluate", tables, versions, [*lines, f"agreement: {facts}"])


if __name__ == "__main__":
    prepare_environment()
    main()
