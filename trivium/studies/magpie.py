"""Does an aligned model, given nothing but its template, write instructions, and does a base model not?

Xu et al. 2024, arXiv:2406.08464. The negative control is the same stage on a model that never saw a chat template. Difference: what is an
instruction is decided by rules (synth/instruction.py), not by a judge; the report shows a hundred queries of each, to be looked at.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trivium.core.errors import DataError
from trivium.report.html import Html, element
from trivium.report.reading import Record, Result, read_record
from trivium.report.svg import Interval, intervals
from trivium.studies.finding import Cell, Finding

RECIPE = "magpie"
QUESTION = "Does an aligned chat model write instructions by itself from its own template, and does fine-tuning on filtered ones help?"
LEAST, MOST = 0.8, 0.2
RULE = (
    f"the claim is reproduced if of each aligned model at least {LEAST:.0%} of the queries are valid, and of each control (a stage whose"
    f" name begins with 'control') less than {MOST:.0%}; queries that do not end are not valid. Filtering helps if the held-out loss after"
    " fine-tuning on what was kept is below that after fine-tuning on everything, and their 95 % intervals do not overlap"
)
HEADER = ("run", "stage", "measure", "value", "low", "high", "n", "what was seen")
VALID, LOSS = "valid_share", "heldout_loss"
KEPT, ALL = "filtered", "unfiltered"  # beginnings of the names of the stages that are compared


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


def study(folders: Sequence[Path]) -> Finding:
    """Look at every `magpie` stage of these run folders. Raises DataError if there is none, or no control."""
    records = [read_record(folder) for folder in folders]
    shares = [Share(record.name, result) for record in records for result in record.results if result.measure == VALID]
    if not shares or not any(share.is_control for share in shares) or all(share.is_control for share in shares):
        raise DataError(
            f"{', '.join(map(str, folders))}: the study compares complete magpie stages of an aligned and of a base model, whose name"
            " begins with 'control'; let it make its own run: trivium study magpie"
        )
    pairs = [pair for record in records for pair in _pairs(record)]
    rows = [_row(share.run, share.result, _seen(share)) for share in shares]
    rows += [_row(run, result, _compared(kept, everything)) for run, kept, everything in pairs for result in (kept, everything)]
    dots = [
        Interval(f"{share.run} / {share.result.stage}", share.result.value or 0.0, share.result.low, share.result.high) for share in shares
    ]
    return Finding("magpie", QUESTION, RULE, _verdict(shares, pairs), all(share.holds for share in shares), HEADER, rows, [_figure(dots)])


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


def _figure(dots: list[Interval]) -> Html:
    caption = element("figcaption", element("b", "share of valid queries"), element("span", "95 % intervals"))
    return element("figure", caption, intervals("share of valid queries with 95 % intervals", dots))
