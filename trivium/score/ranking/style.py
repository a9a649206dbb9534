"""How answers look: their length and markup, as covariates that a ranking can be controlled for.

Chiang et al. 2024 (LMSYS, "Does style matter?"): of each quantity the normalised difference (a - b) / (a + b) of both answers; code
blocks do not count. Differences: length is in characters, as there is no tokenizer here, and columns are divided by their root mean
square without being centred, so that swapping both models changes nothing but signs.
"""

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np

from trivium.core.errors import DataError
from trivium.score.ranking.table import MatchTable

Style = Literal["length", "headers", "lists", "bold"]

_CODE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_MARKS = {
    "headers": re.compile(r"^#{1,6} ", re.MULTILINE),
    "lists": re.compile(r"^[ \t]*(?:[-*+]|\d{1,3}[.)]) ", re.MULTILINE),
    "bold": re.compile(r"\*\*[^*\n]+\*\*|__[^_\n]+__"),
}


def amount(text: str, of: Style) -> int:
    """How much of it an answer has, code blocks left out.

    >>> amount("# A\\n- b\\n- **c**", "lists")
    2
    """
    plain = _CODE.sub("", text)
    return len(plain) if of == "length" else len(_MARKS[of].findall(plain))


def style_covariates(table: MatchTable, control: Sequence[Style]) -> np.ndarray:
    """How much more of each the first answer has, (N, F). Raises DataError if some match has no answers to look at."""
    if not control:
        return np.zeros((len(table), 0))
    missing = sum(pair is None for pair in table.answers)
    if missing:
        raise DataError(f"{missing:,} of {len(table):,} matches have no answers, so nothing can be controlled for; leave control out")
    columns = [[_difference(amount(a, of), amount(b, of)) for a, b in filter(None, table.answers)] for of in control]
    found_NF = np.array(columns, np.float64).T
    return found_NF / np.maximum(np.sqrt((found_NF**2).mean(0)), 1e-12)


def _difference(a: int, b: int) -> float:
    return (a - b) / (a + b) if a + b else 0.0
