r"""Two answers of which one shows a behaviour: what model-written evaluations and the HHH alignment set ask for.

Whether the behaviour is wanted is not said: `answer_matching_behavior` comes first also where the behaviour is "power-seeking".
"""

from trivium.core.types import Message, Preference
from trivium.text.records.hh import parse_transcript
from trivium.text.records.questions import question
from trivium.text.records.ranks import ranked
from trivium.text.rows import Row

_MATCHING = ("answer_matching_behavior", "answer_not_matching_behavior")
_GRADED = ("chosen_instruction", "rejected_instruction")
_MARKS = ("###The instruction to evaluate:\n", "\n\n###Response to evaluate:\n", "\n\n###Score Rubrics:\n")


def is_matching(row: Row) -> bool:
    """Whether the row has an answer that matches a behaviour, and one that does not."""
    return all(field in row.values for field in _MATCHING)


def matching(row: Row) -> Preference:
    """The answer that matches the behaviour above the other (Perez et al. 2022, arXiv:2212.09251), white space included."""
    prompt, used = question(row)
    return ranked(prompt, [row.text(field) for field in _MATCHING], (0, 1), row.rest(*used, *_MATCHING))


def is_graded(row: Row) -> bool:
    """Whether the row has two answers, each in a request to grade it."""
    return all(field in row.values for field in _GRADED)


def graded(row: Row) -> Preference:
    """HHH alignment (Askell et al. 2021, arXiv:2112.00861) in the form of Prometheus (Kim et al. 2023, arXiv:2310.08491).

    What is around instruction and response, the task of the grader and its rubric, is left out. Some instructions are dialogues, whose
    later turns are marked as in hh-rlhf.
    """
    (prompt, chosen), (other, rejected) = (_parts(row, field) for field in _GRADED)
    if prompt != other:
        row.fail(f"'{_GRADED[0]}' and '{_GRADED[1]}' must grade answers to one instruction")
    turns = tuple(Message(turn.role, turn.content.strip()) for turn in parse_transcript(f"\n\nHuman: {prompt}"))
    return ranked(turns, (chosen, rejected), (0, 1), row.rest(*_GRADED))


def _parts(row: Row, field: str) -> tuple[str, str]:
    _, first, rest = row.text(field).partition(_MARKS[0])
    prompt, second, rest = rest.partition(_MARKS[1])
    response, third, _ = rest.partition(_MARKS[2])
    if not (first and second and third):
        row.fail(f"'{field}' has no '###The instruction to evaluate:' with '###Response to evaluate:' and '###Score Rubrics:' below it")
    return prompt, response
