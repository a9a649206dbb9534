"""What became of the raw text: read, dropped and why, duplicates, cut, kept, with samples of what is gone or was replaced."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from trivium.report import units
from trivium.report.html import Html, details, element, join, words
from trivium.report.reading import FUNNEL, Record, list_of, number_of, of_stages, table_of
from trivium.report.svg import Bar, bars

_READ, _DROPPED, _DUPLICATE, _CUT, _KEPT = 5, 1, 4, 2, 0
_LONGEST_SAMPLE = 600


def funnel(record: Record) -> Html:
    """Bars of every stage that cleaned text."""
    return of_stages(record, FUNNEL, partial(_funnel, is_alone=len(record.left[FUNNEL]) == 1))


def _funnel(stage: str, numbers: Mapping[str, Any], *, is_alone: bool) -> Html:
    dropped, cut = ([table_of(entry) for entry in list_of(numbers.get(part))] for part in ("dropped", "cut"))
    total = number_of(table_of(numbers.get("read")).get("documents"))
    rows = [_bar("read", table_of(numbers.get("read")), total, _READ)]
    rows += [_bar(f"dropped: {words(str(entry.get('reason', 'no reason given')))}", entry, total, _DROPPED) for entry in dropped]
    rows.append(_bar("duplicates", table_of(numbers.get("duplicates")), total, _DUPLICATE))
    rows += [_bar(f"lost a part: {words(str(entry.get('reason', 'no reason given')))}", entry, total, _CUT) for entry in cut]
    rows.append(_bar("kept", table_of(numbers.get("kept")), total, _KEPT))
    chart = element("div", bars(f"{numbers.get('unit', 'documents')} through {words(stage)}", [row for row in rows if row]), class_="bars")
    replaced = (_replaced(str(kind), table_of(entry)) for kind, entry in table_of(numbers.get("replaced")).items())
    return join(
        [
            "" if is_alone else element("h3", words(stage)),
            chart,
            *(_samples("dropped", entry) for entry in dropped),
            *(_samples("cut", entry) for entry in cut),
            *replaced,
        ]
    )


def _bar(name: str, part: Mapping[str, Any], total: float | None, colour: int) -> Bar | None:
    documents, size = number_of(part.get("documents")), number_of(part.get("bytes"))
    if documents is None:
        return None
    share = f"{units.share(documents / total)}, " if total and name != "read" else ""
    return Bar(name, documents, f"{units.count(documents)} ({share}{units.size(size)})", colour)


def _samples(fate: str, entry: Mapping[str, Any]) -> Html:
    samples = [str(sample) for sample in list_of(entry.get("samples"))]
    if not samples:
        return join([])
    quotes = (element("blockquote", clip(sample, _LONGEST_SAMPLE)) for sample in samples)
    return details(f"samples {fate} for: {words(str(entry.get('reason', 'no reason given')))}", *quotes)


def _replaced(kind: str, entry: Mapping[str, Any]) -> Html:
    """Personal data of a kind: how often, and excerpts."""
    count, documents = number_of(entry.get("count")), number_of(entry.get("documents"))
    if count is None or documents is None:
        return join([])
    quotes = (element("blockquote", clip(str(sample), _LONGEST_SAMPLE)) for sample in list_of(entry.get("samples")))
    return details(f"replaced: {words(kind)}, {units.count(count)} times in {units.count(documents)} documents", *quotes)


def clip(text: str, longest: int) -> str:
    """The beginning of a text, and how much is left out."""
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text) - longest:,} more characters)"
