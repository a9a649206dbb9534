"""Which tests an answer passes, and that answers which only look as if they did pass none."""

import pytest

from tests.score.test_sandbox import why_not
from trivium.core.errors import DataError
from trivium.core.types import Message
from trivium.score.code_tests import CodeTests, last_block, passed_tests
from trivium.score.rewards import Code, Said, checked
from trivium.score.sandbox import Limits

needs_sandbox = pytest.mark.skipif(bool(why_not()), reason=why_not())
ADD = CodeTests(("assert add(1, 2) == 3", "assert add(-1, 1) == 0", "assert add(2, 2) in (4, 5)"))
RIGHT = "def add(a, b):\n    return a + b\n"
HUMAN_EVAL = {
    "prompt": 'import math\n\ndef half(n):\n    return n // 2\n\ndef root_of_half(n):\n    """ >>> root_of_half(8)\n    2.0\n    """\n',
    "entry_point": "root_of_half",
    "test": "METADATA = {}\n\ndef check(candidate):\n    assert candidate(8) == 2.0\n    assert half(4) == 2\n",
}


@pytest.mark.parametrize(
    ("text", "block"),
    [
        ("x = 1", "x = 1"),
        ("Here:\n```python\nx = 1\n```\nand\n```\nx = 2\n```\nDone.", "x = 2\n"),
        ("```py\n    return 1\n```", "    return 1\n"),
        ("```python\nx = 1\ny = 2", "x = 1\ny = 2"),
        ("say `x = 1` and ```x = 2```", "say `x = 1` and ```x = 2```"),
        ("```\n```", ""),
    ],
)
def test_the_last_block_of_an_answer(text, block):
    assert last_block(text) == block


@pytest.mark.parametrize(
    ("fields", "tests", "setup"),
    [
        ({"tests": "assert f()"}, ("assert f()",), ""),
        ({"tests": ["assert f()", "assert g()"], "setup": "x = 1"}, ("assert f()", "assert g()"), "x = 1"),
        ({"text": "?", "test_list": ["assert f()"], "test_setup_code": ""}, ("assert f()",), ""),
        (
            {"prompt": "?", "test_list": ["assert f()"], "test_imports": ["import math", "import re"]},
            ("assert f()",),
            "import math\nimport re",
        ),
        (HUMAN_EVAL, ("check(root_of_half)",), HUMAN_EVAL["test"]),
    ],
)
def test_tests_are_read_from_the_layouts_of_records(fields, tests, setup):
    found = CodeTests.of(fields)
    assert (found.tests, found.setup) == (tests, setup)


@pytest.mark.parametrize(
    "fields", [{"answer": "1"}, {"tests": []}, {"tests": ["x", 1]}, {"test_list": 3}, {"entry_point": "f", "prompt": "?"}]
)
def test_a_record_without_tests_is_told(fields):
    with pytest.raises(DataError, match=r"the field '\w+' of a prompt is no text.*found: "):
        CodeTests.of(fields)


def test_a_function_that_was_begun_is_continued_or_replaced():
    task = CodeTests.of(HUMAN_EVAL)
    assert task.program("    return 1\n") == HUMAN_EVAL["prompt"] + "    return 1\n"
    assert task.program("```python\ndef root_of_half(n):\n    return 1\n```").startswith(HUMAN_EVAL["prompt"] + "\ndef root_of_half")


@needs_sandbox
@pytest.mark.parametrize("answer", ["    return math.sqrt(half(n))\n", "```\ndef root_of_half(n):\n    return half(n) ** 0.5\n```"])
def test_human_eval_takes_a_continuation_and_a_whole_function(answer):
    assert CodeTests.of(HUMAN_EVAL).passed(answer) == [True]
    assert CodeTests.of(HUMAN_EVAL).passed("    return 2.5\n") == [False]


@needs_sandbox
def test_each_test_counts_for_itself():
    endless = "def add(a, b):\n    while b == 1: pass\n    return a + b"
    answers = [RIGHT, "def add(a, b):\n    return 3\n", "def add(a, b):\n    return a + c\n", endless]
    quick = passed_tests([ADD] * 4, answers, Limits(wall_s=9, cpu_s=1))
    assert quick == [[True] * 3, [True, False, False], [False] * 3, [True, False, False]]


DECEPTIONS = {
    "exits well": "import sys; sys.exit(0)",
    "leaves at once": "import os; os._exit(0)",
    "leaves in the test": "import os\ndef add(a, b): os._exit(0)",
    "kills itself": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
    "no Python": "return 3",
    "says what the tests say": "print('0\\n1\\n2\\nok\\nTrue')",
    "is equal to all": "class A:\n    def __eq__(self, other): return True\ndef add(a, b): return A()",
    "is a number equal to all": "class A(int):\n    __eq__ = lambda *_: True\n    __hash__ = int.__hash__\ndef add(a, b): return A(7)",
    "hangs on exit": "import atexit\natexit.register(print, 'passed')\nimport sys; sys.exit()",
    "reads its input again": "import os\nos.lseek(0, 0, 0)\nprint(os.read(0, 9999))",
    "changes the names of the tests": "def add(a, b):\n    globals()['__equal__'] = lambda *_: True\n    return 7",
    "ends the main thread": "import _thread\n_thread.interrupt_main()",
}


@needs_sandbox
@pytest.mark.parametrize("answer", DECEPTIONS.values(), ids=DECEPTIONS.keys())
def test_what_only_looks_like_passing_passes_nothing(answer):
    assert ADD.passed(answer)[:2] == [False, False]


LOOKS = {
    "frames": "f = sys._getframe()\nwhile f: seen += [f.f_locals, f.f_globals]; f = f.f_back",
    "traceback": "try: 1/0\nexcept Exception as e:\n    f = e.__traceback__.tb_frame\n    while f: seen += [f.f_locals]; f = f.f_back",
    "other threads": "for f in sys._current_frames().values():\n    while f: seen += [f.f_locals]; f = f.f_back",
    "all objects": "import gc; seen += gc.get_objects()",
    "memory": "import ctypes; seen += [ctypes.string_at(id(sys), 10)]",
    "main module": "import __main__; seen += [vars(__main__)]",
    "stdin": "import os; os.lseek(0, 0, 0); seen += [os.read(0, 99999)]",
    "memory of the process": "seen += [open('/proc/self/mem', 'rb').read(9)]",
    "a profile of all threads": "import threading; threading.setprofile_all_threads(lambda f, *_: seen.append(f.f_back.f_locals))",
    "a trace": "sys.settrace(lambda f, *_: seen.append(f.f_back.f_locals))",
}


@needs_sandbox
@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS.keys())
def test_the_token_is_nowhere_to_be_seen(look):
    """The answer tells what it saw by what its function returns: the token is a word of 32 hexadecimal digits."""
    lines = "\n    ".join(look.splitlines())
    answer = (
        f"import re, sys\nseen = []\ntry:\n    {lines}\nexcept BaseException as error:\n    seen += ['refused']\n"
        "tells = [text for text in map(repr, seen) if re.search('[0-9a-f]{32}', text)]\ndef add(a, b): return 3 if not tells else 0"
    )
    assert ADD.passed(answer)[0] is True


@needs_sandbox
def test_what_the_collector_calls_does_not_see_the_frames_of_the_main_thread():
    answer = (
        "import sys, gc\nseen = []\ndef look(*_):\n    try: f = sys._getframe(1)\n    except BaseException: return\n"
        "    while f: seen.append('token' in f.f_locals); f = f.f_back\n"
        "gc.callbacks.append(look); gc.enable(); gc.set_threshold(1)\ndef add(a, b): return 0 if True in seen else 3"
    )
    task = CodeTests(("x = [[n] for n in range(9999)]", "assert True", "assert add(1, 2) == 3"))
    assert task.passed(answer) == [True, True, True]


@needs_sandbox
def test_a_builtin_that_the_answer_changed_is_put_back():
    task = CodeTests(("assert sorted(f()) == [1, 2]",))
    assert task.passed("import builtins\nbuiltins.sorted = lambda items: [1, 2]\ndef f(): return []") == [False]
    assert task.passed("def f(): return [2, 1]") == [True]


@needs_sandbox
def test_an_equality_of_a_class_of_the_standard_library_or_on_both_sides_counts():
    task = CodeTests(
        ("assert count('aab') == {'a': 2, 'b': 1}", "assert Point(1) == Point(1)", "assert Pair(1) == Pair(1)", "assert half() == 0.5")
    )
    answer = (
        "from collections import Counter\nfrom dataclasses import dataclass\nfrom fractions import Fraction\ncount = Counter\n"
        "class Point:\n    def __init__(self, x): self.x = x\n    def __eq__(self, other): return self.x == other.x\n"
        "@dataclass\nclass Pair:\n    x: int\ndef half(): return Fraction(1, 2)"
    )
    assert task.passed(answer) == [True] * 4


@needs_sandbox
def test_the_reward_is_the_share_of_tests_or_all_or_nothing():
    said = [Said((Message("user", "?"),), text, True, {"tests": list(ADD.tests)}) for text in (RIGHT, "def add(a, b): return 3", "no")]
    assert checked(Code(), said) == pytest.approx([1, 1 / 3, 0])
    assert checked(Code(partial=False), said) == [1, 0, 0]
