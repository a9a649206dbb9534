"""Which of the scored answers are kept, and what they were worth: records for the next stage, and figures for the report.

Tables are read twice, row by row; of all answers only numbers are held. P prompts, N answers to each.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from trivium.core.commit import commit
from trivium.core.errors import DataError
from trivium.core.seeds import key, uniforms
from trivium.core.types import Message
from trivium.report.intervals import curve_bootstrap
from trivium.score.best_of import best_of, kl_of_best_of
from trivium.score.keep import AnyKeep, Choose, Kept, Pool, Scored, usable
from trivium.text.records.ranks import is_number
from trivium.text.records.turns import messages
from trivium.text.rows import rows as rows_of
from trivium.text.write import write_jsonl

Table = Callable[[], Iterable[Mapping[str, Any]]]
SCORED, KEPT = "scored.jsonl", "kept.jsonl"
COLUMNS = ("responses", "scores", "stopped", "tokens", "true_scores", "steps", "step_shares")  # of a scored table: a value for each answer
MOST_BARS = 10  # of the histogram of scores


@dataclass(slots=True)
class Tally:
    """What was kept, while it is written. reasons: why a prompt gave no record -> how many."""

    records: int = 0
    prompts: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    scores: array[float] = field(default_factory=lambda: array("d"))


@dataclass(frozen=True, slots=True)
class Answered:
    """Numbers of all answers, (P, N) each; scores are nan where there are none. own: how many of N are this stage's."""

    pool: Pool
    true_scores: np.ndarray
    is_stopped: np.ndarray
    tokens: int
    own: int

    @property
    def has_scores(self) -> bool:
        """Whether the answers were scored."""
        return bool(np.isfinite(self.pool.scores).all())


def scored_table(path: Path) -> Table:
    """The rows of a scored table that an earlier `sample` left. Raises DataError for a row that is none."""

    def read() -> Iterator[Mapping[str, Any]]:
        for row in rows_of(path):
            for name in ("prompt", "responses", "scores", "stopped"):
                if not isinstance(row.values.get(name), list):
                    row.fail(f"'{name}' is missing or no list; a scored table is what `trivium sample` leaves as {SCORED}")
            messages(row, row.values["prompt"], "prompt")
            for place, text in enumerate(row.values["responses"]):
                row.check_text(text, f"responses[{place}]")
            if len({len(row.values[name]) for name in COLUMNS if name in row.values}) > 1:
                row.fail("its lists differ in length; a scored table has a score for each response")
            if not all(map(is_number, (*row.values["scores"], *row.values.get("true_scores", ())))):
                row.fail("'scores' must be finite numbers, one for each response")
            yield row.values

    return read


def joined(tables: Sequence[Table]) -> Table:
    """Answers to the same prompts from several tables side by side, the first table's first. Raises DataError where prompts differ."""
    if len(tables) == 1:
        return tables[0]

    def read() -> Iterator[Mapping[str, Any]]:
        nothing: Mapping[str, Any] = {}
        for number, rows in enumerate(zip_longest(*(table() for table in tables), fillvalue=nothing), start=1):
            if any(row.get("prompt") != rows[0].get("prompt") for row in rows):
                raise DataError(f"prompt {number:,} is not the same in all scored tables; they must be of the same prompts, in one order")
            shared = [name for name in COLUMNS if all(name in row for row in rows)]
            yield {**rows[0], **{name: list(chain.from_iterable(row[name] for row in rows)) for name in shared}}

    return read


def read_numbers(table: Table, seed: int, own: int) -> Answered:
    """The numbers of a table. own: how many of the answers to each prompt are this stage's; 0: all."""
    scores, true, stopped, can, tokens = array("d"), array("d"), array("b"), array("b"), 0
    sizes: Counter[int] = Counter()
    for row in table():
        count = len(row["responses"])
        sizes[count] += 1
        scores.extend(row.get("scores", [math.nan] * count))
        true.extend(row.get("true_scores", [math.nan] * count))
        stopped.extend(row["stopped"])
        can.extend(usable(row["responses"], np.array(row["stopped"])).tolist())
        tokens += sum(row.get("tokens", ())[: own or None])
    if not scores:
        raise DataError("there is no prompt with answers")
    if len(sizes) > 1:
        raise DataError("the prompts of a scored table have different numbers of answers; give one that `trivium sample` left")
    [shape] = [(count, size) for size, count in sizes.items()]
    numbers = np.arange(shape[0] * shape[1])
    lots = uniforms(key(seed, "ties"), numbers // shape[1], numbers % shape[1]).reshape(shape)
    pool = Pool(np.array(scores).reshape(shape), np.array(can, bool).reshape(shape), lots)
    return Answered(pool, np.array(true).reshape(shape), np.array(stopped, bool).reshape(shape), tokens, own or shape[1])


def write_answers(folder: Path, table: Table, keep: AnyKeep, answered: Answered) -> Tally:
    """Commit the scored table and the records that are kept, in one folder; if a rule cannot choose by these scores, none, and why."""
    choose, tally = _choose(keep, answered.pool), Tally()

    def write(place: Path) -> None:
        write_jsonl(place / SCORED, ({name: value for name, value in row.items() if name != "demonstration"} for row in table()))
        write_jsonl(place / KEPT, _records(table, choose, answered, tally))

    commit(folder, write, kind="answers", meta={"keep": keep.kind, "makes": keep.makes})
    return tally


def _choose(keep: AnyKeep, pool: Pool) -> Choose:
    """What chooses; of a rule that cannot by these scores, what keeps nothing for that reason: the answers took long, and stay."""
    try:
        return keep(pool)
    except DataError as error:
        nothing = Kept(why_none=str(error))
        return lambda _: nothing


def _records(table: Table, choose: Choose, answered: Answered, tally: Tally) -> Iterator[dict[str, Any]]:
    for number, row in enumerate(table()):
        asked = Scored(
            tuple(Message(turn["role"], turn["content"]) for turn in row["prompt"]), tuple(row["responses"]),
            answered.pool.scores[number], answered.is_stopped[number], answered.pool.lots[number], row.get("demonstration", ""),
            row.get("steps", ()), row.get("step_shares", ()),
        )  # fmt: skip
        kept = choose(asked)
        tally.records += len(kept.records)
        tally.prompts += bool(kept.records)
        tally.scores.extend(asked.scores[list(kept.places)].tolist() if kept.records else ())
        if not kept.records:
            tally.reasons[kept.why_none] += 1
        yield from kept.records


def figures(answered: Answered, tally: Tally, keep: AnyKeep, seed: int) -> dict[str, Any]:
    """What the report shows: the curve of the best of k with 95 % intervals over prompts, the histogram of scores, what was kept."""
    pool, stopped = answered.pool, answered.is_stopped
    found: dict[str, Any] = {
        "keep": keep.kind, "makes": keep.makes, "prompts": len(pool.scores), "answers": pool.scores.size, "records": tally.records,
        "prompts_kept": tally.prompts, "answers_kept": len(tally.scores), "reasons": dict(tally.reasons.most_common()),
        "cut_off": int((~stopped).sum()), "empty_or_repeated": int((stopped & ~pool.is_usable).sum()),
    }  # fmt: skip
    if answered.has_scores:
        own = pool.scores[:, : answered.own]
        found |= {"curve": _curve(best_of(own), seed), "histogram": histogram(pool.scores.ravel(), np.array(tally.scores))}
        true = answered.true_scores[:, : answered.own]
        if np.isfinite(true).all():
            found["true_curve"] = _curve(best_of(own, true), seed)
    return found


def _curve(best_PK: np.ndarray, seed: int) -> list[dict[str, float]]:
    values, low, high = curve_bootstrap(best_PK, seed)
    return [
        {"k": k, "value": float(values[k - 1]), "low": float(low[k - 1]), "high": float(high[k - 1]), "kl": kl_of_best_of(k)}
        for k in range(1, len(values) + 1)
    ]


def histogram(scores: np.ndarray, kept: np.ndarray) -> list[dict[str, float]]:
    """How many answers and how many of the kept ones have which score: one bar a score if there are few, else ten of equal width."""
    distinct = np.unique(scores)
    if len(distinct) <= MOST_BARS:
        ends = [(float(score), float(score)) for score in distinct]
        counts = [[int((values == score).sum()) for score in distinct] for values in (scores, kept)]
    else:
        edges = np.linspace(distinct[0], distinct[-1], MOST_BARS + 1)
        ends = list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
        counts = [np.histogram(values, edges)[0].tolist() for values in (scores, kept)]
    return [{"low": low, "high": high, "answers": n, "kept": m} for (low, high), n, m in zip(ends, *counts, strict=True)]
