"""Functions of the user: what they see, and that each way to fail is one line that names the function."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import pytest

from trivium.core.errors import ArtefactError, ConfigError, DataError, RankError
from trivium.core.types import Message
from trivium.score.rewards import Plugin, Said, checked
from trivium.score.rewards.plugin import OpenPlugin

ROOT = Path(__file__).parents[3]
GOOD = """
import numpy as np
print("loaded")
def score(answers):
    print("called")
    return [len(said.response) + said.is_stopped + said.fields["bonus"] + len(said.prompt[0].content) for said in answers]
def arrays(answers):
    return np.ones(len(answers), np.float32)
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def written(source: str, **options) -> OpenPlugin:
        file = Path("my_rewards.py")
        file.write_text(source)
        return Plugin(function="my_rewards.py:score", **options).open({str(file.resolve()): sha256(file.read_bytes()).hexdigest()})

    return written


def said(response: str, bonus: float = 0.5) -> Said:
    return Said((Message("user", "?"),), response, True, {"bonus": bonus})


def test_a_function_sees_the_prompt_the_answer_its_end_and_the_fields(write):
    opened = write(GOOD)
    assert checked(opened, [said("abc"), said("", 2)]) == [5.5, 4]
    assert checked(opened, [said("abc")]) == [5.5]  # and is asked again and again
    assert opened.kind == "plugin"


def test_numbers_of_numpy_are_numbers(write):
    opened = write(GOOD.replace("def score", "def other").replace("def arrays", "def score"))
    assert checked(opened, [said("a"), said("b")]) == [1, 1]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return [1.0]", "gave 1 numbers for 2 answers"),
        ("return [1.0, float('nan')]", "gave nan for the answer 'bad'"),
        ("return [float('inf'), 1.0]", "gave inf for the answer 'good'"),
        ("return [1, 'high']", "gave \"str 'high'\" for the answer 'bad'"),
        ("return [True, 1]", "gave True for the answer 'good'"),
        ("return [None, 1]", "gave 'NoneType None' for the answer 'good'"),
        ("return None", "gave NoneType for 2 answers; a list of numbers is expected"),
        ("return 'ab'", "gave str for 2 answers"),
        (
            "return [1 / (each.response != 'bad') for each in answers]",
            r"my_rewards.py:score raised ZeroDivisionError: .*line 2\) for the answer 'bad'",
        ),
        ("return [1] * (1 // (len(answers) < 2))", "for 2 answers together, from 'good'"),
        ("import numpy; return numpy.array(1.0)", r"gave an array of shape \(\) for 2 answers; a list of numbers is expected"),
        ("import numpy; return numpy.ones((2, 1))", r"gave an array of shape \(2, 1\) for 2 answers"),
        ("return [10**6000, 1]", "gave 'an integer of 19,932 bits' for the answer 'good'"),
        ("raise KeyboardInterrupt", r"raised KeyboardInterrupt: .*line 2\) for the answer 'good'"),
        ("raise SystemExit(3)", r"raised SystemExit: 3 \(line 2\) for the answer 'good'"),
        ("raise type('Mute', (Exception,), {'__str__': None, '__repr__': None})", r"raised Mute: that cannot be shown \(line 2\)"),
        ("return [type('Mute', (), {'__repr__': None})(), 1]", "gave 'Mute that cannot be shown' for the answer 'good'"),
        ("return type('Bad', (list,), {'__iter__': None})()", "raised TypeError: .* for the answer 'good'"),
        ("answers.clear(); raise ValueError('x')", r"raised ValueError: x \(line 2\) for the answer 'good'"),
        ("return [input()]", r"raised EOFError: .*line 2\) for the answer 'good'"),
    ],
)
def test_what_a_function_does_wrong_is_one_line(write, body, message):
    opened = write(f"def score(answers):\n    {body}")
    with pytest.raises(DataError, match=message) as failed:
        checked(opened, [said("good"), said("bad")])
    assert "\n" not in str(failed.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def scores(answers): pass", r"is not there \(functions in the file: scores\) while it is loaded"),
        ("raise KeyboardInterrupt", "raised KeyboardInterrupt"),
        ("import no_such_module", "raised ModuleNotFoundError: No module named 'no_such_module'"),
        ("def score(answers:", "raised SyntaxError"),
        ("import os; os._exit(3)", r"ended its process \(code 3\) while it is loaded"),
    ],
)
def test_a_file_that_does_not_load_is_told_before_anything_is_scored(write, source, message):
    with pytest.raises(ConfigError, match=message):
        write(source)


def test_a_function_that_hangs_is_ended_and_asked_once_more(write, tmp_path):
    once = "import pathlib, time\ndef score(answers):\n    mark = pathlib.Path('mark')\n    if not mark.exists():\n        mark.touch()\n"
    assert checked(write(once + "        time.sleep(60)\n    return [1] * len(answers)", seconds=0.3), [said("a")]) == [1]


@pytest.mark.parametrize(
    ("body", "message"), [("while True: pass", r"took longer than 0\.2 s, twice"), ("import os; os._exit(1)", "ended its process.* twice")]
)
def test_one_that_hangs_or_dies_again_ends_the_run(write, body, message):
    opened = write(f"def score(answers):\n    {body}", seconds=0.2)
    with pytest.raises(RankError, match=f"my_rewards.py:score {message}, for 1 answers from 'abc' on"):
        checked(opened, [said("abc")])


@pytest.mark.parametrize("closes", ["os.closerange(0, 64)", "os.closerange(3, 64)"])
def test_one_that_closes_what_it_answers_through_ends_the_run_without_a_traceback(write, closes, capfd):
    opened = write(f"import os\ndef score(answers):\n    {closes}\n    return [1.0] * len(answers)")
    with pytest.raises(RankError, match=r"my_rewards.py:score ended its process \(code 1\), twice, for 1 answers"):
        checked(opened, [said("abc")])
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("closes", ["os.closerange(0, 3)", "sys.stdin.close(); sys.stdout.close()"])
def test_one_that_closes_what_is_its_own_goes_on(write, closes, capfd):
    opened = write(f"import os, sys\ndef score(answers):\n    {closes}\n    return [1.0] * len(answers)")
    assert checked(opened, [said("abc")]) == checked(opened, [said("abc")]) == [1.0]
    assert capfd.readouterr().err == ""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_a_function_that_loops_dies_with_whoever_started_it(tmp_path):
    file = tmp_path / "my_rewards.py"
    tells = "pathlib.Path('mark').write_text(f'{os.getpid()}\\n')"
    file.write_text(f"import os, pathlib\ndef score(answers):\n    {tells}\n    while True: pass\n")
    program = (
        f"from trivium.score.rewards import Plugin, Said\nplugin = Plugin(function='{file}:score')\n"
        f"plugin.open({{{str(file)!r}: {sha256(file.read_bytes()).hexdigest()!r}}})([Said((), 'abc', True, {{}})])"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})
    mark = tmp_path / "mark"
    wait_until(lambda: mark.exists() and mark.read_text().endswith("\n"))
    child = int(mark.read_text())
    try:
        parent.kill()
        parent.wait()
        assert wait_until(lambda: not is_running(child))
    finally:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_one_whose_parent_is_already_dead_ends_at_once():
    ended = subprocess.run([sys.executable, "-c", "from trivium.score.plugin_process import end_with; end_with(1 << 30)"], cwd=ROOT)
    assert ended.returncode == 1


def is_running(process: int) -> bool:
    """Whether it is there, and more than a name that nobody has asked for."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(is_so: Callable[[], bool]) -> bool:
    """Wait for it, at most 20 seconds; whether it came."""
    deadline = time.monotonic() + 20
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.02)
    return is_so()


def test_only_the_file_that_was_allowed_is_loaded(write):
    Path("my_rewards.py").write_text("raise SystemExit")
    with pytest.raises(ConfigError, match="my_rewards.py: is Python that the recipe wants to run; .*add --plugin my_rewards.py"):
        Plugin(function="my_rewards.py:score").open({})
    with pytest.raises(ArtefactError, match="my_rewards.py: changed since the run began"):
        Plugin(function="my_rewards.py:score").open({str(Path("my_rewards.py").resolve()): "0" * 64})


@pytest.mark.parametrize("function", ["my_rewards.py", "os:system", "my_rewards.py:a b", "a.py:"])
def test_a_function_is_named_by_file_and_name(function):
    with pytest.raises(ConfigError, match="FILE.py:NAME is expected"):
        Plugin(function=function)
