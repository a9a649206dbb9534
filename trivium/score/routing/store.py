"""Trained routers on disk, and the decision for a prompt: a committed folder with the arrays (safetensors) and what they mean (JSON).

One folder holds every router of a run, the axes of the prompts that they share, prices and thresholds; `best` is the one to use.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from safetensors.numpy import load_file, save_file

from trivium.core.commit import commit, verify
from trivium.core.config import build, plain
from trivium.core.errors import ArtefactError, ConfigError
from trivium.core.seeds import key, uniforms
from trivium.score.ranking.ties import sigmoid
from trivium.score.routing.costs import choose, expected_worth
from trivium.score.routing.features import PromptSpace
from trivium.score.routing.routers import LearnedRouter, Random

KIND, WEIGHTS, FACTS = "router", "weights.safetensors", "router.json"
_SPACE = {"scale": "scale_R", "mean": "mean_R", "axes": "axes_RD"}
_ROUTERS: dict[str, Any] = {member.kind: member for member in get_args(LearnedRouter)}


@dataclass(frozen=True, slots=True)
class Decision:
    """Where a prompt goes, and why. chances: of each model to win against another one. score: that the strong model wins."""

    model: str
    chances: dict[str, float]
    score: float | None
    threshold: float | None


@dataclass(frozen=True, slots=True)
class Stored:
    """What `save_routers` wrote. learned: router -> its arrays; options: router -> its component.

    facts: models, embedding ("": hashed words), strong, weak, costs, best, and for each router its threshold and quantiles of its score.
    """

    facts: Mapping[str, Any]
    space: PromptSpace
    options: Mapping[str, LearnedRouter]
    learned: Mapping[str, Mapping[str, np.ndarray]]

    @property
    def models(self) -> list[str]:
        """In the order of strengths."""
        return list(self.facts["models"])

    def kind_of(self, kind: str | None) -> str:
        """A router by its kind; the best one if none is named. Raises ConfigError for one that is not here."""
        chosen = kind or self.facts["best"]
        if chosen not in self.options:
            raise ConfigError(f"this folder has no router '{chosen}'; it has: {', '.join(self.options)}")
        return chosen

    def strengths(self, kind: str, raw_QR: np.ndarray) -> np.ndarray:
        """The strength of each model on prompts, (Q, M)."""
        return self.options[kind].strengths(self.learned[kind], self.space(raw_QR))

    def choices(self, *, price: float | None = None) -> tuple[str, ...]:
        """The models that prompts may go to: all of them by price, else the strong and the weak one.

        Raises ConfigError where the folder has no strong model, or no costs.
        """
        if price is not None:
            if not self.facts["costs"]:
                raise ConfigError("this router was trained without costs, so a price means nothing; route by share, or train it with costs")
            return tuple(self.models)
        if not self.facts["strong"]:
            raise ConfigError("this router was trained without a strong and a weak model; route by price, or train it with strong and weak")
        return self.facts["strong"], self.facts["weak"]

    def decide(self, raw_R: np.ndarray, *, kind: str | None = None, share: float | None = None, price: float | None = None) -> Decision:
        """Where one prompt goes.

        share: of prompts that are to go to the strong model, else the one that thresholds were made for. price: what a unit of cost is
        worth instead; then every model may be chosen. Raises ConfigError as `choices` does.
        """
        choices, chosen = self.choices(price=price), self.kind_of(kind)
        strength_M = self.strengths(chosen, raw_R[None])[0]
        worth_M = expected_worth(strength_M[None])[0]
        chances = dict(zip(self.models, worth_M.tolist(), strict=True))
        if price is not None:
            cost_M = np.array([self.facts["costs"][model] for model in self.models])
            return Decision(self.models[int(choose(worth_M[None], cost_M, price)[0])], chances, None, None)
        strong, weak = choices
        score = float(sigmoid(strength_M[self.models.index(strong)] - strength_M[self.models.index(weak)]))
        quantiles = self.facts["routers"][chosen]["score_quantiles"]
        wanted = self.facts["share"] if share is None else share
        threshold = float(np.interp(1 - wanted, np.linspace(0, 1, len(quantiles)), quantiles))
        is_sent = (
            _lot(raw_R) < wanted if isinstance(self.options[chosen], Random) else _is_sent(score, threshold, quantiles, wanted, _lot(raw_R))
        )
        is_strong = wanted >= 1 or (wanted > 0 and is_sent)
        return Decision(strong if is_strong else weak, chances, score, threshold)


def save_routers(
    path: Path, facts: Mapping[str, Any], space: PromptSpace, options: Mapping[str, LearnedRouter], learned: Mapping[str, Any]
) -> None:
    """Commit the folder."""
    arrays = {f"space.{name}": np.ascontiguousarray(getattr(space, field)) for name, field in _SPACE.items()}
    arrays |= {f"{kind}.{name}": np.ascontiguousarray(value) for kind, found in learned.items() for name, value in found.items()}
    told = {**facts, "options": {kind: plain(router) for kind, router in options.items()}}

    def write(folder: Path) -> None:
        save_file(arrays, folder / WEIGHTS)
        (folder / FACTS).write_text(json.dumps(told, indent=1, ensure_ascii=False), "utf-8")

    commit(path, write, kind=KIND, meta={"best": facts["best"]})


def load_routers(path: Path) -> Stored:
    """Read the folder back. Raises ArtefactError if it is none, or damaged."""
    verify(path, kind=KIND)
    facts = json.loads((path / FACTS).read_text("utf-8"))
    arrays = load_file(path / WEIGHTS)
    try:
        options = {kind: build(_ROUTERS[kind], given) for kind, given in facts["options"].items()}
    except (KeyError, ConfigError) as error:
        raise ArtefactError(f"{path / FACTS}: holds a router that is not known here ({error}); train it again") from None
    learned = {kind: {name.split(".", 1)[1]: value for name, value in arrays.items() if name.startswith(f"{kind}.")} for kind in options}
    return Stored(facts, PromptSpace(*(arrays[f"space.{name}"] for name in _SPACE)), options, learned)


def _is_sent(score: float, threshold: float, quantiles: Sequence[float], wanted: float, lot: float) -> bool:
    """Whether a score is above the threshold; of those that equal it so many by lot that the share which is wanted is sent."""
    value_N = np.asarray(quantiles)
    above, same = float((value_N > threshold).mean()), float((value_N == threshold).mean())
    return score > threshold or (score == threshold and lot * same < wanted - above)


def _lot(raw_R: np.ndarray) -> float:
    """A number from 0 to 1 that depends on the prompt's features and nothing else."""
    digits = np.ascontiguousarray(raw_R, np.float64).view(np.uint64).tolist()
    return float(uniforms(key(0, "lot of a prompt", *digits), np.zeros(1), np.zeros(1))[0])
