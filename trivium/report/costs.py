"""Where the time and the tokens went, stage by stage."""

from statistics import median

from trivium.report import units
from trivium.report.html import Html, element, join, muted, table, words
from trivium.report.reading import Record, number_of
from trivium.report.story import stage_seconds, stage_tokens, total_seconds
from trivium.report.svg import Bar, bars


def costs(record: Record) -> Html:
    """A bar of seconds and a row of figures for each stage."""
    timed = [(stage, seconds) for stage in record.stages if (seconds := stage_seconds(record, stage)) is not None]
    if not timed:
        return muted("Left out: no stage says how long it took, in done.json or in speed.jsonl.")
    total = total_seconds(record) or 0.0
    shown = [Bar(words(stage), seconds, _time_and_share(seconds, total)) for stage, seconds in timed]
    rows = [[words(stage), *_figures(record, stage, seconds)] for stage, seconds in timed]
    rows.append(["together", units.duration(total), *[""] * 5])
    header = ["stage", "time", "tokens", "tokens/s", "parameters", "work", "share of peak"]
    caption = "Tokens a second are over the whole stage; the share of peak is the median over its steps, against what this machine can do."
    return join([element("div", bars("time by stage", shown), class_="bars"), table(header, rows, caption=caption)])


def _time_and_share(seconds: float, total: float) -> str:
    return f"{units.duration(seconds)} ({units.share(seconds / total)})" if total > 0 else units.duration(seconds)


def _figures(record: Record, stage: str, seconds: float) -> list[str]:
    tokens, facts = stage_tokens(record, stage), record.facts.get(stage, {})
    shares = [share for row in record.speed.get(stage, ()) if (share := row.get("ceiling_share")) is not None]
    return [
        units.duration(seconds),
        units.count(tokens),
        units.count(tokens / seconds if tokens is not None and seconds > 0 else None),
        units.count(number_of(facts.get("parameters"))),
        units.flops(number_of(facts.get("flops"))),
        units.share(median(shares) if shares else None),
    ]
