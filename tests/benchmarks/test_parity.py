"""The comparison of losses: ours from given log-probs, and what the table says."""

import math

import numpy as np
import pytest

from benchmarks import parity
from benchmarks.parity_cases import CASES, Case
from trivium.learn.objectives import CrossEntropy
from trivium.learn.objectives.preference import DPO


class Echo:
    """A peer that says what it is told, and remembers the last question."""

    def __init__(self, loss, slopes):
        self.answer = {"loss": loss, "slopes": slopes}

    def ask(self, **request):
        self.request = request
        return self.answer


def test_our_loss_by_hand():
    case = Case(name="DPO", trainer="dpo", objective=DPO(beta=0.5))
    given = parity.material(case, 1)
    loss, slopes = parity.ours(case, given)
    sums = {name: np.array([row.sum() for row in given[name]]) for name in ("logprobs", "ref")}
    ratio = sums["logprobs"] - sums["ref"]
    margin = 0.5 * (ratio[: parity.PAIRS] - ratio[parity.PAIRS :])
    assert loss == pytest.approx(np.log1p(np.exp(-margin)).mean(), rel=1e-12)
    assert len(slopes) == sum(map(len, given["logprobs"]))
    assert slopes[0] == pytest.approx(-0.5 / (1 + math.exp(margin[0])) / parity.PAIRS, rel=1e-12)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_case_has_a_loss_and_a_slope_for_every_number(case):
    given = parity.material(case, 2)
    loss, slopes = parity.ours(case, given)
    assert math.isfinite(loss)
    assert len(slopes) == sum(np.size(row) for row in given["logprobs"])
    assert np.abs(slopes).max() > 0


def test_a_row_is_the_largest_difference_over_draws():
    case = Case(name="SFT", trainer="sft", objective=CrossEntropy())
    loss, slopes = parity.ours(case, parity.material(case, 0))
    talk = Echo(loss + 1e-9, [slopes.tolist()])
    row = parity.compare(talk, case, [0])
    assert row["verdict"] == "same"
    assert row["loss"] == pytest.approx(1e-9, rel=1e-3)
    assert talk.request["precision"] == "float64"
    assert parity.compare(Echo(loss + 1e-3, [slopes.tolist()]), case, [0])["verdict"] == "DIFFERENT"


def test_a_difference_on_purpose_must_be_there():
    case = Case(name="x", trainer="sft", objective=CrossEntropy(), differs="a reason")
    assert parity.verdict(case, 1e-3, 0.0) == "differs on purpose"
    assert parity.verdict(case, 0.0, 0.0) == "SAME, though it should differ"


def test_the_page_has_a_line_for_each_row():
    row = {"method": "SFT", "loss": 1e-9, "slopes": 0.0, "tolerance": 1e-6, "verdict": "same", "why": "a note"}
    page = parity.page([row], {"trl": "1.16.0"})
    assert "| SFT | 1.0e-09 | 0.0e+00 | 1e-06 | same | a note |" in page
    assert "trl 1.16.0" in page
