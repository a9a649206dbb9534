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
    methods that learn from answers that can be checked, with rewards=[{ kind = 'numeric' }].
    """

    kind: Literal["arithmetic"] = "arithmetic"
    largest: int = Field(default=99, ge=1, le=999)
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
        known.sequence_tokens = 48  # a question, control tokens, an answer
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
            files[f"{part}.jsonl"] = [_row(*pair, is_answered=part == "demonstrations") for pair in sums[start : start + size]]
            start += size
        commit_rows(run.folder / "sums", files, kind="sums", meta={"largest": self.largest})
        run.log("sums: " + ", ".join(f"{size:,} {part}" for part, size in self.sizes.items()))
        return self.sizes


def _row(first: int, second: int, *, is_answered: bool) -> dict[str, Any]:
    turns = [{"role": "user", "content": f"What is {first} + {second}?"}, {"role": "assistant", "content": worked(first, second)}]
    return {"messages": turns if is_answered else turns[:1], "answer": str(first + second)}


def worked(first: int, second: int) -> str:
    """A sum with its working, from the last digits to the first, each time with what is carried.

    >>> worked(27, 25)
    '7 + 5 + 0 = 12, 2 + 2 + 1 = 5, so 52.'
    """
    steps, carry = [], 0
    for place in range(len(str(max(first, second)))):
        one, other = first // 10**place % 10, second // 10**place % 10
        steps.append(f"{one} + {other} + {carry} = {one + other + carry}")
        carry = (one + other + carry) // 10
    return f"{', '.join(steps)}, so {first + second}."
