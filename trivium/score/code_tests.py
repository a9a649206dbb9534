"""Programs that models write, and the tests that come with a task: which of them an answer passes, found out in the sandbox."""

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trivium.core.errors import DataError
from trivium.core.world import num_cores
from trivium.score.sandbox import Limits, run_python

_PROGRAM = Path(__file__).with_name("code_program.py")
_BLOCK = re.compile(r"^[ \t]*```[^\n`]*\n(.*?)(?:^[ \t]*```[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class CodeTests:
    """The tests of a task. begun: Python that an answer may continue (its function is `entry_point`). setup: runs before the tests."""

    tests: tuple[str, ...]
    setup: str = ""
    begun: str = ""
    entry_point: str = ""

    @staticmethod
    def of(fields: Mapping[str, Any]) -> "CodeTests":
        """From the fields of a record. Raises DataError if they hold no tests, or some that are no text.

        test, entry_point, prompt (HumanEval, Chen et al. 2021, arXiv:2107.03374: one test, which calls `check`) | test_list, with
        test_setup_code or test_imports (MBPP, Austin et al. 2021, arXiv:2108.07732) | tests, a text or a list, with setup.
        """
        if "entry_point" in fields:
            test, entry, begun = (_text(fields, name) for name in ("test", "entry_point", "prompt"))
            return CodeTests((f"check({entry})",), test, begun, entry)
        name = "test_list" if "test_list" in fields else "tests"
        tests = _texts(fields, name)
        setup = ("test_imports", "test_setup_code") if name == "test_list" else ("setup",)
        return CodeTests(tests, "\n".join(text for field in setup if fields.get(field) for text in _texts(fields, field)))

    def program(self, response: str) -> str:
        """The Python of an answer: its last fenced block, or all of it, after what it continues."""
        code = last_block(response)
        if not self.begun:
            return code
        is_whole = re.search(rf"^(?:def\s+{re.escape(self.entry_point)}\b|{re.escape(self.entry_point)}\s*=)", code, re.MULTILINE)
        return f"{self.begun}\n{code}" if is_whole else self.begun + code

    def passed(self, response: str, limits: Limits | None = None) -> list[bool]:
        """Whether an answer passes each test. Raises ResourceError if the system has no sandbox."""
        token = secrets.token_hex(16)
        asked = {"answer": self.program(response), "setup": self.setup, "tests": list(self.tests), "token": token}
        outcome = run_python(_PROGRAM.read_text(encoding="utf-8"), stdin=json.dumps(asked), limits=limits)
        said = set(outcome.stdout.splitlines())
        return [f"{token} {number}" in said for number in range(len(self.tests))]


def passed_tests(tasks: Sequence[CodeTests], responses: Sequence[str], limits: Limits | None = None) -> list[list[bool]]:
    """Of each answer, whether it passes each test of its task; as many at once as there are cores."""
    with ThreadPoolExecutor(num_cores()) as threads:
        return list(threads.map(lambda pair: pair[0].passed(pair[1], limits), zip(tasks, responses, strict=True)))


def last_block(text: str) -> str:
    """The last fenced block of a text, one that is cut off too; all of the text if there is none."""
    blocks = _BLOCK.findall(text)
    return blocks[-1] if blocks else text


def _texts(fields: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = fields.get(name)
    items = value if isinstance(value, list) else [value]
    if not items or not all(isinstance(item, str) for item in items):
        there = ", ".join(sorted(fields)) or "none"
        raise DataError(
            f"the field '{name}' of a prompt is no text and no list of texts; code is tested by 'tests', by 'test_list' (MBPP) or by"
            f" 'test', 'entry_point' and 'prompt' (HumanEval); found: {there}"
        )
    return tuple(items)


def _text(fields: Mapping[str, Any], name: str) -> str:
    return "\n".join(_texts(fields, name))
