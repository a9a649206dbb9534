"""Math: the answer is the same mathematics as the expected one (`pip install 'trivium[math]'`)."""

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Literal

from pydantic import Field

from trivium.core.config import component
from trivium.core.errors import ConfigError, DataError
from trivium.score.said import Said

SECONDS = 5  # for each step of reading and comparing


@component
class MathAnswer:
    """1 if math-verify finds the last expression of the answer equal to the text in `field`, else 0; an answer it cannot read is 0.

    1/2, 0.5 and \\frac{1}{2} are the same. Raises DataError for an expected text that
    holds no mathematics.
    """

    kind: Literal["math"] = "math"
    field: str = "answer"
    weight: float = Field(default=1.0)

    def __post_init__(self) -> None:
        if find_spec("math_verify") is None:
            raise ConfigError("the reward 'math' needs the package math-verify; install it with: pip install 'trivium[math]'")

    def __call__(self, answers: Sequence[Said]) -> list[float]:
        """1 or 0 for each answer."""
        return [float(self._is_right(said)) for said in answers]

    def expected(self, said: Said) -> str:
        """What the answer should be, as it is written. Raises DataError if the record has no such text."""
        return said.field(self.field)

    def _is_right(self, said: Said) -> bool:
        package = import_module("math_verify")
        expected = self.expected(said)
        gold, mine = (package.parse(text, parsing_timeout=SECONDS) for text in (expected, said.response))
        if not gold:
            raise DataError(f"the reward 'math' finds no mathematics in the field '{self.field}' of a prompt: {expected[:60]!r}")
        return bool(mine) and package.verify(gold, mine, timeout_seconds=SECONDS)
