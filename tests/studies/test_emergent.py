"""Predicting what a large model will know by heart: counts by hand, and models that are look-up tables."""

from types import SimpleNamespace

import numpy as np
import pytest

from trivium.core.errors import DataError
from trivium.studies import emergent
from trivium.studies.emergent import HEADER, Emergent, Guess, Prediction, decide
from trivium.studies.extraction import LookupTable


def test_precision_and_recall_are_those_counted_by_hand():
    made = Prediction.of(np.array([1, 1, 1, 0, 0, 0, 0, 0], bool), np.array([1, 1, 0, 1, 1, 0, 0, 0], bool))
    assert (made.predicted, made.actual, made.hits, made.texts) == (3, 4, 2, 8)
    assert made.precision[0] == pytest.approx(2 / 3)
    assert made.recall[0] == 0.5
    assert made.share == 0.5
    assert not made.is_better_than_blind  # three guesses say little


def test_nothing_predicted_or_nothing_known_has_no_share():
    nothing = Prediction.of(np.zeros(5, bool), np.zeros(5, bool))
    assert nothing.precision is None
    assert nothing.recall is None
    assert not nothing.is_better_than_blind
    with pytest.raises(DataError, match="3 predictions of 5 texts"):
        Prediction.of(np.zeros(3, bool), np.zeros(5, bool))


def guess(hits, predicted, *, early=False, actual=100):
    return Guess("x", 1, 1, 0.1, early, Prediction(predicted, actual, hits, 1000))


@pytest.mark.parametrize(
    ("guesses", "known", "holds"),
    [
        ([guess(20, 22), guess(80, 100, early=True)], 100, True),
        ([guess(20, 22), guess(10, 12, early=True)], 100, False),  # the small one says more
        ([guess(2, 22), guess(80, 100, early=True)], 100, False),  # blind
        ([guess(60, 62), guess(80, 100, early=True)], 100, False),  # too good for the claim
        ([guess(20, 22)], 100, None),
        ([guess(80, 100, early=True)], 100, None),
        ([guess(2, 2, actual=4), guess(3, 3, early=True, actual=4)], 4, None),
    ],
)
def test_the_rule(guesses, known, holds):
    assert decide(guesses, known) is holds


TEXTS = [np.arange(start, start + 16) % 97 for start in range(60)]


def training(name, parameters, known, fingerprint="one"):
    """A training whose models, by their updates, know so many of the texts."""
    tables = {step: LookupTable(TEXTS[:count], prompt=8, length=8) for step, count in known.items()}
    return SimpleNamespace(
        name=name, parameters=parameters, models=dict.fromkeys(known), num_rows=len(TEXTS), trace=None, fingerprint=fingerprint,
        order=SimpleNamespace(row=lambda place: TEXTS[place]), places=lambda count: np.arange(min(count, len(TEXTS))),
        speaker=lambda step: SimpleNamespace(model=tables[max(known) if step is None else step]),
    )  # fmt: skip


def test_the_study_predicts_the_largest_model_from_the_others(monkeypatch):
    large = training("large", 1000, {0: 0, 10: 25, 20: 30})
    monkeypatch.setattr(emergent, "trainings_of", lambda folders, published: [large, training("small", 100, {20: 8})])
    finding = Emergent(rows=60).find(())
    assert finding.outcome == "seen"
    small, early = (dict(zip(HEADER, row, strict=True)) for row in finding.rows)
    assert (small["predictor"], small["compute, of the large one's"], small["both"]) == ("small", 0.1, 8)
    assert small["recall"] == pytest.approx(8 / 30)
    assert (early["updates"], early["compute, of the large one's"], early["precision"]) == (10, 0.5, 1.0)
    assert "recalls 27% with a precision of 100%" in finding.verdict
    assert len(finding.figures) == 1


def checkpoint(folder, parameters, known, rows, step=0):
    """A model directory: one model, which says how far it is by its name or not at all."""
    made = training(folder, parameters, {step: known})
    made.num_rows = rows
    return made


def test_model_directories_of_the_large_size_are_its_checkpoints(monkeypatch):
    large, early = checkpoint("pythia-step30", 1000, 30, 60, 30), checkpoint("pythia-step15", 1000, 25, 30, 15)
    monkeypatch.setattr(emergent, "trainings_of", lambda folders, published: [large, early, checkpoint("small", 100, 8, 60)])
    finding = Emergent(rows=60).find(())
    assert finding.outcome == "seen"
    found = [dict(zip(HEADER, row, strict=True)) for row in finding.rows]
    assert [(row["predictor"], row["updates"], row["compute, of the large one's"], row["both"]) for row in found] == [
        ("small", 0, 0.1, 8),
        ("pythia-step15", 15, 0.5, 25),
    ]
    assert "its checkpoint after 15 updates recalls 83%" in finding.verdict


def test_without_smaller_models_one_cannot_tell(monkeypatch):
    monkeypatch.setattr(emergent, "trainings_of", lambda folders, published: [training("alone", 100, {20: 30})])
    finding = Emergent(rows=60).find(())
    assert finding.outcome == "cannot tell"
    assert finding.rows[0][HEADER.index("large one knows")] == 30


def test_sizes_with_different_tokenizers_are_refused(monkeypatch):
    both = [training("large", 1000, {20: 30}), training("small", 100, {20: 8}, fingerprint="other")]
    monkeypatch.setattr(emergent, "trainings_of", lambda folders, published: both)
    with pytest.raises(DataError, match="small: has another tokenizer than large"):
        Emergent(rows=60).find(())
