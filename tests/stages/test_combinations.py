"""Which options of `reinforce` go together: what would mean something else, or be read by nobody, is refused before any file is opened."""

from typing import Any

import pytest

from trivium.core.config import build, is_set
from trivium.core.errors import ConfigError
from trivium.learn.credit import GroupMean
from trivium.learn.objectives.policy import PolicyGradient
from trivium.learn.objectives.preference import FDPO, TDPO
from trivium.stages.guard import Guard
from trivium.stages.methods import with_method
from trivium.stages.reinforce import Reinforce

LENGTH = {"kind": "length", "max_words": 1}
ONE_UPDATE = {"passes": 1, "minibatches": 1}


def checked(**options: Any) -> Reinforce:
    """A stage whose model and prompts an earlier one would make."""
    stage = build(Reinforce, with_method("reinforce", {"model": "@a/model", "prompts": "@a/prompts", "phases": 1, **options}))
    stage.check()
    return stage


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "there is no reward"),
        ({"rewards": [LENGTH], "credit": "leave_one_out"}, "'answers' is 1, but credit leave_one_out"),
        ({"rewards": [LENGTH], "method": "reinforce++", "credit": {"is_grouped": True}}, "'answers' is 1, but credit batch_mean compares"),
        (
            {"rewards": [LENGTH], "method": "online_dpo", "objective": {"has_probs": True}},
            "has_probs reads from a file how sure people were",
        ),
        ({"rewards": [LENGTH], "method": "online_dpo", "objective": {"beta": float("inf")}}, "'objective.beta' is inf"),
        ({"rewards": [LENGTH], "refill": True}, "refill looks for prompts"),
        ({"rewards": [LENGTH], "objective": "kto", "answers": 2}, "kto does not learn from answers as they come"),
        ({"rewards": [LENGTH], "objective": "dpo"}, "dpo compares answers to one prompt"),
        (
            {"rewards": [LENGTH], "objective": "dpo", "answers": 2, "missing_end": "mask"},
            "'missing_end' is set, but objective dpo has no mask",
        ),
        ({"rewards": [LENGTH], "adaptive_kl": {}, "kl_coef": 0.0}, "adaptive_kl moves kl_coef, which is 0"),
        ({"rewards": [LENGTH], "objective": {"kind": "policy_gradient", "kl_coef": 0.1}}, "the KL is priced twice"),
        ({"rewards": [LENGTH], "objective": "reinforce"}, "right for one update a phase only"),
        ({"rewards": [LENGTH], "objective": {"kind": "policy_gradient", "kl_coef": 0.1, "kl": "k1"}}, "'objective.kl' is 'k1'"),
        ({"rewards": [LENGTH], "kl_coef": 0.0, "objective": {"kl_coef": 0.1, "kl": "k3"}}, "k3 has the slope of KL.reference"),
        ({"credit": "distillation"}, "there is no teacher: name the model"),
        ({"objective": "gkd"}, "there is no teacher: name the model"),
        ({"credit": "distillation", "teacher": "teacher", "rewards": [LENGTH]}, "a teacher is learned from instead of a reward"),
        ({"rewards": [LENGTH], "teacher": "teacher"}, "teacher is learned from by credit=distillation or objective=gkd"),
        ({"objective": "gkd", "teacher": "teacher", "adaptive_kl": {}}, "'adaptive_kl' is set, but objective gkd has no KL in the reward"),
        ({"rewards": [LENGTH], "replay": {}}, "give either tokens=FOLDER"),
        ({"rewards": [LENGTH], "replay": {"tokens": "a", "demonstrations": "b"}}, "and not both"),
        ({"method": "bnpo", "rewards": [LENGTH], "kl_coef": 0.1}, "takes rewards from 0 to 1; set kl_coef=0"),
        ({"method": "bnpo", "rewards": [LENGTH], "missing_end_penalty": -1.0}, "takes rewards from 0 to 1; set kl_coef=0"),
        ({"rewards": [{"kind": "nummeric"}]}, "numeric"),
        ({"rewards": [{"kind": "format", "pattern": "("}]}, "no regular expression"),
    ],
)
def test_combinations_that_mean_something_else_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        checked(**options)


# --- where the KL is priced


@pytest.mark.parametrize("method", ["dr_grpo", "dapo", "gspo", "cispo", "bnpo", "ppo", "rloo"])
def test_k3_in_the_loss_is_for_grpo_as_published_alone(method):
    with pytest.raises(ConfigError, match="k3 has the slope of KL.reference .* set objective.kl to ratio_k3, or to k2 for one update"):
        checked(method=method, rewards=[LENGTH], answers=4, kl_coef=0.0, objective={"kl": "k3", "kl_coef": 0.04})


@pytest.mark.parametrize(
    "options", [{"credit": {"scale": "none"}}, {"objective": {"reduction": "token"}}, {"objective": {"ratio": "sequence"}}]
)
def test_a_changed_grpo_is_not_the_published_one(options):
    assert checked(method="grpo", rewards=[LENGTH]).objective.kl == "k3"
    with pytest.raises(ConfigError, match="GRPO as published alone"):
        checked(method="grpo", rewards=[LENGTH], **options)


def test_grpo_without_its_kl_needs_one_option():
    assert not checked(method="grpo", rewards=[LENGTH], objective={"kl_coef": 0.0}).needs_kl


def test_k2_is_for_one_update_a_phase():
    priced = {"method": "dr_grpo", "rewards": [LENGTH], "objective": {"kl_coef": 0.1}}
    assert checked(**priced, **ONE_UPDATE).objective.kl == "k2"
    for number, updates in ((2, {"passes": 2, "minibatches": 1}), (8, {"passes": 2, "minibatches": 4})):
        with pytest.raises(
            ConfigError, match=f"k2 has the slope of the KL only .* not with {number} updates a phase; set objective.kl to ratio_k3"
        ):
            checked(**priced, **updates)
        checked(**priced | {"objective": {"kl_coef": 0.1, "kl": "ratio_k3"}}, **updates)


def test_k2_is_not_for_answers_of_an_older_policy_unless_they_are_read_again():
    priced = {"method": "dr_grpo", "rewards": [LENGTH], "objective": {"kl_coef": 0.1}, **ONE_UPDATE}
    with pytest.raises(ConfigError, match="not with answers of 1 phase before"):
        checked(**priced, engine={"kind": "native", "max_lag": 1})
    assert checked(**priced, engine={"kind": "native", "max_lag": 2}).is_read_again


def test_an_estimator_without_a_price_is_refused():
    for kl in ("k3", "ratio_k3"):
        with pytest.raises(ConfigError, match=f"objective.kl is '{kl}', but objective.kl_coef is 0, so nobody would read it"):
            checked(method="ppo", rewards=[LENGTH], objective={"kl": kl})


@pytest.mark.parametrize("objective", ["dpo", "xpo", "gkd"])
def test_a_price_of_the_kl_that_nothing_reads_is_refused(objective):
    options = {"answers": 2, "objective": objective} | ({"teacher": "@a/t"} if objective == "gkd" else {"rewards": [LENGTH]})
    for kl_coef in (0.0, 0.05):  # none, and what it is if nobody says anything
        checked(**options, kl_coef=kl_coef)
    with pytest.raises(ConfigError, match=f"'kl_coef' is set, but objective {objective} has no KL in the reward"):
        checked(**options, kl_coef=0.1)


# --- what nobody would read


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "online_dpo", "credit": {"kind": "group_mean"}}, "'credit' is set, but objective dpo has no advantages"),
        ({"method": "online_dpo", "credit": {"lam": 0.5}}, "'credit' is set, but objective dpo has no advantages"),
        ({"method": "online_dpo", "value": {"clip": 0.9}}, "'value' is set, but there is no critic"),
        ({"method": "online_dpo", "critic_optimizer": {"lr": 1.0}}, "'critic_optimizer' is set, but there is no critic"),
        ({"method": "dr_grpo", "critic_optimizer": {"lr": 1.0}}, "'critic_optimizer' is set, but there is no critic"),
        ({"method": "dr_grpo", "missing_end": "mask", "missing_end_penalty": -5.0}, "'missing_end_penalty' is set, but missing_end=mask"),
        ({"method": "gkd", "missing_end_penalty": -5.0}, "'missing_end_penalty' is set, but a teacher is learned from"),
        ({"method": "dr_grpo", "credit": {"std_ddof": 0}}, "std_ddof is 0, but scale=none has no standard deviation"),
        ({"method": "bnpo", "credit": {"std_ddof": 0}}, "std_ddof is 0, but scale=beta has no standard deviation"),
        ({"guard": {"patience": 3}}, "patience and slack are of the score by guard.models"),
        ({"guard": {"slack": 0.1}}, "patience and slack are of the score by guard.models"),
    ],
)
def test_what_nobody_would_read_is_refused(options, message):
    learned_from = {"teacher": "@a/t"} if options.get("method") == "gkd" else {"rewards": [LENGTH]}
    with pytest.raises(ConfigError, match=message):
        checked(**learned_from, **options)


def test_what_somebody_reads_is_not():
    checked(
        method="ppo", rewards=[LENGTH], credit={"lam": 0.5}, value={"clip": 0.9}, critic_optimizer={"lr": 1.0}, missing_end_penalty=-5.0
    )
    checked(method="grpo", rewards=[LENGTH], credit={"std_ddof": 0}, missing_end="mask", missing_end_penalty=0.0)
    checked(rewards=[LENGTH], guard={"models": "@a/watcher", "patience": 3, "slack": 0.1})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TDPO(version=1, weight=0.9), "weight is 0.9, but version 1 has none"),
        (lambda: FDPO(divergence="js", alpha=0.9), "alpha is 0.9, but divergence=js has none"),
        (lambda: GroupMean(std_ddof=0), "std_ddof is 0"),
        (lambda: Guard(slack=0.1), "leave them out"),
    ],
)  # fmt: skip
def test_components_refuse_what_they_do_not_read(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_an_option_is_set_if_it_is_not_its_default():
    assert [is_set(PolicyGradient(kl="k3"), name) for name in ("kl", "kl_coef", "max_ratio")] == [True, False, False]
