"""arithmetic: sums to be done, so small that a small model can learn them, and whose answers a rule can check."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from pydantic import Field

from trivium.core.config import component
from trivium.core.errors import ConfigError
from trivium.core.run import Run
from trivium.core.seeds import generator
from trivium.stages.base import Foresight, Work, commit_rows


@component
class Arithmetic:
    """Leaves below `@arithmetic/sums`: demonstrations.jsonl (with answers), prompts.jsonl and heldout.jsonl, each with the field `answer`.

    Sums of two numbers from 0 to largest, worked out digit by digit; a pair of numbers is in one of the files only, in either order. For
    methods that learn from answers that can be checked, with rewards=[{ kind = 'numeric' }]. base: in which numbers are written; in base 2
    a step has 8 cases and not 200, so that a model of half a million parameters can learn to check one as well as to do it.
    """

    kind: Literal["arithmetic"] = "arithmetic"
    largest: int = Field(default=99, ge=1, le=999)
    base: int = Field(default=10, ge=2, le=10)
    num_demonstrations: int = Field(default=500, ge=0)
    num_prompts: int = Field(default=1000, ge=0)
    num_heldout: int = Field(default=300, ge=0)

    @property
    def sizes(self) -> dict[str, int]:
        """Part -> how many sums are in it."""
        return {"demonstrations": self.num_demonstrations, "prompts": self.num_prompts, "heldout": self.num_heldout}

    def check(self) -> None:
        there, wanted = (self.largest + 1) * (self.largest + 2) // 2, sum(self.sizes.values())
        if wanted > there:
            raise ConfigError(f"{wanted:,} different sums are wanted, but numbers up to {self.largest:,} give {there:,}; raise largest")

    def foresee(self, name: str, known: Foresight) -> Work:
        known.sequence_tokens = 20 + 14 * len(written(self.largest, self.base))  # a question, control tokens, a step of each digit
        known.num_prompts |= {f"@{name}/sums/{part}.jsonl": size for part, size in self.sizes.items()}
        return Work(seconds=1.0)

    def run(self, run: Run) -> Mapping[str, Any]:
        first, second = np.triu_indices(self.largest + 1)
        order = generator(run.seed, "sums").permutation(len(first))[: sum(self.sizes.values())]
        swapped = generator(run.seed, "which number is first").random(len(order)) < 0.5
        sums = [
            (int(second[i]), int(first[i])) if swap else (int(first[i]), int(second[i])) for i, swap in zip(order, swapped, strict=True)
        ]
        files, start = dict[str, list[dict[str, Any]]](), 0
        for part, size in self.sizes.items():
            files[f"{part}.jsonl"] = [_row(*pair, self.base, is_answered=part == "demonstrations") for pair in sums[start : start + size]]
            start += size
        commit_rows(run.folder / "sums", files, kind="sums", meta={"largest": self.largest, "base": self.base})
        run.log("sums: " + ", ".join(f"{size:,} {part}" for part, size in self.sizes.items()))
        return self.sizes


def _row(first: int, second: int, base: int, *, is_answered: bool) -> dict[str, Any]:
    asked = f"What is {written(first, base)} + {written(second, base)}{'' if base == 10 else f' in base {base}'}?"
    turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": worked(first, second, base)}]
    return {"messages": turns if is_answered else turns[:1], "answer": written(first + second, base)}


def written(number: int, base: int) -> str:
    """The digits of a number that is not below 0.

    >>> written(52, 2)
    '110100'
    """
    return np.base_repr(number, base)


def worked(first: int, second: int, base: int = 10) -> str:
    """A sum with its working, from the last digits to the first, each time with what is carried.

    >>> worked(27, 25)
    '7 + 5 + 0 = 12, 2 + 2 + 1 = 5, so 52.'
    >>> worked(3, 1, base=2)
    '1 + 1 + 0 = 10, 1 + 0 + 1 = 10, so 100.'
    """
    steps, carry = [], 0
    for place in range(len(written(max(first, second), base))):
        one, other = first // base**place % base, second // base**place % base
        total = one + other + carry
        steps.append(f"{one} + {other} + {carry} = {written(total, base)}")
        carry = total // base
    return f"{', '.join(steps)}, so {written(first + second, base)}."
