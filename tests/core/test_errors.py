"""Errors are one line with an exit code, and suggestions are words that exist."""

import pytest

from trivium.core import errors
from trivium.core.errors import TriviumError, did_you_mean

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, TriviumError)]


def test_every_error_has_its_own_exit_code_and_a_special_case_that_of_its_kind():
    kinds = [kind for kind in KINDS if kind is TriviumError or kind.__base__ is TriviumError]
    assert sorted(kind.exit_code for kind in kinds) == list(range(1, 11))
    assert all(kind.exit_code == kind.__base__.exit_code for kind in KINDS if kind not in kinds)


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_is_one_line(kind):
    assert str(kind("first\n   second\tthird ")) == "first second third"


def test_a_close_word_is_suggested():
    assert did_you_mean("objective.betta", ["objective.beta", "steps"]) == "; did you mean 'objective.beta'?"


def test_what_is_allowed_is_listed_when_nothing_is_close():
    assert did_you_mean("zzz", ["steps", "lr", "lr"]) == "; it is one of: lr, steps"


def test_nothing_is_said_when_nothing_is_allowed():
    assert did_you_mean("zzz", []) == ""
