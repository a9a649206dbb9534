"""Which model is better: ratings with their intervals, win rates as judged and at equal lengths, and who was not ranked and why."""

from collections.abc import Callable, Mapping
from typing import Any

from trivium.report import units
from trivium.report.html import Html, element, figure, join, muted, table, words
from trivium.report.reading import RANKING, Record, list_of, number_of, of_stages, table_of
from trivium.report.svg import Interval, intervals

_MOST_DRAWN = 40


def ranking(record: Record) -> Html:
    """A plot and tables for every stage that ranked models."""
    return of_stages(record, RANKING, _stage)


def _stage(stage: str, found: Mapping[str, Any]) -> Html:
    places = [table_of(row) for row in list_of(found.get("places"))]
    told = (
        f"{units.count(number_of(found.get('matches')))} matches between {units.count(number_of(found.get('models')))} models, rated by"
        f" Bradley-Terry ({found.get('draws')}); intervals of 95 % ({found.get('intervals')}). The rank is 1 more than the number of models"
        " whose interval lies above."
    )
    parts = [element("h3", words(stage)), element("p", told), *_warnings(found), *_style(found)]
    drawn = [Interval(str(row.get("model")), *_three(row, "rating")) for row in places[:_MOST_DRAWN]]
    parts.append(figure("rating", "", intervals("ratings of models", drawn)))
    if len(places) > _MOST_DRAWN:
        parts.append(muted(f"The first {_MOST_DRAWN} of {len(places)} are drawn; the table has all."))
    return join([*parts, _places(places), *_win_rates(found), *_heldout(found)])


def _warnings(found: Mapping[str, Any]) -> list[Html]:
    flagged = [table_of(row) for row in list_of(found.get("flagged"))]
    lines = [element("p", element("b", f"Not ranked: {row.get('model')}"), f" {row.get('reason')}.") for row in flagged]
    if found.get("is_separated"):
        lines.append(muted("Some models won or lost every match: their ratings have no bound, and a weak prior holds them."))
    return lines


def _style(found: Mapping[str, Any]) -> list[Html]:
    effects = [f"{name} {units.number(number_of(points))}" for name, points in table_of(found.get("style")).items()]
    return [muted(f"Controlled for style; points for a deviation more of it: {', '.join(effects)}.")] if effects else []


def _places(places: list[Mapping[str, Any]]) -> Html:
    rows = [
        [str(row.get("model")), units.count(number_of(row.get("rank"))), _within(row, "rating", units.count),
         _within(row, "elo", units.count), units.count(number_of(row.get("elo_in_order"))), units.number(number_of(row.get("score"))),
         units.count(number_of(row.get("matches")))]
        for row in places
    ]  # fmt: skip
    header = ["model", "rank", "Bradley-Terry", "Elo, mean over orders", "Elo, as played", "score", "matches"]
    return table(header, rows, caption="Ratings; in brackets 95 % intervals, of Elo over random orders of the matches")


def _win_rates(found: Mapping[str, Any]) -> list[Html]:
    rates = [table_of(row) for row in list_of(found.get("win_rates"))]
    if not rates:
        return []
    rows = [
        [str(row.get("model")), _within({"rate": row.get("raw"), "low": row.get("low"), "high": row.get("high")}, "rate"),
         units.number(number_of(row.get("controlled"))), units.count(number_of(row.get("matches")))]
        for row in rates
    ]  # fmt: skip
    return [table(["model", "won, %", "at equal lengths, %", "matches"], rows, caption=f"Win rates against {found.get('baseline')}")]


def _heldout(found: Mapping[str, Any]) -> list[Html]:
    lines = [f"{words(str(row.get('measure')))} {_within(row, 'value')}" for row in map(table_of, list_of(found.get("heldout")))]
    return [muted(f"On matches of held-out prompts that have a winner: {'; '.join(lines)}.")] if lines else []


def _three(row: Mapping[str, Any], name: str) -> tuple[float, float | None, float | None]:
    value, low, high = (number_of(row.get(key)) for key in (name, "low", "high"))
    return float("nan") if value is None else value, low, high


def _within(row: Mapping[str, Any], name: str, shown: Callable[[float | None], str] = units.number) -> str:
    value, low, high = (shown(number_of(row.get(key))) for key in (name, f"{name}_low", f"{name}_high"))
    if f"{name}_low" not in row:
        low, high = (shown(number_of(row.get(end))) for end in ("low", "high"))
    return f"{value} [{low}, {high}]"
