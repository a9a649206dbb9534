"""Which model gets a prompt: a router that `route` left decides, for one prompt or for every one of a file."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from trivium.core.commit import MANIFEST
from trivium.core.errors import ConfigError
from trivium.core.types import Message
from trivium.score.routing.features import hashed_words
from trivium.score.routing.store import Stored, load_routers
from trivium.stages.base import check_model, located
from trivium.stages.machine import Machine
from trivium.text.read import check_head, read_prompts


def router_folder(path: Path) -> Path:
    """The folder of routers: itself, or the one of a run folder. Raises ConfigError if there is none."""
    found = [path, *sorted(path.glob("*/router"))] if path.is_dir() else []
    folder = next((each for each in found if (each / "router.json").is_file() and (each / MANIFEST).is_file()), None)
    if folder is None:
        raise ConfigError(f"{path}: holds no router; `trivium route data=MATCHES` makes one, in runs/route/route/router")
    return folder


def decisions(
    router: Path, prompts: str, *, kind: str | None = None, share: float | None = None, price: float | None = None
) -> Iterator[str]:  # fmt: skip
    """A JSON line {prompt, model, chances ...} for each prompt of a file, or for the one prompt that was given as text."""
    if share is not None and not 0 <= share <= 1:
        raise ConfigError(f"share is {share:g}; it is a share of prompts, from 0 to 1")
    if share is not None and price is not None:
        raise ConfigError("--share and --price are two ways to decide; give one of them")
    folder = router_folder(router)
    is_file = os.path.exists(prompts)  # Path.exists raises for a text longer than a file name may be
    if is_file:
        check_head(prompts, "prompts")
    stored = load_routers(folder)
    asked = list(read_prompts(prompts)) if is_file else [(Message("user", prompts),)]
    for prompt, raw_R in zip(asked, _raw(stored, folder, asked), strict=True):
        decided = stored.decide(raw_R, kind=kind, share=share, price=price)
        shown = {"prompt": prompt[-1].content, "model": decided.model, "chances": decided.chances}
        yield json.dumps(shown if decided.score is None else {**shown, "score": decided.score}, ensure_ascii=False)


def _raw(stored: Stored, folder: Path, prompts: list[tuple[Message, ...]]) -> np.ndarray:
    """Features of the kind that the router was trained with."""
    model = stored.facts["embedding"]
    if not model:
        return hashed_words(prompts)
    from trivium.stages.embedding import mean_states
    from trivium.stages.models import Speaker

    path = located(folder.parent.parent, model)
    check_model(str(path))
    return mean_states(Speaker.load(path, Machine(precision="float32").measured()), prompts)
