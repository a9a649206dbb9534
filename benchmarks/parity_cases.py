"""Which loss of ours stands beside which of TRL's in `benchmarks.parity`, and where they differ on purpose."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from trivium.learn.objectives import GKD, CrossEntropy
from trivium.learn.objectives.policy import CISPO, REINFORCE, SAPO, PolicyGradient
from trivium.learn.objectives.preference import (
    AOT,
    APO,
    BCO,
    CPO,
    DPO,
    EXO,
    FDPO,
    GPO,
    IPO,
    KTO,
    LDDPO,
    NCA,
    ORPO,
    SPPO,
    WPO,
    DiscoPOP,
    RobustDPO,
    SimPO,
    SLiC,
)  # fmt: skip
from trivium.learn.objectives.ranking import Ranking

MAX_LENGTH = 16  # the constant of Dr. GRPO
NO_SHIFT = "TRL's BCO in DPO has no shift, and takes the sum over a pair; here each answer counts, and d is half-way between both means"
PER_ANSWER = "TRL takes the mean over all tokens of better answers, which depends on the micro-batch; here within each answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row of the table.

    trainer, options: TRL's. differs: why the numbers are not the same, on purpose; empty: they must be. scale: ours times this is
    theirs. has_equal_lengths: all answers are of one length. is_on_policy: the policy is the one that sampled. reads: what of the two is
    compared. precision: float32 where TRL has no float64. loose: ours has a column that is stored in float32.
    """

    name: str
    trainer: str
    objective: Any
    options: Mapping[str, Any] = field(default_factory=dict)
    differs: str = ""
    note: str = ""
    scale: float = 1.0
    has_equal_lengths: bool = False
    is_on_policy: bool = False
    has_margin: bool = False
    reads: Literal["loss and slopes", "slopes"] = "loss and slopes"
    precision: Literal["float64", "float32"] = "float64"
    is_loose: bool = False

    @property
    def tolerance(self) -> float:
        """Of loss and slopes."""
        return 1e-5 if self.is_loose or self.precision == "float32" else 1e-6


def _dpo(name: str, objective: Any, loss: str = "sigmoid", **more: Any) -> Case:
    options = {"loss_types": [loss], **more.pop("options", {})}
    return Case(name=f"DPO, {name}", trainer="dpo", options=options, objective=objective, **more)


def _divergence(name: str, objective: FDPO, *, coef: float = 0.5, **more: Any) -> Case:
    options = {"f_divergence_type": name, "f_alpha_divergence_coef": coef}
    return _dpo(f"f-divergence {name}", objective, options=options, **more)


PREFERENCES = [
    _dpo("sigmoid", DPO()),
    _dpo("sigmoid_norm", DPO(is_per_token=True), "sigmoid_norm"),
    _dpo("hinge", GPO(convex="hinge"), "hinge"),
    _dpo("ipo", IPO(is_per_token=True), "ipo"),
    _dpo("ipo, our default", IPO(), "ipo", differs="TRL divides log-ratios by the length; Azar et al. sum them, and so does our default"),
    _dpo("robust", RobustDPO(label_noise=0.1), "robust", options={"label_smoothing": 0.1}),
    _dpo(
        "exo_pair", EXO(label_noise=1e-3), "exo_pair", options={"label_smoothing": 1e-3}, is_loose=True, note="TRL has epsilon in float32",
    ),
    _dpo("nca_pair", NCA(), "nca_pair"),
    _dpo("sppo_hard", SPPO(beta=0.5), "sppo_hard", options={"beta": 0.5}),
    _dpo("apo_zero", APO(anchor="zero"), "apo_zero"),
    _dpo("apo_down", APO(anchor="down"), "apo_down"),
    _dpo("discopop", DiscoPOP(), "discopop"),
    _dpo("aot", AOT(), "aot", is_loose=True),
    _dpo("aot_unpaired", AOT(is_paired=False), "aot_unpaired", is_loose=True),
    _dpo("bco_pair", BCO(), "bco_pair", scale=2.0, differs=NO_SHIFT),
    _dpo(
        "sigmoid and sft, equal lengths", DPO(nll_coef=1.0), has_equal_lengths=True, options={"loss_types": ["sigmoid", "sft"]},
        note="RPO",
    ),
    _dpo("sigmoid and sft", DPO(nll_coef=1.0), options={"loss_types": ["sigmoid", "sft"]}, differs=PER_ANSWER),
    _divergence("forward_kl", FDPO(divergence="forward_kl")),
    _divergence("js_divergence", FDPO(divergence="js")),
    _divergence("alpha_divergence", FDPO(divergence="alpha", alpha=0.7), precision="float32", coef=0.3,
                note="TRL's coefficient is 1 - alpha of the paper and of ours: 0.3 and 0.7"),
    _dpo("ld_alpha 0.5", LDDPO(tail_weight=0.5), options={"ld_alpha": 0.5}),
    _dpo(
        "use_weighting", WPO(), options={"use_weighting": True},
        note="WPO; TRL also aligns the weights (section 3.3 of the paper), which ours leaves out: that term is given as 0",
    ),
    Case(name="CPO, equal lengths", trainer="cpo", objective=CPO(), options={"loss_type": "sigmoid", "beta": 0.1, "cpo_alpha": 1.0},
         has_equal_lengths=True),
    Case(name="CPO", trainer="cpo", objective=CPO(), options={"loss_type": "sigmoid", "beta": 0.1, "cpo_alpha": 1.0}, differs=PER_ANSWER),
    Case(name="CPO, hinge, equal lengths", trainer="cpo", objective=SLiC(margin=1.0, nll_coef=0.1), has_equal_lengths=True,
         options={"loss_type": "hinge", "beta": 1.0, "cpo_alpha": 0.1}, note="SLiC-HF"),
    Case(name="SimPO", trainer="cpo", objective=SimPO(beta=2.0, gamma=1.0), note="TRL: CPO with loss_type simpo and cpo_alpha 0",
         options={"loss_type": "simpo", "beta": 2.0, "simpo_gamma": 1.0, "cpo_alpha": 0.0}),
    Case(name="ORPO, equal lengths", trainer="orpo", objective=ORPO(), options={"beta": 0.1}, has_equal_lengths=True, precision="float32",
         note="without a prompt, which TRL imitates too"),
    Case(name="ORPO", trainer="orpo", objective=ORPO(), options={"beta": 0.1}, precision="float32", differs=PER_ANSWER),
    Case(name="KTO", trainer="kto", objective=KTO(good_weight=1.2, bad_weight=0.9), is_loose=True,
         options={"desirable_weight": 1.2, "undesirable_weight": 0.9}),
    Case(name="KTO, apo_zero_unpaired", trainer="kto", objective=APO(anchor="zero"), scale=0.5, options={"loss_type": "apo_zero_unpaired"},
         note="a mean over answers there, over pairs here: half"),
]  # fmt: skip

SCORES = [
    Case(name="reward", trainer="reward", objective=Ranking()),
    Case(name="reward, margin", trainer="reward", objective=Ranking(has_margins=True), has_margin=True),
    Case(name="reward, centred", trainer="reward", objective=Ranking(centre=0.04), options={"center_rewards_coefficient": 0.01},
         note="TRL squares the sum of both scores, ours the mean: its coefficient is a quarter of ours"),
]  # fmt: skip


def _grpo(name: str, objective: Any, loss: str, **more: Any) -> Case:
    return Case(name=name, trainer="grpo", objective=objective, options={"loss_type": loss, **more.pop("options", {})}, **more)


_SEQUENCE = {"importance_sampling_level": "sequence"}
_GSPO = _SEQUENCE | {"epsilon_low": 3e-4, "epsilon_high": 4e-4}

POLICIES = [
    Case(name="SFT", trainer="sft", objective=CrossEntropy()),
    _grpo("GRPO", PolicyGradient(reduction="sequence"), "grpo"),
    _grpo("GRPO, KL 0.04", PolicyGradient(reduction="sequence", kl_coef=0.04, kl="k3"), "grpo", options={"beta": 0.04}),
    _grpo("GRPO, KL 0.04, bias-corrected", PolicyGradient(reduction="sequence", kl_coef=0.04, kl="ratio_k3"), "grpo",
          options={"beta": 0.04, "args": {"use_bias_correction_kl": True}}),
    _grpo("GRPO, two-sided clip", PolicyGradient(reduction="sequence", max_ratio=1.5), "grpo", options={"args": {"delta": 1.5}}),
    _grpo("BNPO", PolicyGradient(reduction="token"), "bnpo", note="one micro-batch; with several TRL's is the mean of their means"),
    _grpo("Dr. GRPO", PolicyGradient(reduction="length"), "dr_grpo", options={"max_completion_length": MAX_LENGTH}),
    _grpo("DAPO", PolicyGradient(reduction="token", clip_high=0.28), "dapo", options={"epsilon_high": 0.28}),
    _grpo("DAPO, entropy bonus", PolicyGradient(reduction="token", entropy_coef=0.01), "dapo", options={"entropy_coef": 0.01}),
    _grpo("GSPO", PolicyGradient(ratio="sequence", reduction="sequence", clip_low=3e-4, clip_high=4e-4), "grpo", options=_GSPO),
    _grpo("LUSPO", PolicyGradient(ratio="sequence", reduction="sequence_sum"), "luspo", options=_SEQUENCE),
    _grpo("CISPO", CISPO(max_ratio=1.2), "cispo", options={"epsilon_high": 1.2}),
    _grpo("SAPO", SAPO(), "sapo"),
    Case(name="RLOO", trainer="rloo", objective=REINFORCE(), is_on_policy=True, reads="slopes",
         note="TRL clips the ratio of whole answers, which is 1 for one update a phase: then both have REINFORCE's slopes"),
    *(
        Case(name=f"GKD, beta {beta:g}", trainer="gkd", objective=GKD(beta=beta), options={"beta": beta}, note="of two words")
        for beta in (0.0, 0.5, 1.0)
    ),
]  # fmt: skip

CASES = [*POLICIES, *SCORES, *PREFERENCES]

LEFT_OUT = [
    "PPO with a value head, the BCO trainer with its running shift, Nash-MD, XPO: TRL 1.16.0 has them no more.",
    "VESPO, DFT, top-entropy and off-policy masks, AlphaPO: no loss of ours.",
    "CPL, GPO's other functions, ODPO, R-DPO, RRHF, TDPO, the critic's loss: no loss of TRL's.",
    "DistillationTrainer and the experimental distillation, GOLD, SDFT and SDPO trainers: GKD's divergence in chunks, from hidden states or"
    " of the top tokens alone, inside of methods that also sample or ask a server.",
    "Advantages: TRL computes them inside of the method that samples, so they cannot be asked for alone.",
]
