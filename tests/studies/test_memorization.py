"""The study of memorisation: its rule on models that are look-up tables, by how often they saw a canary and by their size."""

from types import SimpleNamespace

import numpy as np
import pytest

from trivium.studies import memorization
from trivium.studies.canaries import Canary
from trivium.studies.extraction import LookupTable
from trivium.studies.memorization import HEADER, Memorization

K = L = 8
DRAW = np.random.default_rng(1)
ROWS = list(DRAW.integers(0, 97, (60, K + L)))
SEEN = np.repeat([1, 2, 4, 8, 16], 8)
CANARIES = [Canary(f"c{number}", DRAW.integers(0, 97, K + L), np.arange(times)) for number, times in enumerate(SEEN)]


def training(name, parameters, known):
    """A training whose model knows these texts."""
    speaker = SimpleNamespace(model=LookupTable(known, prompt=K, length=L))
    return SimpleNamespace(
        name=name, parameters=parameters, order=SimpleNamespace(row=lambda place: ROWS[place]), speaker=lambda: speaker,
        places=lambda count: np.arange(min(count, len(ROWS))), machine=SimpleNamespace(sampler="torch"),
    )  # fmt: skip


def found(monkeypatch, *trainings, canaries=CANARIES):
    monkeypatch.setattr(memorization, "trainings_of", lambda folders, published: list(trainings))
    monkeypatch.setattr(memorization, "canaries_of", lambda training, size: canaries)
    monkeypatch.setattr(memorization, "decoded_scores", lambda model, rows, **_: np.zeros(len(rows)))
    return Memorization(k=K, l=L, rows=60).find(())


def seen_often(least):
    return [canary.tokens for canary, times in zip(CANARIES, SEEN, strict=True) if times >= least]


def test_more_copies_and_more_parameters_are_known_more(monkeypatch):
    finding = found(monkeypatch, training("large", 1000, seen_often(4)), training("small", 100, seen_often(16)))
    assert finding.outcome == "seen"
    assert finding.verdict.startswith("Canaries extracted: 8 from 0.0001M, 24 from 0.001M")
    rows = [dict(zip(HEADER, row, strict=True)) for row in finding.rows if row[0] == "large"]
    assert [(row["what"], row["times seen"], row["texts"], row["extracted"]) for row in rows] == [
        ("rows", "", 60, 0), *(("canaries", f"{times} or more", 8, 8 * (times >= 4)) for times in (1, 2, 4, 8, 16)),
    ]  # fmt: skip


def test_what_was_seen_once_as_often_as_often_is_not_seen(monkeypatch):
    every_other = [canary.tokens for canary in CANARIES[::2]]
    assert found(monkeypatch, training("large", 1000, every_other), training("small", 100, [])).outcome == "not seen"


def test_a_small_model_that_knows_more_is_against_it(monkeypatch):
    assert found(monkeypatch, training("large", 1000, seen_often(8)), training("small", 100, seen_often(4))).outcome == "not seen"


@pytest.mark.parametrize(("small", "outcome"), [(8, "seen"), (4, "not seen")])
def test_several_seeds_of_the_largest_size_are_taken_together(monkeypatch, small, outcome):
    seeds = (training("seed 1", 1000, seen_often(8)), training("seed 2", 1000, seen_often(16)))  # of which one knows 16, the other 8
    both = (*seeds, training("small", 100, seen_often(16) if small == 8 else seen_often(8)))
    assert found(monkeypatch, *both).outcome == outcome
    assert found(monkeypatch, *seeds[::-1], both[-1]).outcome == outcome
    rows = (training("seed 1", 1000, ROWS[:30]), training("seed 2", 1000, ROWS[:2]))
    assert found(monkeypatch, *rows, canaries=[]).outcome == "cannot tell"  # they have one size


def test_nothing_known_and_one_size_without_canaries_decide_nothing(monkeypatch):
    assert found(monkeypatch, training("large", 1000, []), training("small", 100, [])).outcome == "cannot tell"
    alone = found(monkeypatch, training("alone", 1000, ROWS[:30]), canaries=[])
    assert alone.outcome == "cannot tell"
    assert "Rows extracted: 30" in alone.verdict


@pytest.mark.parametrize(("small", "outcome"), [(2, "seen"), (25, "not seen"), (40, "not seen")])
def test_without_canaries_rows_decide_by_their_intervals(monkeypatch, small, outcome):
    both = (training("large", 1000, ROWS[:30]), training("small", 100, ROWS[:small]))
    assert found(monkeypatch, *both, canaries=[]).outcome == outcome
