"""Does an aligned model, given nothing but its template, write instructions, and does a base model not?

Xu et al. 2024, arXiv:2406.08464. The negative control is the same stage on a model that never saw a chat template. Difference: what is an
instruction is decided by rules (synth/instruction.py), not by a judge; the report shows a hundred queries of each, to be looked at.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from trivium.core.config import component
from trivium.core.errors import DataError
from trivium.report.reading import Record, Result, read_record
from trivium.report.svg import Interval, intervals
from trivium.studies.finding import Cell, Control, Figure, Finding
from trivium.studies.study import Preset, Trial
from trivium.synth.instruction import why_no_instruction
from trivium.synth.self_instruct import shown_tasks

LEAST, MOST = 0.8, 0.2
HEADER = ("run", "stage", "measure", "value", "low", "high", "n", "what was seen")
VALID, LOSS = "valid_share", "heldout_loss"
KEPT, ALL = "filtered", "unfiltered"  # beginnings of the names of the stages that are compared
LAPTOP = {  # of the recipe: fewer queries, shorter answers, and fewer updates
    "magpie": {"count": 150, "answering": {"max_new_tokens": 256}}, "control": {"count": 100},
    "pretrain": {"steps": 300, "evaluate_every": 300},
    **dict.fromkeys((KEPT, ALL), {"steps": 15, "evaluate_every": 15, "schedule": {"warmup_steps": 3}}),
    **dict.fromkeys((f"{KEPT}_small", f"{ALL}_small"), {"steps": 60, "evaluate_every": 60}),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Share:
    """How many queries of a stage are valid."""

    run: str
    result: Result

    @property
    def is_control(self) -> bool:
        """Whether it should be low."""
        return self.result.stage.startswith("control")

    @property
    def holds(self) -> bool:
        """Whether it is what the rule wants."""
        value = self.result.value or 0.0
        return value < MOST if self.is_control else value >= LEAST


@component
class Magpie:
    """Looks at every `magpie` stage of run folders; the names of stages of a base model begin with 'control'."""

    name: ClassVar = "magpie"
    claim: ClassVar = "an aligned model, given nothing but its template, writes instructions (Xu et al. 2024)"
    question: ClassVar = (
        "Does an aligned chat model write instructions by itself from its own template, and does fine-tuning on filtered ones help?"
    )
    rule: ClassVar = (
        f"the claim is reproduced if of each aligned model at least {LEAST:.0%} of the queries are valid; a control has the effect"
        f" if {MOST:.0%} are; queries that do not end are not valid. Filtering helps if the held-out loss after fine-tuning on what was"
        " kept is below that after fine-tuning on everything, and their 95 % intervals do not overlap"
    )
    expected: ClassVar = f"at least {LEAST:.0%} of an aligned model's queries are valid, of a base model's less than {MOST:.0%}"

    def trials(self, preset: Preset) -> Sequence[Trial]:
        return [Trial("magpie", LAPTOP if preset == "laptop" else {})]

    def find(self, folders: Sequence[Path]) -> Finding:
        records = [read_record(folder) for folder in folders]
        shares = [Share(record.name, result) for record in records for result in record.results if result.measure == VALID]
        aligned, controls = ([share for share in shares if share.is_control == wanted] for wanted in (False, True))
        if not aligned or not controls:
            raise DataError(
                f"{', '.join(map(str, folders))}: the study compares complete magpie stages of an aligned and of a base model, whose name"
                " begins with 'control'; let it make its own run: trivium study magpie"
            )
        pairs = [pair for record in records for pair in _pairs(record)]
        rows = [_row(share.run, share.result, _seen(share)) for share in shares]
        rows += [_row(run, result, _compared(kept, everything)) for run, kept, everything in pairs for result in (kept, everything)]
        dots = [
            Interval(f"{share.run} / {share.result.stage}", share.result.value or 0.0, share.result.low, share.result.high)
            for share in shares
        ]
        written = [task.instruction for task in shown_tasks()]
        by_people = sum(why_no_instruction(text) is None for text in written) / len(written)
        return Finding(
            _verdict(shares, pairs), all(share.holds for share in aligned), HEADER, rows,
            [
                Control(f"{len(written)} instructions that people wrote", is_positive=True, is_detected=by_people >= LEAST),
                *(
                    Control(f"{share.run}/{share.result.stage}", is_positive=False, is_detected=(share.result.value or 0.0) >= MOST)
                    for share in controls
                ),
            ],
            [Figure("share of valid queries", "with 95 % intervals", intervals("share of valid queries with 95 % intervals", dots))],
        )  # fmt: skip


def _pairs(record: Record) -> list[tuple[str, Result, Result]]:
    """(run, after what was kept, after everything) for each two stages whose names differ in that only."""
    loss = {result.stage: result for result in record.results if result.measure == LOSS}
    both = [(name, ALL + name.removeprefix(KEPT)) for name in loss if name.startswith(KEPT)]
    return [(record.name, loss[kept], loss[everything]) for kept, everything in both if everything in loss]


def _row(run: str, result: Result, seen: str) -> list[Cell]:
    n = None if result.n is None else int(result.n)
    return [run, result.stage, result.measure, result.value, result.low, result.high, n, seen]


def _seen(share: Share) -> str:
    wanted = f"less than {MOST:.0%}" if share.is_control else f"at least {LEAST:.0%}"
    return f"{'' if share.holds else 'not '}{wanted}"


def _compared(kept: Result, everything: Result) -> str:
    if None in (kept.low, kept.high, everything.low, everything.high):
        return "without intervals"
    if (kept.high or 0.0) < (everything.low or 0.0):
        return "filtering helps"
    return "filtering harms" if (kept.low or 0.0) > (everything.high or 0.0) else "no difference is seen"


def _verdict(shares: Sequence[Share], pairs: Sequence[tuple[str, Result, Result]]) -> str:
    told = [
        f"{share.run}/{share.result.stage}: {share.result.value or 0.0:.0%} of its queries are valid"
        f" ({'control, ' if share.is_control else ''}{_seen(share)})"
        for share in shares
    ]
    told += [
        f"held-out loss {kept.value:.3f} after {run}/{kept.stage}, {everything.value:.3f} after {everything.stage}:"
        f" {_compared(kept, everything)}"
        for run, kept, everything in pairs
        if kept.value is not None and everything.value is not None
    ]
    return "; ".join(told) + "."
