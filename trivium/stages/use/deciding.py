"""Which model gets a prompt: a router that `route` left decides, for one prompt or for every one of a file."""

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trivium.core.commit import MANIFEST
from trivium.core.errors import ConfigError
from trivium.core.types import Message
from trivium.score.routing.features import hashed_words
from trivium.score.routing.store import Decision, Stored, load_routers
from trivium.stages.base import check_model, located
from trivium.stages.machine import Machine
from trivium.stages.use.chat import prompts_in

if TYPE_CHECKING:  # torch is loaded only when a model is
    from trivium.stages.computing.models import Speaker

Turns = tuple[Message, ...]


def router_folder(path: Path) -> Path:
    """The folder of routers: itself, or the one of a run folder. Raises ConfigError if there is none."""
    found = [path, *sorted(path.glob("*/router"))] if path.is_dir() else []
    folder = next((each for each in found if (each / "router.json").is_file() and (each / MANIFEST).is_file()), None)
    if folder is None:
        raise ConfigError(f"{path}: holds no router; `trivium route data=MATCHES` makes one, in runs/route/route/router")
    return folder


@dataclass(frozen=True, slots=True)
class Decider:
    """A router that is asked while others talk. features: of prompts, (P, R), as it was trained with. The rest: `Stored.decide`."""

    stored: Stored
    features: Callable[[Sequence[Turns]], np.ndarray]
    kind: str | None = None
    share: float | None = None
    price: float | None = None

    @staticmethod
    def open(router: Path, *, kind: str | None = None, share: float | None = None, price: float | None = None) -> "Decider":
        """Read a folder of routers, or the one of a run; a model that embeds prompts is loaded when the first one comes.

        Raises ConfigError: none there, no such kind, a share or price that means nothing to it.
        """
        if share is not None and not 0 <= share <= 1:
            raise ConfigError(f"share is {share:g}; it is a share of prompts, from 0 to 1")
        if share is not None and price is not None:
            raise ConfigError("--share and --price are two ways to decide; give one of them")
        folder = router_folder(router)
        stored = load_routers(folder)
        stored.choices(price=price)
        return Decider(stored, _features(stored, folder), stored.kind_of(kind), share, price)

    @staticmethod
    def chosen(router: Path | None, share: float | None, price: float | None) -> "Decider | None":
        """The one that a command line names, if it does. Raises ConfigError as `open` does, and for a share or price of nothing."""
        if router is None:
            if share is not None or price is not None:
                raise ConfigError("--share and --price say how a router decides; name one with --router")
            return None
        return Decider.open(router, share=share, price=price)

    @property
    def choices(self) -> tuple[str, ...]:
        """The models that it may name."""
        return self.stored.choices(price=self.price)

    def check_among(self, names: Collection[str]) -> None:
        """Raise ConfigError if it may name a model that is not one of these."""
        missing = [name for name in self.choices if name not in names]
        if missing:
            raise ConfigError(
                f"the router chooses among {', '.join(self.choices)}, and there is no '{missing[0]}' here; name it: {missing[0]}=MODEL"
            )

    def __call__(self, prompts: Sequence[Turns]) -> Iterator[Decision]:
        """Where each prompt goes."""
        for raw_R in self.features(prompts):
            yield self.stored.decide(raw_R, kind=self.kind, share=self.share, price=self.price)


def decisions(
    router: Path, prompts: str, *, kind: str | None = None, share: float | None = None, price: float | None = None
) -> Iterator[str]:  # fmt: skip
    """A JSON line {prompt, model, chances ...} for each prompt of a file, or for the one prompt that was given as text."""
    decider = Decider.open(router, kind=kind, share=share, price=price)
    asked = prompts_in(prompts)
    for prompt, decided in zip(asked, decider(asked), strict=True):
        shown = {"prompt": prompt[-1].content, "model": decided.model, "chances": decided.chances}
        yield json.dumps(shown if decided.score is None else {**shown, "score": decided.score}, ensure_ascii=False)


def _features(stored: Stored, folder: Path) -> Callable[[Sequence[Turns]], np.ndarray]:
    """What makes features of the kind that the router was trained with."""
    model = stored.facts["embedding"]
    if not model:
        return hashed_words
    path = located(folder.parent.parent, model)
    check_model(str(path))

    @cache
    def speaker() -> "Speaker":
        from trivium.stages.computing.models import Speaker

        return Speaker.load(path, Machine(precision="float32").measured())

    def features(prompts: Sequence[Turns]) -> np.ndarray:
        from trivium.stages.computing.embedding import mean_states

        return mean_states(speaker(), prompts)

    return features
