"""What happened, in one paragraph: how much text, how large a model, how many tokens, how long, and what it was good for."""

from collections.abc import Iterator

from trivium.report import units
from trivium.report.html import Html, element, join, words
from trivium.report.measures import direction
from trivium.report.quantities import in_books
from trivium.report.reading import FUNNEL, Record, Result, number_of, table_of

_MOST_CHANGES = 3


def story(record: Record) -> Html:
    """The paragraph, after what the recipe says about itself."""
    about = record.manifest.get("about")
    told = " ".join(_sentences(record)) or "Nothing that can be told is in this run folder yet."
    return join([element("p", about) if about else "", element("p", told)])


def total_seconds(record: Record) -> float | None:
    """Seconds of all stages that say how long they took."""
    times = [seconds for stage in record.stages if (seconds := stage_seconds(record, stage)) is not None]
    return sum(times) if times else None


def stage_seconds(record: Record, stage: str) -> float | None:
    """What the stage says it took, else the sum of its rows in speed.jsonl."""
    return _fact_or_sum(record, stage, "seconds")


def stage_tokens(record: Record, stage: str) -> float | None:
    """Tokens the stage says it read, else the sum of its rows in speed.jsonl."""
    return _fact_or_sum(record, stage, "tokens")


def _fact_or_sum(record: Record, stage: str, name: str) -> float | None:
    fact = number_of(record.facts.get(stage, {}).get(name))
    rows = [value for row in record.speed.get(stage, ()) if (value := row.get(name)) is not None]
    return fact if fact is not None else sum(rows) if rows else None


def _sentences(record: Record) -> Iterator[str]:
    for funnel in record.left[FUNNEL].values():
        read, kept = table_of(funnel.get("read")), table_of(funnel.get("kept"))
        if read and kept:
            unit = str(funnel.get("unit", "documents"))
            yield f"Of {_amount(read, unit)} it kept {_amount(kept, unit)}."
    for facts in record.facts.values():
        if corpus := number_of(facts.get("train_tokens")):
            yield f"The training text has {units.count(corpus)} tokens, {in_books(corpus)}."
    sizes = [size for stage in record.stages if (size := number_of(record.facts.get(stage, {}).get("parameters")))]
    if sizes:
        yield f"The model has {units.count(sizes[0])} parameters."
    tokens = [f"{words(stage)} {units.count(number)}" for stage in record.stages if (number := stage_tokens(record, stage))]
    if tokens:
        yield f"Tokens a stage: {', '.join(tokens)}."
    seconds = total_seconds(record)
    if seconds is not None:
        yield f"It took {units.duration(seconds)}."
    yield from _changes(record)


def _amount(part: object, unit: str) -> str:
    numbers = table_of(part)
    documents, size = number_of(numbers.get("documents")), number_of(numbers.get("bytes"))
    return f"{units.count(documents)} {unit} ({units.size(size)})"


def _changes(record: Record) -> Iterator[str]:
    """The first measures that two stages share, from the first model to the last."""
    by_measure: dict[str, list[Result]] = {}
    for result in record.results:
        if result.value is not None:
            by_measure.setdefault(result.measure, []).append(result)
    changes = [(measure, rows[0], rows[-1]) for measure, rows in by_measure.items() if len(rows) > 1]
    for measure, first, last in changes[:_MOST_CHANGES]:
        better = f" ({direction(measure)})" if direction(measure) else ""
        yield (
            f"Held-out {words(measure)}{better} is {units.number(first.value)} after {words(first.stage)}"
            f" and {units.number(last.value)} after {words(last.stage)}."
        )
