"""What models said when they were asked about people of whom it is known who was told: the `sample` stages of a run, with their prompts."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trivium.core.errors import DataError
from trivium.score.rewards import Marked, Said
from trivium.stages.base import located
from trivium.stages.recipe import Recipe, load_recipe
from trivium.stages.sample import Sample
from trivium.text.rows import rows

SCORED = "answers/scored.jsonl"


@dataclass(frozen=True, slots=True)
class Asked:
    """Answers of one model, K to each of P prompts.

    taught: the kind of the stage that made the model, "" if it is not of this run; wrong: what it lost for a wrong answer there, None
    without such marks. is_known_P: whether it was told. right_P: the answers that are right. said_PK: what it said, in small letters.
    """

    run: str
    stage: str
    taught: str
    wrong: float | None
    is_known_P: np.ndarray
    right_P: Sequence[Sequence[str]]
    said_PK: Sequence[Sequence[str]]

    def marks(self) -> np.ndarray:
        """(P, K): 1 right, 0 abstains, -1 wrong."""
        judge = Marked()
        prompts = zip(self.right_P, self.said_PK, strict=True)
        return np.array([judge([Said((), text, True, {"answer": list(right)}) for text in said]) for right, said in prompts])

    def entropies(self) -> np.ndarray:
        """(P,): of the right answers among those to each prompt, in nats, by their counts; nan where none is right."""
        is_right_PK = self.marks() == 1
        return np.array([_entropy([text for text, right in zip(said, is_right, strict=True) if right])
                         for said, is_right in zip(self.said_PK, is_right_PK, strict=True)])  # fmt: skip


def _entropy(texts: Sequence[str]) -> float:
    if not texts:
        return float("nan")
    share = np.array(list(Counter(texts).values())) / len(texts)
    return float(max(0.0, -(share * np.log(share)).sum()))


def asked_in(folder: Path) -> Iterator[Asked]:
    """The `sample` stages of a run folder whose prompts say what is right, and whether it is known. Raises ArtefactError, DataError."""
    file = folder / "run.toml"
    if not file.is_file():
        raise DataError(f"{folder}: is no run folder (it has no run.toml); this study looks at runs that ask their models with `sample`")
    recipe = load_recipe(str(file), {})
    for name, stage in recipe.stages.items():
        if not isinstance(stage, Sample) or not stage.prompts or not (folder / name / SCORED).is_file():
            continue
        records = [row.values for row in rows(located(folder, stage.prompts))]
        if not all(isinstance(record.get("answer"), list) and isinstance(record.get("known"), bool) for record in records):
            continue
        answers = [row.values["responses"] for row in rows(folder / name / SCORED)]
        if len(answers) != len(records):
            raise DataError(f"{folder / name / SCORED}: has answers to {len(answers):,} prompts, {stage.prompts} has {len(records):,}")
        taught, wrong = _teacher(recipe, stage.model)
        said = [[" ".join(text.casefold().split()) for text in each] for each in answers]
        known = np.array([record["known"] for record in records])
        yield Asked(folder.resolve().name, name, taught, wrong, known, [record["answer"] for record in records], said)


def _teacher(recipe: Recipe, model: str) -> tuple[str, float | None]:
    """The kind of the stage that made a model, and the marks it learned from."""
    stage: Any = recipe.stages.get(model[1:].split("/")[0]) if model.startswith("@") else None
    if stage is None:
        return "", None
    marked = [rule for rule in (stage.rewards if stage.kind == "reinforce" else ()) if isinstance(rule, Marked)]
    return stage.kind, marked[0].wrong if marked else None
