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
    rows.append(["together", units.duration(total), *[""] * 7])
    header = ["stage", "time", "tokens", "tokens/s", "parameters", "work", "work/s", "share of ceiling", "share of data sheet"]
    caption = (
        "Tokens a second are over the whole stage. Work a second, and its shares of the largest product measured on this machine and of the"
        " data sheet's bf16 figure where it is known, are medians over the training steps: the model's own arithmetic, nothing else."
    )
    return join([element("div", bars("time by stage", shown), class_="bars"), table(header, rows, caption=caption)])


def _time_and_share(seconds: float, total: float) -> str:
    return f"{units.duration(seconds)} ({units.share(seconds / total)})" if total > 0 else units.duration(seconds)


def _figures(record: Record, stage: str, seconds: float) -> list[str]:
    tokens, facts = stage_tokens(record, stage), record.facts.get(stage, {})
    return [
        units.duration(seconds),
        units.count(tokens),
        units.count(tokens / seconds if tokens is not None and seconds > 0 else None),
        units.count(number_of(facts.get("parameters"))),
        units.flops(number_of(facts.get("flops"))),
        _per_second(_median(record, stage, "flops_per_s")),
        units.share(_median(record, stage, "ceiling_share")),
        units.share(_median(record, stage, "peak_share")),
    ]


def _median(record: Record, stage: str, figure: str) -> float | None:
    """Over the steps whose row has the figure."""
    values = [value for row in record.speed.get(stage, ()) if (value := row.get(figure)) is not None]
    return median(values) if values else None


def _per_second(work: float | None) -> str:
    return units.NONE if work is None else f"{units.flops(work)}/s"
