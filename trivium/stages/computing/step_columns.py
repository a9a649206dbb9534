"""The steps of sampled answers, and how often the model that goes on from each of them arrives (score/step_values.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trivium.core.run import Run
from trivium.core.types import Example
from trivium.generate.engine import Engine
from trivium.score.keep import Steps, usable
from trivium.score.step_values import step_values
from trivium.stages.computing.judges import Judges
from trivium.text.steps import step_ends

if TYPE_CHECKING:
    from trivium.stages.sample import Sample


def step_columns(
    options: Sample, run: Run, engine: Engine, judges: Judges, columns: Mapping[str, list[Any]], *, first: int
) -> dict[str, list[Any]]:
    """The columns steps and step_shares of a piece; empty for answers that cannot be shown, or whose text does not read as its steps.

    Steps end where the text as it is read later has them, not the tokens that were sampled. first: number of the first answer.
    """
    keep, speaker, texts = options.keep, judges.policy, columns["responses"]
    assert isinstance(keep, Steps)
    owners = [number // options.answers for number in range(len(texts))]
    parts = [slice(start, start + options.answers) for start in range(0, len(texts), options.answers)]
    is_usable = np.concatenate([usable(texts[part], np.array(columns["stopped"][part])) for part in parts])
    numbers = np.flatnonzero(is_usable).tolist()
    cut = {number: keep.cut(texts[number]) for number in numbers}
    solutions = {number: speaker.answer(judges.records[owners[number]][0], keep.separator.join(cut[number])) for number in numbers}
    ends = dict(zip(numbers, step_ends(list(solutions.values()), speaker.tokenizer, keep.separator), strict=True))
    most = speaker.model.config.max_seq_len
    kept = [number for number in numbers if len(cut[number]) == len(ends[number]) and len(solutions[number].tokens) <= most]

    def arrive(answers: Sequence[Example], of: Sequence[int]) -> Sequence[bool]:
        stopped = np.array([bool(answer.meta["stopped"]) for answer in answers])
        return (stopped & (judges.score(answers, [owners[kept[each]] for each in of]) >= keep.at_least)).tolist()

    found = step_values(
        engine, [solutions[number] for number in kept], [ends[number] for number in kept],
        [columns["scores"][number] >= keep.at_least for number in kept], arrive, rollouts=keep.rollouts, sampling=options.sampling,
        seed=run.seed, purpose=f"{run.stage} steps", numbers=[first + number for number in kept],
    )  # fmt: skip
    shares = dict(zip(kept, found, strict=True))
    return {
        "steps": [cut[number] if number in shares else [] for number in range(len(texts))],
        "step_shares": [shares.get(number, []) for number in range(len(texts))],
    }
