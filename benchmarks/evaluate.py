"""python -m benchmarks.evaluate: items a second of SmolLM2-135M at tasks, ours against lm-eval's Hugging Face backend, and item by item.

Both sides read the same float32 directory and ask the very same prompts, written out beforehand with their examples. A task agrees if every
item's choice is the same; log-probs are compared besides. An item that differs is listed with both sides' numbers. Eight tasks come
from a package; `--data FOLDER` adds those whose data is in none, from files named like `arc_easy*.jsonl.gz` anywhere below it.

lm-eval gets, at each task, the batch size in which it is fastest at the first items of it. The verdict asks for eight tasks (or all, if
fewer are asked) to the item and twice its speed at all of them together; the exit code is 1 if that is not so.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contest import PEERS, Contestant, Failed, Score, Talk, take_turns
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
SAMPLE, WARM_UP = 32, 8  # items: of a task that tell the best batch, and of the round that does not count
CLOSE = 2e-3  # nats of a continuation: sums of fp32 in another order
LISTED = 20  # items of a task that differ
LEAST_TASKS, LEAST_RATIO = 8, 2.0


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


def contestants(model: Path) -> list[Contestant]:
    """Ours, and lm-eval."""
    common = {"model": str(model), "threads": num_cores()}
    ours = Contestant("trivium", (sys.executable, "-m", "benchmarks.ours.evaluate"), common | {"rows": 64}, is_ours=True)
    return [ours, Contestant("lm-eval hf, best batch", (str(LM_EVAL.python()), str(PEERS / "lm_eval_hf.py")), common)]


def best_batches(peer: Contestant, works: dict[str, dict[str, Any]], sizes: Sequence[int]) -> tuple[dict[str, int], float]:
    """The batch size in which the peer is fastest at each task, and its seconds for all items of all tasks, foreseen from a few.

    Raises Failed if it cannot do it.
    """
    best, foreseen = {}, 0.0
    with Talk(peer) as talk:
        for name, work in works.items():
            talk.ask(**work | {"items": 1, "batch": 1})  # loads the task
            items = min(SAMPLE, work["items"])
            seconds = {size: talk.ask(**work | {"items": items, "batch": size})["seconds"][0] for size in sizes}
            best[name] = min(sizes, key=lambda size: seconds[size])
            foreseen += seconds[best[name]] / items * work["items"]
            print(f"{name}, {items} items: {', '.join(f'{took:.1f} s in batches of {size}' for size, took in seconds.items())}", flush=True)
    return best, foreseen


def agreement(named: NamedTask, items: Sequence[Item], ours: Sequence[Any], theirs: Sequence[Any]) -> tuple[int, list[str]]:
    """(items on which both sides come to the same, a line for each of the others)."""
    scoring, lines = named.task.scoring, []
    for item, mine, other in zip(items, ours, theirs, strict=True):
        if isinstance(scoring, Choices | Pair | Continuation | Text):
            is_same, said = _same_choice(*(np.array([_logprob(each) for each in side]) for side in (mine, other)))
            if isinstance(scoring, Continuation) and mine[0][1] != other[0][1]:
                is_same, said = False, f"{said}; greedy decoding says it: ours {mine[0][1]}, theirs {other[0][1]}"
        else:
            is_same, said = _same_text(mine[0].strip(), other[0].strip())
        if not is_same:
            lines.append(f"{named.name} item {item.number}: {said}")
    return len(items) - len(lines), lines


def _same_choice(ours: np.ndarray, theirs: np.ndarray) -> tuple[bool, str]:
    """Whether both find the same one likeliest, or one alone equally likely; and what they say, with the reason if it is one."""
    said = f"ours {np.round(ours, 4).tolist()}, theirs {np.round(theirs, 4).tolist()}"
    if len(ours) == 1:
        return float(np.abs(ours - theirs).max()) < CLOSE, said
    best, other = int(np.argmax(ours)), int(np.argmax(theirs))
    margin = max(float(side[one] - side[two]) for side, one, two in ((ours, best, other), (theirs, other, best)))
    return best == other, f"{said}; a tie but for the order of sums: {margin:.0e} nats apart" if margin < CLOSE else said


def _same_text(ours: str, theirs: str) -> tuple[bool, str]:
    """Whether both say the same, and where they part if they do not: at two words that are equally likely but for the order of sums."""
    place = next((place for place, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs)))
    start = max(0, place - 20)
    return ours == theirs, f"the same {place} characters, then ours {ours[start : place + 40]!r}, theirs {theirs[start : place + 40]!r}"


def _logprob(said: Any) -> float:
    """Of a log-prob alone, or with whether it is greedy."""
    return said[0] if isinstance(said, list) else said


def farthest(ours: Sequence[Any], theirs: Sequence[Any]) -> float | None:
    """The largest difference of a log-prob in nats; None of answers."""
    if not ours or isinstance(ours[0][0], str):
        return None
    pairs = (pair for mine, other in zip(ours, theirs, strict=True) for pair in zip(mine, other, strict=True))
    return max(abs(_logprob(a) - _logprob(b)) for a, b in pairs)


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
            lines += [f"  {line}" for line in different[:LISTED]]
            facts.setdefault(name, {})[score.contestant.name] = {"items": len(items), "agree": same, "apart": far}
    return lines, facts


def total(scores: Sequence[Score], counts: dict[str, int]) -> Work:
    """All tasks together, in items over the sum of their median times."""
    lines = []
    for score in scores:
        one, names = score.contestant, [name for name in counts if name in score.answers]
        if score.failed or len(names) < len(counts):
            lines.append(Line(one.name, one.is_ours, failed=score.failed or "not asked"))
            continue
        rate = sum(counts.values()) / sum(1 / score.rate(name, 1.0) for name in names)
        lines.append(Line(one.name, one.is_ours, rate, rate, rate))
    return Work("SmolLM2-135M, all tasks", "items/s", lines)


def verdict(facts: dict[str, Any], ratios: dict[str, float], ratio: float | None) -> tuple[str, bool]:
    """What was found in one line, and whether that is enough. ratios: by task."""
    found = [one for by_peer in facts.values() for one in by_peer.values()]
    if ratio is None or not found:
        return "VERDICT: one side did not do it, so nothing is compared", False
    exact = sum(one["agree"] == one["items"] for one in found)
    agree, items = (sum(one[name] for one in found) for name in ("agree", "items"))
    least, most = min(ratios, key=lambda name: ratios[name]), max(ratios, key=lambda name: ratios[name])
    needed = min(LEAST_TASKS, len(found))
    is_enough = exact >= needed and ratio >= LEAST_RATIO
    return (
        f"VERDICT: {exact} of {len(found)} tasks agree to the item ({agree:,} of {items:,} items); {ratio:.2f} times the speed in all,"
        f" from {ratios[least]:.2f} ({least}) to {ratios[most]:.2f} ({most}); {'enough' if is_enough else 'NOT enough'}:"
        f" {needed} tasks and {LEAST_RATIO:g} times are asked for"
    ), is_enough


def main(words: Sequence[str] | None = None) -> int:
    """Run the contest and print the tables; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluate", description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="three tasks of 16 items, one batch size of the peer")
    parser.add_argument("--data", type=Path, help="folder with the data of further tasks")
    parser.add_argument("--tasks", nargs="*", default=[], help="only these")
    parser.add_argument("--limit", type=int, help="the first items of each task (default 500; quick: 16)")
    parser.add_argument("--rounds", type=int, help="timed rounds after the warm-up (default 2; quick: 1)")
    want = parser.parse_args(words)
    limit, rounds = want.limit or (16 if want.quick else 500), want.rounds or (1 if want.quick else 2)
    sizes = PEER_BATCHES[1:2] if want.quick else PEER_BATCHES
    names = want.tasks or (["piqa", "commonsense_qa", "stereoset"] if want.quick else [])
    from trivium.text import assets

    model = model_folder(assets.fetch("smollm2"))
    with tempfile.TemporaryDirectory() as folder:
        tasks, works = {}, {}
        for reference in references(want.data, names):
            named = NamedTask.read(reference)
            items = named.items(limit)
            tasks[named.name] = (named, items)
            task = as_lm_eval(named, items, Path(folder))
            works[named.name] = {"reference": reference, "limit": limit, "items": len(items), "task": task}
        ours, peer = contestants(model)
        try:
            batches, foreseen = best_batches(peer, works, sizes)
            print(f"lm-eval needs about {foreseen / 60:.0f} minutes for each of {rounds} rounds", flush=True)
        except Failed as error:
            batches = dict.fromkeys(works, sizes[-1])
            print(f"{peer.name}: {error}", flush=True)
        works = {name: work | {"batch": batches[name]} for name, work in works.items()}
        scores = take_turns([ours, peer], works, rounds=rounds, warm_up={"items": WARM_UP})
    counts = {name: len(items) for name, (_, items) in tasks.items()}
    tables = [Work(f"SmolLM2-135M, {name}", "items/s", [score.line(name, count) for score in scores]) for name, count in counts.items()]
    tables.append(total(scores, counts))
    lines, facts = compared(scores, tasks)
    versions = next((score.versions for score in scores if score.versions and not score.contestant.is_ours), {})
    ratios = {name: table.ratio for name, table in zip(counts, tables, strict=False) if table.ratio}
    found, is_enough = verdict(facts, ratios, tables[-1].ratio)
    report("evaluate", tables, versions, [*lines, f"agreement: {facts}", f"batches of lm-eval: {batches}", found])
    return 0 if is_enough else 1


if __name__ == "__main__":
    prepare_environment()
    sys.exit(main())
