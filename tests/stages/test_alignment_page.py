"""docs/alignment.md says what the code does: its commands, its table of methods, its metrics."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from trivium.core.config import build, merge, parse_overrides
from trivium.core.errors import ConfigError
from trivium.learn.objectives.policy import PolicyLoss
from trivium.stages import prefer, reinforce
from trivium.stages.methods import methods, with_method
from trivium.stages.recipe import single
from trivium.stages.reinforce import Reinforce

PAGE = (Path(__file__).parents[2] / "docs" / "alignment.md").read_text()
COMMANDS = [
    line
    for block in re.findall(r"```\n(.*?)```", PAGE, re.DOTALL)
    for line in re.findall(r"(?m)^trivium (?:prefer|reinforce) .*=.*$", block)
]
UPDATES = {"passes": 1, "minibatches": 1}
FREE = {"kl_coef": 0.0}


@pytest.fixture(autouse=True)
def nothing_is_opened(monkeypatch):
    """Models and data that the page names are there only on the reader's machine."""
    for stage in (prefer, reinforce):
        for look in ("check_model", "check_data"):
            monkeypatch.setattr(stage, look, lambda *_, **__: None)
    monkeypatch.setattr(prefer, "check_head", lambda *_, **__: None)


@pytest.mark.parametrize("line", COMMANDS)
def test_its_commands_are_allowed(line):
    _, kind, *words = shlex.split(line)
    single(kind, parse_overrides(words)).stages[kind].check()


def test_it_has_commands_of_both_stages():
    assert {line.split()[1] for line in COMMANDS} == {"prefer", "reinforce"}


def checked(method: str, *more: dict[str, Any]) -> Reinforce:
    options = {"model": "m", "prompts": "p", "phases": 1, "method": method}
    options |= {"teacher": "t"} if method in ("gkd", "on_policy_distillation") else {"rewards": [{"kind": "length", "max_words": 1}]}
    options |= {"replay": {"tokens": "@a"}} if method == "ppo_ptx" else {}
    for each in more:
        options = merge(options, each)
    stage = build(Reinforce, with_method("reinforce", options))
    stage.check()
    return stage


def is_allowed(method: str, *more: dict[str, Any]) -> bool:
    try:
        checked(method, *more)
    except ConfigError:
        return False
    return True


def row(method: str) -> list[str]:
    """What the table says of a method."""
    stage = checked(method)
    loss = stage.objective
    cells = [
        f"`{method}`",
        stage.credit.kind if stage.has_credit else "",
        loss.kind,
        str(stage.answers),
        str(stage.passes * stage.minibatches),
    ]
    if not isinstance(loss, PolicyLoss):
        return [*cells, "" if loss.kind == "gkd" else "beta", "", "", "", ""]
    priced = (
        f"{loss.kl} in the loss, {loss.kl_coef:g}" if loss.kl_coef else f"in the reward, {stage.kl_coef:g}" if stage.kl_coef else "none"
    )
    in_reward = is_allowed(method, {"kl_coef": 0.1, "objective": {"kl_coef": 0.0}})
    in_loss = [{"objective": {"kl_coef": 0.1, "kl": kl}} | FREE for kl in ("k2", "ratio_k3", "k3")]
    allowed = ["yes" if is_allowed(method, each) else "one" if is_allowed(method, each, UPDATES) else "" for each in in_loss]
    return [*cells, priced, "yes" if in_reward else "", *allowed]


def table() -> str:
    return "".join(f"| {' | '.join(cell or '-' for cell in row(method))} |\n" for method in methods())


def test_the_table_of_methods_is_what_is_allowed():
    assert table() in PAGE, table()
