"""docs/evaluation.md names every task and every way of scoring, and its example is a task."""

import re
import tomllib
from pathlib import Path
from typing import get_args

from trivium.core.config import build
from trivium.evals.scoring import AnyScoring
from trivium.evals.task import Task, shipped_tasks

PAGE = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text()
NAMED = {word for line in re.findall(r"(?m)^\| (`.*?) \|", PAGE) for word in re.findall(r"`(\w+)`", line)}


def test_every_task_and_kind_is_in_a_table():
    kinds = {member.kind for member in get_args(get_args(AnyScoring)[0])}
    assert kinds | shipped_tasks().keys() == NAMED


def test_tasks_whose_data_is_in_a_package_are_said_to_be():
    packaged = {name for name, path in shipped_tasks().items() if "data" in tomllib.loads(path.read_text())}
    told = {word for line in re.findall(r"(?m)^\| (`.*?) \|.*in a package \|$", PAGE) for word in re.findall(r"`(\w+)`", line)}
    assert told == packaged


def test_the_example_is_a_task():
    [example] = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert build(Task, tomllib.loads(example)).scoring.gold == "cities.index(capital)"
