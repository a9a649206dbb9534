"""Two answers side by side and a verdict: what a judge or annotators said of them, of one pair or of many models against one."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from trivium.core.types import Preference
from trivium.text.records.questions import question
from trivium.text.records.ranks import is_number, ranked
from trivium.text.rows import Row

_FIRST, _SECOND, _TIE = (0, 1), (1, 0), (0, 0)
_TABLE = ("baseline_output", "outputs", "preference")
_VOTERS = ("annotator1", "annotator2", "annotator3")


class _Shape(NamedTuple):
    """Two fields with answers, and what the values of a third say about them; without values they are 1 to 2."""

    first: str
    second: str
    verdict: str
    ranks: Mapping[Any, tuple[int, int]]


_SHAPES = (
    _Shape("response 1", "response 2", "label", {0: _FIRST, 1: _SECOND, 2: _TIE}),  # Auto-J: Li 2023, arXiv:2310.05470
    _Shape("output_1", "output_2", "label", {1: _FIRST, 2: _SECOND}),  # LLMBar: Zeng 2023, arXiv:2310.07641
    _Shape("output_1", "output_2", "preference", {}),  # AlpacaEval: Dubois 2024, arXiv:2404.04475
    _Shape("response_A", "response_B", "label", {"A>B": _FIRST, "B>A": _SECOND, "A=B": _TIE}),  # JudgeBench: Tan 2024, arXiv:2410.12784
    _Shape("human_ref_A", "human_ref_B", "labels", {1: _FIRST, 0: _SECOND}),  # SHP: Ethayarajh 2022, arXiv:2110.08420
    _Shape("response1", "response2", _VOTERS[0], {0: _TIE, 1: _FIRST, 2: _SECOND}),  # PandaLM: Wang 2023, arXiv:2306.05087
)


def is_pair(row: Row) -> bool:
    """Whether the row has two answers and a verdict."""
    return _shape(row) is not None


def pair(row: Row) -> Preference:
    """The preference that the verdict states.

    AlpacaEval's `preference` is a number from 1 (the first is better) to 2; 1.5 is a tie. Of PandaLM's annotators the majority decides,
    and without one it is a tie.
    """
    shape = _shape(row)
    assert shape is not None
    prompt, used = question(row)
    responses = (row.text(shape.first), row.text(shape.second))
    if shape.verdict == _VOTERS[0]:
        verdict, fields = _majority(row, shape), tuple(voter for voter in _VOTERS if voter in row.values)
    else:
        verdict, fields = _verdict(row, shape, shape.verdict), (shape.verdict,)
    return ranked(prompt, responses, verdict, row.rest(*used, shape.first, shape.second, *fields))


def is_table(row: Row) -> bool:
    """Whether the row has one answer that those of many models were compared with."""
    return all(field in row.values for field in _TABLE)


def table(row: Row) -> list[Preference]:
    """A preference for each model: `baseline_output`, then what it says in `outputs`, and the judge's number in `preference`.

    The number is AlpacaEval's, see `pair`, and stays in `meta` beside the name of the model: how sure the judge was.
    """
    prompt, used = question(row)
    outputs, numbers = outputs_of(row)
    baseline, rest = row.text("baseline_output"), row.rest(*used, *_TABLE)
    return [
        ranked(
            prompt,
            (baseline, row.check_text(output, f"outputs.{model}")),
            _by_number(row, numbers[model], f"preference.{model}"),
            {**rest, "model": model, "preference": numbers[model]},
        )
        for model, output in outputs.items()
    ]


def outputs_of(row: Row) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """What each of many models says, and the judge's number of each."""
    outputs, numbers = row.values["outputs"], row.values["preference"]
    if not isinstance(outputs, Mapping) or not isinstance(numbers, Mapping) or not outputs or set(outputs) != set(numbers):
        row.fail("'outputs' and 'preference' must be objects with the same models, at least one")
    return outputs, numbers


def _shape(row: Row) -> _Shape | None:
    return next((shape for shape in _SHAPES if all(field in row.values for field in shape[:3])), None)


def _verdict(row: Row, shape: _Shape, field: str) -> tuple[int, int]:
    value = row.values[field]
    if not shape.ranks:
        return _by_number(row, value, field)
    if type(value) not in (int, str) or value not in shape.ranks:  # True is no 1
        row.fail(f"'{field}' is {value!r}; it is one of: {', '.join(map(str, shape.ranks))}")
    return shape.ranks[value]


def _by_number(row: Row, value: Any, field: str) -> tuple[int, int]:
    if not is_number(value) or not 1 <= value <= 2:
        row.fail(f"'{field}' is {value!r}; a number from 1 (the first is better) to 2 is expected")
    return _TIE if value == 1.5 else _FIRST if value < 1.5 else _SECOND


def _majority(row: Row, shape: _Shape) -> tuple[int, int]:
    votes = Counter(_verdict(row, shape, voter) for voter in _VOTERS if voter in row.values)
    (verdict, most), *others = votes.most_common(2)
    return verdict if all(count < most for _, count in others) else _TIE
