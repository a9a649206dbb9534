"""Every preference loss at one pair whose numbers can be checked on paper: the formulas of the papers, in float64."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.learn.test_golden import DOUBLE, at_the_answer, one_token_answers
from trivium.core.errors import ConfigError, DataError
from trivium.core.types import Example, example
from trivium.data.pack import pack
from trivium.learn.objectives.preference import (
    AOT,
    APO,
    BCO,
    CPL,
    CPO,
    DPO,
    EXO,
    FDPO,
    GPO,
    IPO,
    KTO,
    LDDPO,
    NCA,
    ODPO,
    ORPO,
    RDPO,
    RRHF,
    SPPO,
    TDPO,
    WPO,
    XPO,
    DiscoPOP,
    RobustDPO,
    SimPO,
    SLiC,
)  # fmt: skip
from trivium.learn.objectives.preference.pairs import log1mexp

CHOSEN, REJECTED, REFERENCE, LENGTHS = -10.0, -12.0, (-11.0, -11.5), (5, 4)  # log-probs of whole answers
SUPPORT, ODDS = 0.5981388693815918, 1.0943442769261575  # -log sigmoid(0.2), log odds ratio of ORPO


def answer(total: float, reference: float, length: int, **columns: float) -> Example:
    """An answer of so many tokens, of which each has the same share of the log-probs; other columns are the same at every token."""
    shares = {"policy": total / length, "ref_logprobs": reference / length}
    return example([0] * (length + 1), **{name: [0.0, *[value] * length] for name, value in (shares | columns).items()})


def loss_of(objective, *answers: Example) -> torch.Tensor:
    """The loss of one group, in float64. The column `kl` is the divergence from the reference at each token."""
    [batch] = pack([answers], rows=len(answers), length=max(len(item.tokens) for item in answers))
    wide = {name: column.double() for name, column in batch.columns.items()}
    batch = replace(batch, columns=wide, loss_mask_BL=batch.loss_mask_BL.double())
    out = SimpleNamespace(logprobs_BL=batch["policy"], reference_kl_BL=wide.get("kl"))
    return objective(out, batch)[0]


def pair(**columns: tuple[float, float]) -> tuple[Example, ...]:
    """The pair of all golden numbers. columns: a value for the better answer and one for the worse."""
    sides = [{name: values[side] for name, values in columns.items()} for side in (0, 1)]
    return tuple(
        answer(total, reference, length, **side)
        for total, reference, length, side in zip((CHOSEN, REJECTED), REFERENCE, LENGTHS, sides, strict=True)
    )


GOLDEN = {
    "dpo": (DPO(), 0.6209570477895321),
    "cdpo": (DPO(label_noise=0.1), 0.6359570477895321),
    "dpo a token": (DPO(is_per_token=True), 0.6770292059996041),
    "rpo": (DPO(nll_coef=0.5), 0.6209570477895321 + 0.5 * 2.0),
    "robust": (RobustDPO(label_noise=0.1), 0.602207047789532),
    "ipo": (IPO(), 12.25),
    "ipo a token": (IPO(is_per_token=True), 21.855625),
    "gpo logistic is dpo": (GPO(convex="logistic"), 0.6209570477895321),
    "gpo hinge": (GPO(convex="hinge"), 0.85),
    "gpo squared": (GPO(convex="squared"), 0.85**2),
    "gpo exponential": (GPO(convex="exponential"), np.exp(-0.15)),
    "gpo truncated": (GPO(beta=1, convex="truncated_squared"), 0.0),
    "gpo savage": (GPO(convex="savage"), 1 / (1 + np.exp(0.15)) ** 2),
    "slic": (SLiC(), 0.0 + 0.1 * 2.0),
    "slic within the margin": (SLiC(margin=3, nll_coef=0), 1.0),
    "orpo": (ORPO(), 2.028875078434462),
    "cpo": (CPO(), SUPPORT + 2.0),
    "cpo alone": (CPO(nll_coef=0), SUPPORT),
    "simpo": (SimPO(), 0.31326168751822286),
    "r-dpo": (RDPO(), SUPPORT),
    "sppo": (SPPO(beta=0.1), 36.25),
    "nca": (NCA(), 1.3508248141169994),
    "apo zero": (APO(), 0.9625234160368497),
    "apo down": (APO(anchor="down"), 0.9875493421351904),
    "exo": (EXO(label_noise=0.1), 0.43138845722278607),
    "discopop": (DiscoPOP(), 0.8493375792893855),
    "f-dpo forward": (FDPO(divergence="forward_kl"), 0.6311543835721054),
    "f-dpo js": (FDPO(divergence="js"), 0.6606521625101546),
    "f-dpo alpha": (FDPO(divergence="alpha", alpha=0.3), np.log1p(np.exp(-0.1 * (np.exp(0.3 * 0.5) - np.exp(-0.3)) / 0.3))),
    "ld-dpo without tail": (LDDPO(tail_weight=1), 0.6209570477895321),
    "ld-dpo": (LDDPO(tail_weight=0), np.log1p(np.exp(-0.1 * (0.8 + 0.5)))),  # four of the five tokens of the better answer
    "wpo": (WPO(), 0.6209570477895321 * np.exp(-2 - 3)),
    "cpl": (CPL(bias=0.5), np.log1p(np.exp(-0.1 * (-10 + 6)))),
}


@pytest.mark.parametrize(("objective", "loss"), GOLDEN.values(), ids=GOLDEN.keys())
def test_golden_pair(objective, loss):
    assert float(loss_of(objective, *pair())) == pytest.approx(loss, abs=2e-6)


def test_dpo_with_probabilities_is_the_mixture_that_the_data_asks_for():
    both = {prob: float(loss_of(DPO(has_probs=True), *pair(prob=(prob, prob)))) for prob in (1.0, 0.9, 0.5)}
    assert both[1.0] == pytest.approx(0.6209570477895321, abs=2e-6)
    assert both[0.9] == pytest.approx(0.6359570477895321, abs=2e-6)  # label_noise of a tenth
    assert both[0.5] == pytest.approx((np.log1p(np.exp(-0.15)) + np.log1p(np.exp(0.15))) / 2, abs=2e-6)
    with pytest.raises(ConfigError, match="leave one of them out"):
        DPO(has_probs=True, label_noise=0.1)


@pytest.mark.parametrize("objective", [ODPO()])
def test_odpo_asks_for_more_where_scores_differ_more(objective):
    gap = np.exp(0.3) - 1
    assert float(loss_of(objective, *pair(score=(gap, 0.0)))) == pytest.approx(0.770957047789532, abs=2e-6)
    assert float(loss_of(objective, *pair(score=(0.0, 5.0)))) == pytest.approx(0.6209570477895321, abs=2e-6)


@pytest.mark.parametrize(("from_reference", "explored"), [((0.0, 1.0), -12.0), ((1.0, 0.0), -10.0)])
@pytest.mark.parametrize("objective", [XPO(optimism=0.01)])
def test_xpo_is_dpo_and_a_share_of_what_the_references_answer_has_left(objective, from_reference, explored):
    assert float(loss_of(objective, *pair(from_reference=from_reference))) == pytest.approx(0.6209570477895321 + 0.01 * explored, abs=2e-6)


@pytest.mark.parametrize("objective", [FDPO(divergence="alpha", alpha=0.999), FDPO(divergence="alpha", alpha=0.001)])
def test_the_alpha_divergences_lie_between_the_forward_kl_and_dpo(objective):
    end = FDPO(divergence="forward_kl") if objective.alpha > 0.5 else DPO()
    assert float(loss_of(objective, *pair())) == pytest.approx(float(loss_of(end, *pair())), rel=1e-4)


@pytest.mark.parametrize("objective", [DiscoPOP(beta=1.0)])
def test_discopop_starts_uphill_between_a_local_minimum_and_the_way_out(objective):
    """Slopes by x = beta margin, of the better answer's log-ratio alone: beta is 1."""

    def at(x: float) -> tuple[float, float]:
        logprobs = at_the_answer(x, 0.0).requires_grad_()
        batch = one_token_answers(groups=[2], ref_logprobs=[0.0, 0.0])
        loss_G, _ = objective(SimpleNamespace(logprobs_BL=logprobs), batch)
        return float(loss_G.detach()), float(torch.autograd.grad(loss_G.sum(), logprobs)[0][0, 1])

    signs = [np.sign(at(x)[1]) for x in (-0.14, -0.10, 0.0, 0.06, 0.08, 1.0)]
    assert signs == [-1, 1, 1, 1, -1, -1]
    assert at(0.0)[1] == pytest.approx(5 * (1 - np.log(2)) - 0.25 - 0.5)  # m' (e^0 - log 2), and half of either slope
    assert at(-0.119)[0] == pytest.approx(0.7859, abs=1e-4)
    assert at(20.0)[0] < 1e-8


@pytest.mark.parametrize("objective", [TDPO(version=1)])
def test_tdpo_is_dpo_where_both_answers_have_drifted_alike(objective):
    assert float(loss_of(objective, *pair(kl=(0.7 / 5, 0.7 / 4)))) == pytest.approx(0.6209570477895321, abs=2e-6)
    one = float(loss_of(objective, *pair(kl=(0.5 / 5, 1.5 / 4))))
    assert one == pytest.approx(np.log1p(np.exp(-0.1 * (1.5 - 1.0))), abs=2e-6)
    assert float(loss_of(TDPO(version=2, weight=1.0), *pair(kl=(0.5 / 5, 1.5 / 4)))) == pytest.approx(one)


@pytest.mark.parametrize(("label", "loss"), [(1.0, 0.48750260351578967), (-1.0, 0.47502081252106)])
@pytest.mark.parametrize("objective", [KTO()])
def test_kto_values_a_good_and_a_bad_answer(objective, label, loss):
    side = 0 if label > 0 else 1
    found = loss_of(objective, pair(label=(1.0, -1.0), baseline=(0.5, 0.5))[side])
    assert float(found) == pytest.approx(loss, abs=2e-6)
    assert float(loss_of(KTO(good_weight=2, bad_weight=2), pair(label=(1.0, -1.0), baseline=(0.5, 0.5))[side])) == pytest.approx(2 * loss)


@pytest.mark.parametrize("objective", [BCO()])
def test_bco_of_a_pair_is_the_sum_of_its_answers(objective):
    both = pair(label=(1.0, -1.0), baseline=(0.0, 0.0))
    assert sum(float(loss_of(objective, side)) for side in both) == pytest.approx(1.3128563080868572, abs=2e-6)


def now(*totals: float):
    """What the policy says: one-token answers in the order in which they are asked about, by their token."""
    return lambda answers: [np.array([0.0, totals[int(item.tokens[1])]], np.float32) for item in answers]


def said(token: int, reference: float = 0.0, **columns: float) -> Example:
    return example([0, token], ref_logprobs=[0, reference], **{name: [value, value] for name, value in columns.items()})


def test_ktos_baseline_is_the_mean_log_ratio_of_mismatches_and_not_below_0():
    groups = [(said(0), said(1, -1.0)), (said(2), said(3, -2.0))]
    for totals, z in (((9, 0.5, 9, -1.0), (1.5 + 1.0) / 2), ((9, -4.0, 9, -3.0), 0.0)):
        answers = KTO().of_step(groups, now(*totals))
        assert [item.columns["baseline"].tolist() for [item] in answers] == [[z, z], [z, z]]


def test_bcos_baseline_is_half_way_between_good_and_bad():
    groups = [(said(0, label=1.0),), (said(1, label=1.0),), (said(2, label=-1.0),)]
    assert [item.columns["baseline"][1] for [item] in BCO().of_step(groups, now(1.0, 3.0, -4.0))] == [-1.0] * 3
    assert BCO().of_step(groups[:2], now(1.0, 3.0, 0.0))[0][0].columns["baseline"][1] == 2.0


@pytest.mark.parametrize("objective", [AOT(beta=0.1)])
def test_aot_compares_margins_of_the_same_place(objective):
    """Margins of the policy 2, -1 and of the reference 0.5, 0.5."""
    groups = [(said(0, 0.5), said(1)), (said(2, 0.5), said(3))]
    served = objective.of_step(groups, now(2.0, 0.0, -1.0, 0.0))
    batch = one_token_answers(groups=[2, 2], ref_logprobs=[0.5, 0, 0.5, 0], baseline=[x.columns["baseline"][1] for g in served for x in g])
    loss_G, _ = objective(SimpleNamespace(logprobs_BL=at_the_answer(2, 0, -1, 0)), batch)
    assert loss_G.tolist() == pytest.approx([np.log1p(np.exp(-0.15)), np.log1p(np.exp(0.15))], abs=1e-7)


def test_aot_gives_each_pair_the_references_margin_of_the_place_it_has_under_the_policy():
    groups = [(said(0, 3.0), said(1)), (said(2, 1.0), said(3)), (said(4, 2.0), said(5))]
    served = AOT().of_step(groups, now(0.1, 0, 0.3, 0, 0.2, 0))
    assert [group[0].columns["baseline"][1] for group in served] == [1.0, 3.0, 2.0]


@pytest.mark.parametrize("objective", [AOT(is_paired=False)])
def test_unpaired_aot_meets_the_worst_of_both_sides_with_each_other(objective):
    groups = [(said(0), said(1)), (said(2), said(3))]
    served = objective.of_step(groups, now(5.0, -1.0, 2.0, 4.0))
    assert [[int(item.tokens[1]) for item in group] for group in served] == [[2, 1], [0, 3]]


@pytest.mark.parametrize("objective", [RRHF()])
def test_rrhf_ranks_by_the_log_prob_a_token_and_imitates_the_best(objective):
    answers = [answer(-4.0, 0, 4, rank=1.0), answer(-6.0, 0, 2, rank=0.0), answer(-2.0, 0, 1, rank=2.0)]  # -1, -3, -2 a token
    assert float(loss_of(objective, *answers)) == pytest.approx((-1 + 3) + (-2 + 3) + 0.0 + 6.0)


def test_rrhf_imitates_all_that_are_best():
    answers = [answer(-4.0, 0, 4, rank=0.0), answer(-6.0, 0, 4, rank=0.0)]
    assert float(loss_of(RRHF(nll_coef=0.5), *answers)) == pytest.approx(0.5 * 5.0)


@pytest.mark.parametrize("x", [-1e-9, -0.1, -0.6931, -0.6932, -5.0, -200.0])
def test_log1mexp_is_right_at_both_ends(x):
    bounded = min(x, -1e-6)
    assert float(log1mexp(torch.tensor(x, dtype=DOUBLE))) == pytest.approx(
        float(np.log1p(-np.exp(bounded)) if x < -1 else np.log(-np.expm1(bounded))), rel=1e-12, abs=1e-300
    )


def test_orpos_log_odds():
    assert float(
        -ORPO(odds_coef=1e-9)(SimpleNamespace(logprobs_BL=at_the_answer(-0.5, -0.5)), one_token_answers(groups=[2], rank=[0, 1]))[0]
    ) == (pytest.approx(-0.5))


@pytest.mark.parametrize(("options", "word"), [({"divergence": "alpha", "alpha": 1.0}, "alpha"), ({"beta": 0}, "beta")])
def test_f_dpo_refuses_what_has_no_meaning(options, word):
    with pytest.raises(ConfigError, match=word):
        FDPO(**options)


def test_a_loss_over_pairs_refuses_other_groups():
    batch = one_token_answers(groups=[3, 1], ref_logprobs=[0, 0, 0, 0])
    with pytest.raises(DataError, match="two answers"):
        DPO()(SimpleNamespace(logprobs_BL=at_the_answer(0, 0, 0, 0)), batch)


def test_every_pair_loss_reports_the_same_things():
    for objective, _ in GOLDEN.values():
        batch = one_token_answers(groups=[2], ref_logprobs=[-1.0, -1.5])
        _, metrics = objective(SimpleNamespace(logprobs_BL=at_the_answer(-1.0, -3.0)), batch)
        assert set(metrics) >= {"accuracy", "margin", "chosen_log_ratio", "rejected_log_ratio", "chosen_logprob", "rejected_logprob"}
        assert metrics["accuracy"][0] == 1
