"""When does the largest data set need all the text there is? Growth of data sets against the stock, published inputs or one's own."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field

from trivium.core.config import component
from trivium.core.errors import DataError
from trivium.report.svg import Line, line_chart
from trivium.studies.finding import Cell, Control, Figure, Finding
from trivium.studies.stock_model import (
    FIRST_YEAR,
    Demand,
    Flat,
    Spread,
    Stock,
    crossings,
    demand_of_compute,
    exactly,
    exhausted_by,
    growth_of,
    middle_year,
)
from trivium.studies.study import Preset, Trial, refuse_folders
from trivium.text.rows import rows

HEADER = ("projection", "growth, powers of ten a year", "median year", "10 %", "90 %", "by 2026", "by 2028", "by 2030", "by 2032")
YEARS = (2026, 2028, 2030, 2032)
SYSTEMS = Path(__file__).parent / "systems.csv"  # when models were described, and the tokens that they read, by the papers named there
SEED = 1
# The largest training of 2024, as in the released code. How fast they grow, about fourfold a year, is a round number of our own: the
# projection that the published figures rest on is not released in a form that can be read.
COMPUTE, COMPUTE_GROWTH = Spread(1e25, 1e26, level=0.9), Spread(0.5, 0.7, is_log=False)


@component
class DataStock:
    """With the published inputs unless one's own are given. tokens: of the largest data set in 2024.

    systems: a file with `year` (2023.15) and `tokens` of data sets, for their growth, as the systems.csv beside this file. stock: of text
    worth reading, repeats included, in tokens, that do not grow.
    """

    name: ClassVar = "stock"
    claim: ClassVar = "data sets outgrow the stock of text, between 2026 and 2032, 2028 in the middle (Villalobos et al. 2024)"
    question: ClassVar = "When does the largest data set need all the text there is?"
    rule: ClassVar = (
        "the claim is reproduced if the calendar year in which half of the samples of the historical projection of the largest data set"
        " have met the effective stock is 2028, or one beside it"
    )
    expected: ClassVar = "the turn of 2028 to 2029 with the published inputs; nothing is trained"
    systems: str = ""
    tokens: float = Field(default=0.0, ge=0)
    stock: float = Field(default=0.0, ge=0)

    def trials(self, preset: Preset) -> Sequence[Trial]:
        return ()

    def find(self, folders: Sequence[Path]) -> Finding:
        growth = Demand().growth if not self.systems else growth_in(Path(self.systems))
        refuse_folders(folders, "systems=FILE or published numbers")
        tokens = exactly(self.tokens) if self.tokens else Demand().tokens
        there = Flat(exactly(self.stock)) if self.stock else Stock()
        historical = Demand(tokens, growth)
        projections: dict[str, tuple[Demand, Stock | Flat]] = {
            "historical": (historical, there),
            "by compute": (demand_of_compute(COMPUTE, COMPUTE_GROWTH), there),
            "by compute, 5 times more tokens than best": (demand_of_compute(COMPUTE, COMPUTE_GROWTH, 5), there),
            "historical, all text of the web, once": (historical, Stock(quality=exactly(1), epochs=exactly(1))),
            "historical, as our table of models grows": (Demand(tokens, growth_in(SYSTEMS)), there),
        }
        found = {name: crossings(*inputs, SEED) for name, inputs in projections.items()}
        median, low, high = middle_year(found["historical"])
        larger = crossings(Demand(Spread(10 * tokens.low, 10 * tokens.high, level=tokens.level), growth), there, SEED)
        still = crossings(Demand(tokens, exactly(0, is_log=False)), there, SEED)
        controls = [
            Control("data sets ten times larger: earlier", is_positive=True, is_detected=middle_year(larger)[0] < median),
            Control("data sets that do not grow: never", is_positive=False, is_detected=math.isfinite(middle_year(still)[0])),
        ]
        verdict = (
            f"The largest data set meets the effective stock in {median:.1f} (median; 80 % of samples between {low:.1f} and {high:.1f});"
            f" by compute in {middle_year(found['by compute'])[0]:.1f}."
        )
        holds = math.isfinite(median) and abs(math.floor(median) - 2028) <= 1
        table = [_row(name, projections[name][0], years) for name, years in found.items()]
        return Finding(verdict, holds, HEADER, table, controls, _figures(found, historical, there))


def growth_in(path: Path) -> Spread:
    """Of a table of data sets, in powers of ten a year."""
    years, tokens = zip(*((row.finite("year"), row.finite("tokens")) for row in rows(path)), strict=True)
    try:
        return growth_of(years, tokens, SEED)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _row(name: str, demand: Demand, years: np.ndarray) -> list[Cell]:
    median, low, high = (year if math.isfinite(year) else "never" for year in middle_year(years))
    return [name, demand.growth.middle, median, low, high, *exhausted_by(years, YEARS).tolist()]


def _figures(found: dict[str, np.ndarray], demand: Demand, stock: Stock | Flat) -> list[Figure]:
    years = np.arange(FIRST_YEAR, 2041.0)
    shares = [
        Line(name, list(zip(years.tolist(), exhausted_by(each, years.tolist()).tolist(), strict=True))) for name, each in found.items()
    ]
    draw = np.random.Generator(np.random.Philox(key=SEED))
    there, rate = (float(np.median(values)) for values in stock.sample(draw, 10_000))
    after = years - FIRST_YEAR
    needed = Line(
        "data set", list(zip(years.tolist(), (math.log10(demand.tokens.middle) + demand.growth.middle * after).tolist(), strict=True))
    )
    offered = Line("stock", list(zip(years.tolist(), (math.log10(there) + rate * after).tolist(), strict=True)))
    return [
        Figure("all text used by", "share of samples", line_chart("share of samples by year", shares[:3], x_name="year")),
        Figure("log10 tokens", "medians of the historical projection", line_chart("log10 tokens", [needed, offered], x_name="year")),
    ]
