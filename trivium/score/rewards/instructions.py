"""Instructions: the answer follows what it was told, where a program can check that (IFEval)."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from trivium.core.config import component
from trivium.score.instructions import instructions_of, is_followed, loosened
from trivium.score.said import Said


@component
class Instructions:
    """The share of the instructions of the prompt's record, `instruction_id_list` and `kwargs`, that the answer follows, 0 to 1."""

    kind: Literal["instructions"] = "instructions"
    weight: float = Field(default=1.0)

    def __call__(self, answers: Sequence[Said]) -> list[float]:
        """A number from 0 to 1 for each answer."""
        return [sum(each) / len(each) for each in (_strict(said) for said in answers)]

    def parts(self, said: Said) -> "dict[str, float | tuple[float, float]]":
        """IFEval's four measures of one answer (arXiv:2311.07911, section 3): all followed, and how many of how many; strict and loose."""
        strict, loose = _strict(said), _loose(said)
        return {
            "prompt_strict": float(all(strict)),
            "instruction_strict": (float(sum(strict)), float(len(strict))),
            "prompt_loose": float(all(loose)),
            "instruction_loose": (float(sum(loose)), float(len(loose))),
        }


def _strict(said: Said) -> list[bool]:
    return [is_followed(name, options, said.response) for name, options in instructions_of(said.fields)]


def _loose(said: Said) -> list[bool]:
    texts = loosened(said.response)
    return [any(is_followed(name, options, text) for text in texts) for name, options in instructions_of(said.fields)]
