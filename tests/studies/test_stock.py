"""Data sets against the stock of text: closed forms where nothing is uncertain, and the published inputs."""

import csv
import math
import re

import numpy as np
import pytest

from trivium.core.errors import ConfigError, DataError
from trivium.studies.run import run_study
from trivium.studies.stock import SYSTEMS, DataStock
from trivium.studies.stock_model import (
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


def flat(tokens=8e12, growth=0.38, stock=320e12):
    return crossings(Demand(exactly(tokens), exactly(growth, is_log=False)), Flat(exactly(stock)), seed=1, samples=50)


@pytest.mark.parametrize(("growth", "year"), [(0.38, 2028.2), (0.27, 2029.9), (0.48, 2027.3)])
def test_without_doubt_the_year_is_the_closed_form(growth, year):
    found = flat(growth=growth)
    assert found == pytest.approx(np.full(50, 2024 + math.log10(40) / growth), abs=1e-9)
    assert middle_year(found)[0] == pytest.approx(year, abs=0.1)


def test_twice_the_stock_is_later_by_one_doubling():
    assert middle_year(flat(stock=640e12))[0] - middle_year(flat())[0] == pytest.approx(math.log10(2) / 0.38, abs=1e-9)


def test_larger_data_sets_meet_it_earlier_and_those_that_do_not_grow_never():
    assert middle_year(flat(tokens=80e12))[0] < middle_year(flat())[0]
    assert np.isinf(flat(growth=0.0)).all()
    assert np.isinf(flat(growth=-0.1)).all()
    assert middle_year(flat(growth=0.0)) == (math.inf,) * 3
    assert (flat(tokens=400e12, growth=0.0) == 2024).all()  # all of it is used already


def test_a_stock_that_grows_is_met_later():
    grows = Stock(*(exactly(value) for value in (1e11, 8000, 4, 0.2, 4)), page_growth=exactly(10**0.1), size_growth=exactly(1))
    still = Stock(*(exactly(value) for value in (1e11, 8000, 4, 0.2, 4)), page_growth=exactly(1), size_growth=exactly(1))
    demand = Demand(exactly(8e12), exactly(0.38, is_log=False))
    tokens = 1e11 * 8000 / 4 * 0.2 * 4
    assert crossings(demand, still, 1, samples=3) == pytest.approx([2024 + math.log10(tokens / 8e12) / 0.38] * 3)
    assert crossings(demand, grows, 1, samples=3) == pytest.approx([2024 + math.log10(tokens / 8e12) / 0.28] * 3)


def test_the_share_that_is_exhausted_only_grows():
    shares = exhausted_by(crossings(Demand(), Stock(), seed=1), np.arange(2024, 2041))
    assert (np.diff(shares) >= 0).all()
    assert 0 <= shares[0] < 0.1 < 0.9 < shares[-1] <= 1


def test_the_same_seed_gives_the_same_years_and_another_others():
    assert (crossings(Demand(), Stock(), 1) == crossings(Demand(), Stock(), 1)).all()
    assert (crossings(Demand(), Stock(), 1) != crossings(Demand(), Stock(), 2)).any()


def test_the_published_inputs_give_the_published_year_and_stock():
    median, low, high = middle_year(crossings(Demand(), Stock(), 1))
    assert median == pytest.approx(2029.0, abs=0.1)  # the end of 2028
    assert 2026 < low < 2028 < high < 2032
    raw, _ = Stock(quality=exactly(1), epochs=exactly(1)).sample(np.random.default_rng(1), 50_000)
    draw, z = np.random.default_rng(2), 2 * 1.959964

    def lognormal(low, high):
        return np.exp(draw.normal(math.log(low * high) / 2, math.log(high / low) / z, 50_000))

    theirs = lognormal(75e9, 1e12) * lognormal(6100, 8200) / (6 - lognormal(1, 4))  # bytes a token as the released code draws them
    assert np.median(raw) == pytest.approx(np.median(theirs), rel=0.05)
    effective, _ = Stock().sample(np.random.default_rng(1), 50_000)
    assert np.median(effective) == pytest.approx(np.median(raw) * math.sqrt(0.1 * 0.4 * 2 * 5), rel=0.05)


def test_an_interval_is_kept_by_its_samples():
    draw = np.random.default_rng(1)
    for spread in (Spread(3e12, 1.3e13, level=0.9), Spread(2, 5, median=4), Spread(0.27, 0.48, 0.38, is_log=False)):
        low, middle, high = np.quantile(spread.sample(draw, 200_000), [(1 - spread.level) / 2, 0.5, (1 + spread.level) / 2])
        assert (low, middle, high) == pytest.approx((spread.low, spread.middle, spread.high), rel=0.02)


def test_more_text_for_each_parameter_meets_the_stock_earlier():
    compute, growth = exactly(5e25), exactly(0.6, is_log=False)
    best = demand_of_compute(compute, growth)
    assert best.tokens.middle == pytest.approx(20 * math.sqrt(5e25 / 120))
    assert best.growth.middle == pytest.approx(0.3)
    years = [middle_year(crossings(demand_of_compute(compute, growth, factor), Stock(), 1))[0] for factor in (1, 5, 100)]
    assert years == sorted(years, reverse=True)


def test_growth_is_the_slope_of_the_logarithm():
    years = [2018.0, 2019.0, 2020.5, 2022.0, 2023.0]
    exact = growth_of(years, [10 ** (9 + 0.4 * (year - 2018)) for year in years], seed=1, resamples=200)
    assert (exact.low, exact.middle, exact.high) == pytest.approx((0.4, 0.4, 0.4))
    with pytest.raises(DataError, match="2 dates and 2 sizes"):
        growth_of([2020, 2021], [1e9, 1e10], seed=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"low": 2, "high": 1}, "it must rise"), ({"low": 0, "high": 1}, "above 0"), ({"low": 1, "high": 2, "level": 0.5}, "one of")],
)
def test_an_interval_that_is_none_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Spread(**options)


def test_the_study_reproduces_the_claim_and_its_controls_are_right():
    finding = DataStock().find(())
    assert finding.outcome == "seen"
    assert "meets the effective stock in 2029.0 (median" in finding.verdict
    assert len(finding.figures) == 2
    later = DataStock(stock=3e15).find(())
    assert later.outcome == "not seen"


def test_the_table_of_models_that_comes_along_is_another_growth():
    finding = DataStock().find(())
    [row] = [row for row in finding.rows if row[0] == "historical, as our table of models grows"]
    with SYSTEMS.open() as file:
        listed = list(csv.DictReader(file))
    assert all(re.fullmatch(r"arXiv:\d{4}\.\d{5}", each["source"]) for each in listed)
    for each in listed:  # a paper's number begins with its year and month
        assert float(each["year"]) == pytest.approx(2000 + int(each["source"][6:8]) + (int(each["source"][8:10]) - 0.5) / 12, abs=0.05)
    slope = np.polyfit([float(each["year"]) for each in listed], np.log10([float(each["tokens"]) for each in listed]), 1)[0]
    assert row[1] == pytest.approx(slope)
    assert row[1] > 0.3


def test_a_table_of_data_sets_of_ones_own_says_how_fast_they_grow(tmp_path):
    table = tmp_path / "sets.csv"
    table.write_text("name,year,tokens\n" + "".join(f"set {i},{2019 + i},{10.0 ** (10 + i / 2)}\n" for i in range(5)))
    facts, page = run_study("stock", [], {"systems": str(table), "tokens": 1e13}, tmp_path / "out")
    assert facts["table"][0]["growth, powers of ten a year"] == pytest.approx(0.5)
    assert page.is_file()
    table.write_text("year,tokens\n2020,1e9\n2021,-1\n2022,1e10\n")
    with pytest.raises(DataError, match=r"sets\.csv: 3 dates and 3 sizes of data sets; .* with tokens above 0"):
        DataStock(systems=str(table)).find(())
    table.write_text("year,tokens\n2020,many\n")
    with pytest.raises(DataError, match=r"sets.csv line 2: 'tokens' is 'many'; a number is expected"):
        DataStock(systems=str(table)).find(())
