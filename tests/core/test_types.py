"""What the words that everyone uses say of stages and options is true."""

import re
from dataclasses import fields
from typing import get_args

import pytest

from trivium.core.types import COLUMN_WRITERS
from trivium.learn.credit import GAE
from trivium.learn.objectives.preference import StepWide
from trivium.stages.catalogue import AnyStage

STAGES = get_args(get_args(AnyStage)[0])
NAMES = {field.default for stage in STAGES for field in fields(stage) if field.name == "kind"}
OPTIONS = {field.name for stage in STAGES for field in fields(stage)} | {GAE.kind}
METHODS = set.intersection(*(set(vars(each)) for each in get_args(StepWide)))


@pytest.mark.parametrize("column", COLUMN_WRITERS)
def test_who_writes_a_column_is_a_stage_or_an_option_that_there_is(column):
    assert set(re.findall("`(.*?)`", COLUMN_WRITERS[column])) <= NAMES | OPTIONS | METHODS
