import numpy as np
import pytest

from tests.nn.io_models import TOKENIZER
from trivium.core.types import Example, example
from trivium.text.steps import step_ends


def answered(text: str, *, is_stopped: bool = True, tokenizer=TOKENIZER) -> Example:
    said = tokenizer.encode(text).tolist()
    ids = [0, 4, 200, 3, *said, *([2] if is_stopped else [])]
    return example(ids, [0, 0, 0, 0, *[1] * (len(ids) - 4)])


def read(item: Example, separator: str = "\n") -> list[str]:
    """The text of the answer up to the end of each step."""
    [ends] = step_ends([item], TOKENIZER, separator)
    return [TOKENIZER.decode(item.tokens[4 : end + 1]) for end in ends.tolist()]


@pytest.mark.parametrize(
    ("text", "separator", "steps"),
    [
        ("the king\nthe land", "\n", ["the king\n", "the king\nthe land"]),
        ("the king", "\n", ["the king"]),
        ("", "\n", [""]),
        ("the king\n", "\n", ["the king\n"]),
        ("the king\n\n\nthe land", "\n", ["the king\n", "the king\n\n\nthe land"]),
        ("the king\nsaid\n\nthe land", "\n\n", ["the king\nsaid\n\n", "the king\nsaid\n\nthe land"]),
        ("\n  \nthe king\n", "\n", ["\n  \nthe king\n"]),
        ("один ки\nдва ки", " ки", ["один ки", "один ки\nдва ки"]),
    ],
)
def test_steps_end_with_the_separator_behind_them_or_with_the_answer(text, separator, steps):
    assert read(answered(text), separator) == steps


def test_the_end_token_ends_the_last_step_and_an_answer_that_was_cut_off_its_last_token():
    whole, cut = answered("the king\nthe land"), answered("the king\nthe land", is_stopped=False)
    ends = step_ends([whole, cut], TOKENIZER, "\n")
    assert [int(each[-1]) for each in ends] == [len(whole.tokens) - 1, len(cut.tokens) - 1]
    assert ends[0][0] == ends[1][0]


def test_earlier_answers_of_a_conversation_are_not_its_steps():
    item = answered("the king\nthe land")
    longer = Example(
        np.concatenate([item.tokens, [4, 200, 3], item.tokens[4:]]).astype(np.int32),
        np.concatenate([item.loss_mask, [0, 0, 0], item.loss_mask[4:]]).astype(np.float32),
    )
    [one], [two] = step_ends([item], TOKENIZER, "\n"), step_ends([longer], TOKENIZER, "\n")
    assert two.tolist() == (one + len(item.tokens) - 1).tolist()


def test_no_answers_have_no_ends():
    assert step_ends([], TOKENIZER, "\n") == []
