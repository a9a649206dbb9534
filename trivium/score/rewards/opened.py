"""Rules made ready for a run: what some of them need is looked for before anything is trained, and what they need to know is told them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trivium.core.errors import DataError
from trivium.score.choice import Choose
from trivium.score.code_tests import CodeTests
from trivium.score.rewards import AnyReward, Code, Exact, LLMJudge, MathAnswer, ModelJudge, Numeric, Plugin, RewardRule
from trivium.score.said import Said
from trivium.score.sandbox import check_sandbox


def check_rules(rules: Sequence[AnyReward]) -> None:
    """Raise what can be known without data: no sandbox (ResourceError), an address or a key that cannot be used (ConfigError)."""
    for rule in rules:
        if isinstance(rule, Code):
            check_sandbox()
        elif isinstance(rule, LLMJudge):
            rule.endpoint()


def judges_of(rules: Sequence[AnyReward]) -> list[str]:
    """The models that rules ask."""
    return [rule.model for rule in rules if isinstance(rule, ModelJudge)]


def opened(
    rules: Sequence[AnyReward], records: Sequence[Mapping[str, Any]], *, seed: int, plugins: Mapping[str, str], say: Callable[[str], None],
    chooser: Callable[[str], Choose],
) -> list[RewardRule]:  # fmt: skip
    """The rules of a run, in order. records: of the prompts. plugins: see `Plugin.open`. say: for what the user should know.

    chooser: loads a model that is asked to choose, by its reference.
    """
    check_rules(rules)
    ready: list[RewardRule] = []
    for rule in rules:
        if isinstance(rule, LLMJudge):
            ready.append(rule.open(seed, say))
        elif isinstance(rule, ModelJudge):
            ready.append(rule.open(chooser(rule.model), say))
        elif isinstance(rule, Plugin):
            ready.append(rule.open(plugins))
        else:
            ready.append(rule)
    check_records(rules, records)
    return ready


def check_records(rules: Sequence[AnyReward], records: Sequence[Mapping[str, Any]], first: int = 1) -> None:
    """Raise DataError, with the number of the prompt, if a rule could judge no answer to it: told now, not when it is sampled."""
    for number, fields in enumerate(records, first):
        try:
            for rule in rules:
                if isinstance(rule, Code):
                    CodeTests.of(fields)
                elif isinstance(rule, Exact | Numeric | MathAnswer):
                    rule.expected(Said((), "", is_stopped=True, fields=fields))
        except DataError as error:
            raise DataError(f"prompt {number:,}: {error}") from None


def names_of(rules: Sequence[RewardRule]) -> list[str]:
    """A name for each rule: its kind, with a number from the second of a kind on."""
    kinds = [rule.kind for rule in rules]
    return [kind if kind not in kinds[:place] else f"{kind}_{kinds[:place].count(kind) + 1}" for place, kind in enumerate(kinds)]
