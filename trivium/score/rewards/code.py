"""Code: the program in the answer passes the tests that come with the prompt."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from trivium.core.config import component
from trivium.score.code_tests import CodeTests, passed_tests
from trivium.score.said import Said
from trivium.score.sandbox import Limits


@component
class Code:
    """The share of the tests in the prompt's record that the answer's Python passes, run in a sandbox; partial=false: 1 for all, else 0.

    The program is the last fenced block of the answer, or all of it. Fields: see `CodeTests.of`. seconds and memory_mb bound each answer.
    An answer that needs nearly all of its seconds may pass on one day and not on another; give it room, so that a run can be repeated.
    """

    kind: Literal["code"] = "code"
    partial: bool = True
    seconds: float = Field(default=10.0, gt=0)
    memory_mb: int = Field(default=512, ge=64)
    weight: float = Field(default=1.0)

    def __call__(self, answers: Sequence[Said]) -> list[float]:
        """A number from 0 to 1 for each answer."""
        limits = Limits(wall_s=self.seconds, cpu_s=int(self.seconds) + 1, memory_bytes=self.memory_mb << 20)
        passed = passed_tests([CodeTests.of(said.fields) for said in answers], [said.response for said in answers], limits)
        return [sum(each) / len(each) if self.partial else float(all(each)) for each in passed]
