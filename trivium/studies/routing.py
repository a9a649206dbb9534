"""Does the prompt say which model it needs, so that routing by it is better than by lot?

Ong et al. 2024, arXiv:2406.18665; Huyen 2024, "Predictive human preference". The study looks at the `route` stages of run folders, and at
two worlds that it plants beside them: in one the better model depends on what the prompt is about, in the other it does not. Of all
routers the rule reads one, `preference`, named before, since the best of many looks good by chance.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from trivium.core.config import component
from trivium.core.errors import DataError
from trivium.core.seeds import generator
from trivium.core.types import Match, Message
from trivium.report.reading import ROUTING, Record, list_of, number_of, read_record, table_of
from trivium.report.svg import Interval, Line, intervals, line_chart
from trivium.score.ranking.leaderboard import heldout_prompts
from trivium.score.ranking.table import tabulate
from trivium.score.ranking.ties import sigmoid
from trivium.score.routing.features import PromptSpace, hashed_words
from trivium.score.routing.routers import Lesson, Preference, Random
from trivium.score.routing.routers.lesson import CHECK_SHARE
from trivium.stages.routing_table import Asked, measured
from trivium.studies.finding import Cell, Control, Figure, Finding
from trivium.studies.study import Preset, Trial

ROUTER = "preference"
HEADER = (
    "run", "held-out prompts", "APGR", "low", "high", "CPT(50)", "CPT(80)", "nats gained", "gain low", "gain high",
    "accuracy", "accuracy of plain Bradley-Terry", "APGR of the oracle", "what was seen",
)  # fmt: skip
SEED = 1
PLANTED_PROMPTS = 800
LAPTOP = {  # of the recipe: fewer prompts and updates
    **dict.fromkeys(("two_digits", "three_digits"), {"num_prompts": 80}), "finetune": {"steps": 40}, "reward": {"steps": 20},
}  # fmt: skip
_TOPICS = (
    ["python", "function", "loop", "array", "compile", "error", "stack", "variable", "recursion", "pointer", "class", "method"],
    ["poem", "story", "letter", "spring", "garden", "sister", "morning", "window", "river", "holiday", "dream", "music"],
)


@dataclass(frozen=True, slots=True)
class Seen:
    """One route stage, or a planted world: what the router recovered and foresaw, with 95 % intervals."""

    name: str
    prompts: int
    apgr: tuple[float, float, float]
    cpt: tuple[float, float]
    gain: tuple[float, float, float]
    accuracy: float
    plain_accuracy: float
    oracle: float
    curve: tuple[tuple[float, float], ...]

    @property
    def passes(self) -> bool:
        """Whether the rule's condition is met."""
        return self.apgr[1] > 0.5 and self.gain[1] > 0

    def row(self) -> list[Cell]:
        """As in HEADER."""
        seen = "the prompt tells" if self.passes else "the prompt does not tell"
        return [self.name, self.prompts, *self.apgr, *self.cpt, *self.gain, self.accuracy, self.plain_accuracy, self.oracle, seen]


@component
class Routing:
    """Looks at every `route` stage of run folders that was between a strong and a weak model."""

    name: ClassVar = "routing"
    claim: ClassVar = "a router that learns from preferences saves calls of the strong model at the same quality (Ong et al. 2024)"
    question: ClassVar = "Does a prompt say which of two models it needs, so that routing by it saves calls of the strong one?"
    rule: ClassVar = (
        f"it does if, on held-out prompts, the 95 % interval of APGR of the router '{ROUTER}' lies above 1/2 and that of its gain in"
        " log-loss over plain Bradley-Terry above 0"
    )
    expected: ClassVar = "APGR above .6 where the prompt matters"

    def trials(self, preset: Preset) -> Sequence[Trial]:
        return [Trial("routing", LAPTOP if preset == "laptop" else {})]

    def find(self, folders: Sequence[Path]) -> Finding:
        seen = [one for folder in folders for one in seen_in(read_record(folder))]
        if not seen:
            raise DataError(
                f"{', '.join(map(str, folders))}: no stage routed between a strong and a weak model with the router '{ROUTER}';"
                " run trivium route data=MATCHES, with strong=NAME weak=NAME where there are more than two models"
            )
        with_effect = planted_world("planted: the prompt matters", effect=1.3)
        without = planted_world("planted: it does not", effect=0.0)
        telling = [one for one in seen if one.passes]
        everything = [*seen, with_effect, without]
        return Finding(
            _verdict(seen, telling), len(telling) == len(seen), HEADER, [one.row() for one in everything],
            [
                Control("two models of which each is better on one of two topics", is_positive=True, is_detected=with_effect.passes),
                Control("two models of which one is better everywhere", is_positive=False, is_detected=without.passes),
            ],
            _figures(everything),
        )  # fmt: skip


def seen_in(record: Record) -> list[Seen]:
    """The route stages of a run that had a strong and a weak model and the router that the rule reads."""
    found = []
    for stage, facts in record.left[ROUTING].items():
        routers = table_of(facts.get("routers"))
        if facts.get("oracle") and ROUTER in routers and "random" in routers:
            found.append(_seen(f"{record.name}/{stage}", facts))
    return found


def planted_world(name: str, *, effect: float, seed: int = SEED) -> Seen:
    """A world of two models on prompts of two topics: one is stronger by 0.8 nats, on one topic by `effect` more, on the other by less.

    The same pipeline looks at it as at a run: hashed words, a quarter of the prompts held out.
    """
    matches = planted_matches(effect=effect, seed=seed)
    whole = tabulate(matches)
    held_N = heldout_prompts(whole, 0.25, seed)[whole.prompt_N].tolist()
    train = tabulate([match for match, is_held in zip(matches, held_N, strict=True) if not is_held])
    test = tabulate([match for match, is_held in zip(matches, held_N, strict=True) if is_held], train.models)
    raw_PR, raw_QR = hashed_words(train.prompts), hashed_words(test.prompts)
    space = PromptSpace.of(raw_PR, 8, is_words=True)
    lesson = Lesson(train, space(raw_PR), heldout_prompts(train, CHECK_SHARE, seed + 1), seed)
    strengths: dict[str, np.ndarray] = {
        router.kind: router.strengths(router.learn(lesson), space(raw_QR)) for router in (Random(), Preference())
    }  # fmt: skip
    return _seen(name, json.loads(json.dumps(measured(Asked(test, "strong", "weak", 0.3, {}, seed), strengths))))


def planted_matches(*, effect: float, seed: int, prompts: int = PLANTED_PROMPTS) -> list[Match]:
    """Matches of `strong` against `weak`, one a prompt, drawn from Bradley-Terry whose gap depends on the topic by `effect`."""
    draw = generator(seed, "planted matches")
    found = []
    for number in range(prompts):
        topic = int(draw.integers(2))
        text = " ".join(draw.choice(_TOPICS[topic], 6)) + f" {number}"
        gap = 0.8 + (effect if topic == 0 else -effect)
        won = float(draw.random() < sigmoid(np.array(gap)))
        found.append(Match(("strong", "weak"), won, (Message("user", text),)))
    return found


def _seen(name: str, facts: Mapping[str, Any]) -> Seen:
    router, plain = (table_of(table_of(facts.get("routers")).get(kind)) for kind in (ROUTER, "random"))
    worth, prediction = table_of(router.get("worth")), table_of(router.get("prediction"))
    cpt = _numbers(worth.get("cpt"))
    curve = [_numbers(point) for point in list_of(worth.get("curve"))]
    return Seen(
        name, int(number_of(prediction.get("prompts")) or 0),
        (_number(worth.get("apgr")), _number(worth.get("apgr_low")), _number(worth.get("apgr_high"))), (cpt[0], cpt[1]),
        _three(prediction.get("gain")), _three(prediction.get("accuracy"))[0],
        _three(table_of(plain.get("prediction")).get("accuracy"))[0], _number(table_of(facts.get("oracle")).get("apgr")),
        tuple((point[0], point[1]) for point in curve),
    )  # fmt: skip


def _number(value: Any) -> float:
    found = number_of(value)
    return float("nan") if found is None else found


def _numbers(value: Any) -> list[float]:
    return [_number(each) for each in list_of(value)]


def _three(value: Any) -> tuple[float, float, float]:
    first, second, third = [*_numbers(value), *(float("nan"),) * 3][:3]
    return first, second, third


def _verdict(seen: Sequence[Seen], telling: Sequence[Seen]) -> str:
    said = f"In {len(telling)} of {len(seen)} runs the prompt told which model it needed"
    if telling:
        best = max(telling, key=lambda one: one.apgr[0])
        said += f" (APGR {best.apgr[0]:.2f} [{best.apgr[1]:.2f}, {best.apgr[2]:.2f}] in {best.name}; half of the gap for {best.cpt[0]:.0%}"
        said += " of the calls)"
    return said + "."


def _figures(everything: Sequence[Seen]) -> list[Figure]:
    rows = [Interval(one.name, *one.apgr) for one in everything]
    lines = [Line(one.name, list(one.curve)) for one in everything[:5]] + [Line("by lot", [(0.0, 0.0), (1.0, 1.0)])]
    return [
        Figure("APGR", f"of the router '{ROUTER}', 95 % intervals; by lot 1/2", intervals("APGR", rows)),
        Figure("gap recovered", "against the share of strong calls", line_chart("gap recovered", lines, x_name="share of strong calls")),
    ]
