"""python -m benchmarks.parity: the losses that TRL and trivium both have, on the same random log-probs.

TRL's own methods run in TRL's environment (peers/trl_losses.py), ours as in training: packed, with the objective and the one division.
Compared are the loss of a step and its slope by every log-prob, in float64 where TRL has it. What differs on purpose is named.
--write FILE leaves the table as a page.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.contest import PEERS, Contestant, Talk
from benchmarks.environment import TRL
from benchmarks.parity_cases import CASES, LEFT_OUT, MAX_LENGTH, Case
from benchmarks.table import aligned
from trivium.core.types import Example, Group, example
from trivium.core.world import machine, prepare_environment
from trivium.learn.objectives.preference import KTO, OfAnswers, PreferenceLoss

PAIRS, SHORTEST, LONGEST = 6, 3, 12

Rows = list[np.ndarray]


def material(case: Case, seed: int) -> dict[str, Any]:
    """Random answers: log-probs of policy, sampler and reference, entropies, advantages; the better half comes first."""
    draw = np.random.default_rng(seed)
    lengths = np.full(2 * PAIRS, LONGEST) if case.has_equal_lengths else draw.integers(SHORTEST, LONGEST + 1, 2 * PAIRS)
    drift = 0.0 if case.is_on_policy else 0.25

    def near(rows: Rows) -> Rows:
        return [np.minimum(row + drift * draw.normal(size=len(row)), -1e-3) for row in rows]

    now = [-draw.gamma(2.0, 0.6, size=length) - 1e-2 for length in lengths]
    found: dict[str, Any] = {"logprobs": now, "old": near(now), "ref": near(now), "others": near(now)}
    found |= {"others_ref": [row - 0.1 for row in found["others"]], "entropy": [draw.random(length) for length in lengths]}
    found |= {"advantages": draw.normal(size=2 * PAIRS), "labels": np.arange(2 * PAIRS) < PAIRS}
    if case.trainer == "reward":
        found |= {"logprobs": draw.normal(size=2 * PAIRS)} | ({"margin": draw.random(PAIRS)} if case.has_margin else {})
    return found


def theirs(talk: Talk, case: Case, given: Mapping[str, Any]) -> tuple[float, np.ndarray]:
    """TRL's loss, and its slopes by the log-probs of all answers laid end to end."""
    plain = {name: [row.tolist() for row in value] if isinstance(value, list) else value.tolist() for name, value in given.items()}
    answer = talk.ask(trainer=case.trainer, options=case.options, precision=case.precision, **plain)
    return answer["loss"], np.concatenate(answer["slopes"])


def groups_of(case: Case, given: Mapping[str, Any]) -> list[Group]:
    """The same answers as groups of ours, each with a prompt of one token; `meta` knows which answer it is."""
    if case.trainer == "reward":
        margins = given.get("margin", np.zeros(PAIRS))
        pairs = [[_answer(0, i + side * PAIRS, 1, rank=side, margin=margins[i]) for side in (0, 1)] for i in range(PAIRS)]
        return [tuple(pair) for pair in pairs]
    answers = []
    for number, row in enumerate(given["logprobs"]):
        columns = {"old_logprobs": given["old"][number], "ref_logprobs": given["ref"][number], "advantages": given["advantages"][number]}
        answers.append(_answer(0, number, len(row), label=1 if given["labels"][number] else -1, **columns))
    if isinstance(case.objective, KTO):
        others = [_answer(1, i, len(row), ref_logprobs=given["others_ref"][i]) for i, row in enumerate(given["others"])]
        return list(zip(answers, others, strict=True))
    if isinstance(case.objective, PreferenceLoss) and not isinstance(case.objective, OfAnswers):
        return list(zip(answers[:PAIRS], answers[PAIRS:], strict=True))
    return [(answer,) for answer in answers]


def _answer(source: int, number: int, length: int, **columns: Any) -> Example:
    """source: 0, one of the answers; 1, one of the others."""
    item = example(np.zeros(length + 1, np.int32))
    wide = {name: np.concatenate([[0.0], np.broadcast_to(value, length)]) for name, value in columns.items()}
    return replace(item, columns=wide, meta={"which": (source, number)})


def ours(case: Case, given: Mapping[str, Any]) -> tuple[float, np.ndarray]:
    """Our loss, and its slopes in the same order."""
    import torch

    from trivium.data.pack import pack
    from trivium.learn.reduce import Counts, reduce

    dtype, sources = getattr(torch, case.precision), (given["logprobs"], given["others"])

    def said(items: Sequence[Example]) -> Rows:
        which = [item.meta["which"] for item in items]
        return [np.concatenate([[0.0], np.atleast_1d(sources[source][number])]) for source, number in which]

    groups = groups_of(case, given)
    groups = case.objective.of_step(groups, said) if hasattr(case.objective, "of_step") else groups
    [batch] = pack(groups, rows=2 * PAIRS, length=2 * LONGEST + 2)
    items = [item for group in groups for item in group]

    def spread(rows: Rows) -> torch.Tensor:
        flat = torch.zeros(batch.tokens_BL.numel(), dtype=dtype)
        for end, row in zip(batch.last_N.tolist(), rows, strict=True):
            flat[end + 1 - len(row) : end + 1] = torch.from_numpy(np.asarray(row, np.float64))
        return flat.view_as(batch.tokens_BL)

    values = spread(said(items)).requires_grad_()
    entropy = (
        spread([np.concatenate([[0.0], given["entropy"][item.meta["which"][1]]]) for item in items]) if case.trainer == "grpo" else values
    )
    batch = replace(batch, columns={name: spread([item.columns[name] for item in items]) for name in items[0].columns})
    out = SimpleNamespace(
        logprobs_BL=values, scores_BL=values, entropy_BL=entropy.detach(), divergence=partial(_of_two_words, values, batch)
    )
    loss, _ = case.objective(out, batch)
    total = case.scale * reduce(loss, batch, Counts.of([batch], MAX_LENGTH), case.objective.reduction)
    total.backward()
    assert values.grad is not None
    slope, found = values.grad.flatten().numpy(), {}
    for end, item in zip(batch.last_N.tolist(), items, strict=True):
        found[item.meta["which"][1]] = slope[end + 2 - len(item.tokens) : end + 1]
    return float(total.detach()), np.concatenate([found[number] for number in sorted(found)])


def _of_two_words(logprobs_BL: Any, batch: Any, beta: float) -> Any:
    """The divergence from a teacher of the column ref_logprobs, where all there is to say is a token and one other; (B, L)."""
    import torch

    from trivium.nn.divergence import divergence_of_logits

    before = [torch.roll(logprobs, -1, 1).clamp(max=-1e-9) for logprobs in (logprobs_BL, batch["ref_logprobs"])]
    ours, theirs = (torch.stack([said, torch.log(-torch.expm1(said))], -1) for said in before)
    scored_P = torch.nonzero(batch.loss_mask_BL.flatten() > 0).flatten()
    return divergence_of_logits(ours, theirs, scored_P, beta=beta, temperature=1.0)


def verdict(case: Case, loss_gap: float, slope_gap: float) -> str:
    """What a row of the table says."""
    worst = slope_gap if case.reads == "slopes" else max(loss_gap, slope_gap)
    if case.differs:
        return "differs on purpose" if worst > case.tolerance else "SAME, though it should differ"
    return "same" if worst <= case.tolerance else "DIFFERENT"


def compare(talk: Talk, case: Case, seeds: Sequence[int]) -> dict[str, Any]:
    """One row: the largest differences over seeds."""
    gaps = np.zeros(2)
    for seed in seeds:
        given = material(case, seed)
        (their_loss, their_slope), (our_loss, our_slope) = theirs(talk, case, given), ours(case, given)
        gaps = np.maximum(gaps, [abs(their_loss - our_loss), np.abs(their_slope - our_slope).max()])
    loss_gap = None if case.reads == "slopes" else float(gaps[0])
    row = {"method": case.name, "loss": loss_gap, "slopes": float(gaps[1]), "tolerance": case.tolerance}
    return row | {"verdict": verdict(case, *gaps.tolist()), "why": case.differs or case.note}


def cells(row: Mapping[str, Any]) -> list[str]:
    """A row as it is printed."""
    loss = "-" if row["loss"] is None else f"{row['loss']:.1e}"
    return [row["method"], loss, f"{row['slopes']:.1e}", f"{row['tolerance']:.0e}", row["verdict"]]


HEAD = ["method", "loss", "slopes", "tolerance", "verdict"]


def page(rows: Sequence[Mapping[str, Any]], versions: Mapping[str, str]) -> str:
    """The table as a page of the documentation."""
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    table = "\n".join(f"| {' | '.join([*cells(row), row['why']])} |" for row in rows)
    return (
        "# Losses beside TRL's\n\n"
        f"Written by `python -m benchmarks.parity --write docs/parity-trl.md`; {listed}.\n\n"
        "Each row is a loss that both have, on the same random log-probs: the largest difference of the loss of a step, and of its slope\n"
        "by any log-prob, over several draws. TRL's numbers come from TRL's own methods. `differs on purpose`: the reason is beside it.\n\n"
        f"| {' | '.join([*HEAD, 'note'])} |\n|---|--:|--:|--:|---|---|\n{table}\n\n"
        "Not compared:\n\n" + "".join(f"- {line}\n" for line in LEFT_OUT)
    )


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Compare, print, and write the page if it is wanted."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parity", description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="one draw instead of five")
    parser.add_argument("--write", type=Path, help="a Markdown file for the table")
    chosen = parser.parse_args(arguments)
    prepare_environment()
    import torch

    peer = Contestant("TRL", (str(TRL.python()), str(PEERS / "trl_losses.py")), {})
    with Talk(peer) as talk:
        versions = talk.ready["versions"]
        rows = [compare(talk, case, range(1 if chosen.quick else 5)) for case in CASES]
    print(aligned([HEAD, *map(cells, rows)]))
    print("\n" + "\n".join(f"{row['method']}: {row['why']}" for row in rows if row["why"]) + "\n\n" + "\n".join(LEFT_OUT))
    if chosen.write:
        chosen.write.write_text(page(rows, versions), encoding="utf-8")
    wrong = [row["method"] for row in rows if row["verdict"].isupper() or row["verdict"].startswith("SAME")]
    same = sum(row["verdict"] == "same" for row in rows)
    facts = {
        "benchmark": "parity", "work": f"{len(rows)} losses", "ours": same, "peers": {"TRL": same}, "ratio": None, "ceiling_share": None,
        "wrong": wrong, "versions": {"torch": torch.__version__, **versions}, "machine": machine(),
    }  # fmt: skip
    print(json.dumps(facts), flush=True)
    return facts


if __name__ == "__main__":
    raise SystemExit(1 if main()["wrong"] else 0)
