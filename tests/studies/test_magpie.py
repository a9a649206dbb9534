"""The study of Magpie: its rule on shares and losses that are planted."""

import json

import pytest

from trivium.core.errors import DataError
from trivium.studies.magpie import Magpie


def write_run(folder, **shares):
    """A run folder with these shares of valid queries, and losses of pairs of stages as (value, half an interval)."""
    folder.mkdir()
    rows = []
    for stage, value in shares.items():
        measure, value, half = ("heldout_loss", *value) if isinstance(value, tuple) else ("valid_share", value, 0.03)
        rows.append({"stage": stage, "measure": measure, "value": value, "low": value - half, "high": value + half, "n": 500})
    (folder / "results.json").write_text(json.dumps(rows))
    return folder


@pytest.mark.parametrize(
    ("aligned", "control", "outcome"),
    [
        (0.8, 0.19, "seen"),
        (0.79, 0.0, "not seen"),
        (0.95, 0.2, "controls failed"),
        (1.0, 0.0, "seen"),
        (0.0, 1.0, "controls failed"),
    ],
)
def test_the_claim_needs_both_shares(tmp_path, aligned, control, outcome):
    finding = Magpie().find([write_run(tmp_path / "run", magpie=aligned, control=control)])
    assert finding.outcome == outcome
    assert [(row[1], row[-1]) for row in finding.rows] == [
        ("magpie", "at least 80%" if aligned >= 0.8 else "not at least 80%"),
        ("control", "less than 20%" if control < 0.2 else "not less than 20%"),
    ]


@pytest.mark.parametrize(
    ("kept", "everything", "seen"),
    [
        ((2.0, 0.1), (2.3, 0.1), "filtering helps"),
        ((2.0, 0.2), (2.3, 0.2), "no difference is seen"),
        ((2.3, 0.1), (2.0, 0.1), "filtering harms"),
    ],
)
def test_losses_are_compared_by_their_intervals(tmp_path, kept, everything, seen):
    finding = Magpie().find(
        [write_run(tmp_path / "run", magpie=0.9, control=0.1, filtered_small=kept, unfiltered_small=everything, other=(1.0, 1.0))]
    )
    assert finding.holds
    assert [row[-1] for row in finding.rows[2:]] == [seen, seen]
    assert finding.verdict.endswith(f"after unfiltered_small: {seen}.")


def test_a_run_without_both_is_no_evidence(tmp_path):
    for name, shares in (("one", {"magpie": 0.9}), ("other", {"control": 0.1}), ("none", {"filtered": (1.0, 0.1)})):
        with pytest.raises(DataError, match="whose name begins with 'control'"):
            Magpie().find([write_run(tmp_path / name, **shares)])


def test_instructions_that_people_wrote_are_valid(tmp_path):
    finding = Magpie().find([write_run(tmp_path / "run", magpie=0.9, control=0.1)])
    assert [control.is_right for control in finding.controls] == [True, True]
    assert "90%" in finding.verdict
