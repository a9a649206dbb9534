"""A process that is asked line by line: it answers, is late, or ends, and is never left behind."""

import os
import sys

import pytest

from trivium.core.line_process import LineProcess, NoReplyError

TWICE = "import sys, time, os\nfor line in sys.stdin:\n    {}\n    print(2 * int(line), flush=True)"


def program(code: str = "pass") -> list[str]:
    return [sys.executable, "-c", TWICE.format(code)]


def test_each_line_is_answered_by_one():
    process = LineProcess(program())
    assert [process.ask(str(number)) for number in (1, 21)] == ["2\n", "42\n"]
    process.close()
    process.close()  # which changes nothing


@pytest.mark.parametrize(("code", "is_late", "ended"), [("time.sleep(60)", True, -9), ("os._exit(7)", False, 7)])
def test_one_that_is_late_or_ends_gives_no_reply_and_is_dead(code, is_late, ended):
    process = LineProcess(program(code))
    number = process._process.pid
    with pytest.raises(NoReplyError) as caught:
        process.ask("1", 0.5 if is_late else None)
    assert (caught.value.is_late, caught.value.code) == (is_late, ended)
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)
