"""Answers of reinforcement learning that are kept in a folder, and learned from again: a phase without its sampling, with the same bits.

What is there is taken, what is not is sampled and left there: so a run writes them down, and one with another objective, on another
machine or under a debugger, reads them. Whose weights gave the answers is not asked; their log-probs are the anchor of the ratio.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trivium.core.commit import commit, fingerprint, verify
from trivium.core.config import plain
from trivium.core.errors import ArtefactError
from trivium.core.types import Example
from trivium.data.wire import examples_from_bytes, examples_to_bytes
from trivium.generate.sampling import Sampling
from trivium.stages.computing.rollouts import Speaks
from trivium.stages.kept_answers import KIND, MAKER
from trivium.train.ranks import made_once, once

FILE = "answers.safetensors"


@dataclass(frozen=True, slots=True)
class Recorded:
    """What `engine` answers, or did before. folder: one folder in it for each time that it is asked; one run at a time may write to it.

    has_lag: it is asked for phases ahead, under the weights of when it is asked: so it is asked always, and what was kept is replaced.
    mark: of the stage that asks, which what it leaves bears (stages/kept_answers.py).
    """

    engine: Speaks
    folder: Path
    has_lag: bool = False
    is_main: bool = True
    mark: str = ""

    def generate(self, prompts: Sequence[np.ndarray], sampling: Sampling, *, seed: int, purpose: str, step: int) -> list[Example]:
        """See Engine. Raises ArtefactError for answers that are damaged, or that something else was asked for."""
        place = self.folder / f"{step:06d}-{purpose.replace(' ', '-')}"
        asked = {
            "prompts": fingerprint([prompt.tolist() for prompt in prompts]), "sampling": plain(sampling), "seed": seed,
            "purpose": purpose, "step": step,
        }  # fmt: skip
        if not self.has_lag and once(place.is_dir):
            return made_once(lambda: _read(place, asked))
        answers = self.engine.generate(prompts, sampling, seed=seed, purpose=purpose, step=step)

        def write(folder: Path) -> None:
            (folder / FILE).write_bytes(examples_to_bytes(answers))

        if self.is_main:
            commit(place, write, kind=KIND, meta={**asked, MAKER: self.mark})
        return answers


def _read(place: Path, asked: dict[str, Any]) -> list[Example]:
    found = verify(place, kind=KIND)["meta"]
    if others := sorted(name for name in asked if found.get(name) != asked[name]):
        raise ArtefactError(
            f"{place}: has answers for other {', '.join(others)} than this run asks with; give another folder, or an empty one, as rollouts"
        )
    return examples_from_bytes((place / FILE).read_bytes())
