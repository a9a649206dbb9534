"""Which tests an answer passes, and that answers which only look as if they did pass none."""

import ast
import hashlib
import os

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


@needs_sandbox
def test_many_tests_pass_where_there_is_hardly_room_for_another_process():
    task = CodeTests(("assert add(1, 2) == 3",) * 300)
    least = 2 if os.geteuid() == 0 else 3  # the tests', the answer's; what waits for them counts where it is the same user
    assert task.passed(RIGHT, Limits(wall_s=20, num_processes=least)) == [True] * 300


# f of each is to give 2, and gives something else
ODD = "def f(): return A()\n"
DECEPTIONS = {
    "exits well": "import sys; sys.exit(0)",
    "leaves at once": "import os; os._exit(0)",
    "leaves in the test": "import os\ndef f(): os._exit(0)",
    "kills itself": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
    "kills who asks": "import os, signal\ndef f(): os.kill(os.getppid(), signal.SIGKILL); return 7",
    "no Python": "return 3",
    "says what the tests say": "print('0\\n1\\n2\\nok\\nTrue')\nprint(True)\ndef f(): print('ok'); return 7",
    "is equal to all": f"class A:\n    def __eq__(self, other): return True\n{ODD}",
    "is a number equal to all": "class A(int):\n    __eq__ = lambda *_: True\n    __hash__ = int.__hash__\ndef f(): return A(7)",
    "is equal to all by exec": f"class A:\n    exec('def __eq__(s, o): return True')\n{ODD}",
    "is equal to what it is not": "class A(int):\n    __eq__ = int.__ne__\n    __ne__ = int.__eq__\ndef f(): return A(7)",
    "is between all": "class A:\n    __lt__ = __gt__ = __le__ = __ge__ = lambda *_: True\n    __ne__ = lambda *_: False\n" + ODD,
    "is no distance away": "class A:\n    __sub__ = __rsub__ = lambda *_: 0.0\n" + ODD,
    "is no distance away, as a number": "class A(int):\n    __sub__ = __rsub__ = lambda *_: 0\ndef f(): return A(7)",
    "is a list that is equal to all": "class A(list):\n    __eq__ = lambda *_: True\ndef f(): return A()",
    "says it is an int": "class A:\n    __class__ = int\n    __eq__ = __sub__ = lambda *_: True\n" + ODD,
    "shadows what tests call": "abs = round = lambda *_: 0\nlen = lambda _: 2\nisinstance = lambda *_: True\ndef f(): return 7",
    "shadows a module that tests call": "class math:\n    isclose = lambda *_, **__: True\ndef f(): return 7",
    "changes a module": "import math\nmath.isclose = lambda *_, **__: True\ndef f(): return 7",
    "changes what parses the test": "import ast\nast.NodeTransformer.visit = lambda self, node: node\ndef f(): return 7",
    "changes builtins": "import builtins\nbuiltins.abs = lambda _: 0\nbuiltins.AssertionError = None\ndef f(): return 7",
    "hangs on exit": "import atexit\natexit.register(print, 'passed')\nimport sys; sys.exit()",
    "reads its input again": "import os\nos.lseek(0, 0, 0)\nprint(os.read(0, 9999))",
    "changes the names of the tests": "def f():\n    globals()['__equal__'] = lambda *_: True\n    return 7",
    "ends the main thread": "import _thread\n_thread.interrupt_main()",
    "changes who judges": "import __main__\n__main__.passes = lambda *_: True\n__main__.equal = lambda *_: True\ndef f(): return 7",
    "changes who judges, by frames": (
        "import sys\nf = sys._getframe()\nwhile f:\n    f.f_globals['passes'] = f.f_globals['equal'] = lambda *_: True\n    f = f.f_back\n"
        "def f(): return 7"
    ),
    "says so itself, by frames": (
        "import sys\ndef f():\n    g = sys._getframe()\n    while g:\n        if 'found' in g.f_locals:\n"
        "            g.f_locals['found'].append(True)\n"
        "            g.f_locals['say']()\n            import time; time.sleep(9)\n        g = g.f_back\n    return 7"
    ),
    "waits for the token": (
        "import os\nwrite = os.write\ndef tell(to, text):\n    token = text.split()[0]\n"
        "    for n in range(9): write(to, token + b' %d\\n' % n)\nos.write = tell\ndef f(): return 7"
    ),
    "writes to every descriptor": (
        "def f(): return 7\nimport os\nfor n in range(20):\n    try: os.write(n, b'0\\n1\\n')\n    except OSError: pass"
    ),
    "replies for ever": (
        "import json, os\ndef f():\n    for n in range(64):\n        for _ in range(9):\n"
        "            try: os.write(n, b'{\"gave\": true, \"printed\": \"\", \"now\": []}\\n')\n"
        "            except OSError: break\n    return 7"
    ),
}  # fmt: skip
CHECKS = (
    "assert f() == 2", "assert 2 == f()", "assert f() in [2]", "assert not f() != 2", "assert 2 == f() == 2", "assert abs(f() - 2) < 1e-6",
    "assert abs(2 - f()) < 1e-6", "assert 2 <= f() <= 2", "import math\nassert math.isclose(f(), 2)", "assert [f()] == [2]",
    "assert {1: f()} == {1: 2}", "assert round(f(), 3) == 2", "assert 2 in {f()}", "assert f() in {2: 1}", 
    "assert isinstance(f(), int) and f() == 2",
    "assert max(f(), 2) == min(f(), 2)", "assert sorted([f(), 2]) == [2, 2]", "assert f() * 3 == 6",
)  # fmt: skip


@needs_sandbox
@pytest.mark.parametrize("answer", DECEPTIONS.values(), ids=DECEPTIONS.keys())
def test_what_only_looks_like_passing_passes_nothing(answer):
    passed = CodeTests(("assert True", *CHECKS)).passed(answer)[1:]  # what is said of a test that is passed does not help
    assert [check for check, is_passed in zip(CHECKS, passed, strict=True) if is_passed] == []


@needs_sandbox
def test_what_an_object_of_the_answers_holds_is_what_it_lists():
    task = CodeTests(("assert 2 in f()", "assert 3 in f()"))
    both = "\n    __iter__ = lambda _: iter([2])\ndef f(): return A()"
    assert task.passed(f"class A:\n    __contains__ = lambda *_: True{both}") == [True, False]


@needs_sandbox
def test_a_failed_assertion_is_not_swallowed_by_a_context_of_the_answers():
    answer = "class A:\n    def __enter__(self): return 7\n    def __exit__(self, *_): return True\ndef f(): return A()"
    assert CodeTests(("with f() as x: assert x == 2",)).passed(answer) == [False]


@needs_sandbox
def test_what_asserts_in_a_setup_cannot_be_asked_by_the_answer():
    task = CodeTests(("check(f)",), "def check(f):\n    assert f() == 2")
    asks = "def f():\n    try: return guess\n    except NameError: pass\n    for n in range(9):\n        globals()['guess'] = n\n"
    asks += "        try: check(f); return n\n        except AssertionError: pass\n"
    assert task.passed(asks) == [False]
    assert task.passed("def f(): return 2") == [True]


@needs_sandbox
def test_the_right_answer_passes_what_they_do_not():
    assert CodeTests(CHECKS).passed("def f(): return 2") == [True] * len(CHECKS)
    assert (
        CodeTests(CHECKS[:14]).passed("class Two(int):\n    def __eq__(self, other): return False\ndef f(): return Two(2)")[:4]
        == [True] * 4
    )


LOOKS = {
    "frames": "f = sys._getframe()\nwhile f: seen += [f.f_locals, f.f_globals]; f = f.f_back",
    "traceback": "try: 1/0\nexcept Exception as e:\n    f = e.__traceback__.tb_frame\n    while f: seen += [f.f_locals]; f = f.f_back",
    "other threads": "for f in sys._current_frames().values():\n    while f: seen += [f.f_locals]; f = f.f_back",
    "all objects": "import gc; seen += gc.get_objects()",
    "main module": "import __main__; seen += [vars(__main__)]",
    "stdin": "import os; os.lseek(0, 0, 0); seen += [os.read(0, 99999)]",
    "descriptors": "import os\nfor n in range(64): seen += read(n)",
    "memory of the process": "seen += [open('/proc/self/mem', 'rb').read(9)]",
    "a trace": "sys.settrace(lambda f, *_: seen.append(f.f_back and f.f_back.f_locals))",
}


@needs_sandbox
@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS.keys())
def test_the_token_and_the_tests_are_nowhere_to_be_seen(look, monkeypatch):
    """The answer knows only the hash of the token, and tells what it saw by what its function returns."""
    token = hashlib.sha256(b"token").hexdigest()[:32]
    monkeypatch.setattr("secrets.token_hex", lambda _: token)
    lines = "\n    ".join(look.splitlines())
    answer = (
        "import hashlib, os, re, sys\nseen = []\ndef read(n):\n    try: return [os.pread(n, 9999, 0)]\n    except OSError: return []\n"
        f"try:\n    {lines}\nexcept BaseException as error:\n    seen += ['refused']\nsys.settrace(None)\n"
        "texts = [text for text in map(repr, list(seen))]\n"
        "words = {word for text in texts for word in re.findall('(?=([0-9a-f]{32}))', text)}\n"
        f"is_told = {hashlib.sha256(token.encode()).hexdigest()!r} in [hashlib.sha256(word.encode()).hexdigest() for word in words]\n"
        "is_told = is_told or any(' == '.join(['add(1, 2)', '3']) in text for text in texts)\n"
        "def add(a, b): return 0 if is_told else 3"
    )
    assert ADD.passed(answer)[0] is True


@needs_sandbox
def test_the_process_of_the_tests_cannot_be_read_or_traced():
    answer = (
        "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\ndef f():\n"
        "    return libc.ptrace(16, os.getppid(), 0, 0), ctypes.get_errno()"
    )
    assert CodeTests(("assert f() == (-1, 1)",)).passed(answer) == [True]


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


KINDS = {
    "values": (
        "def f(x): return x",
        "from fractions import Fraction\nfrom decimal import Decimal\nfrom collections import deque, Counter, OrderedDict, defaultdict\n"
        "import datetime, uuid\nutc = datetime.timezone.utc",
        "for x in (None, True, 2**200, -5, 1.5, 1j, 'a\\ud800', b'a', bytearray(b'b'), [1, [2]], (1, (2,)), {1}, frozenset({2}),"
        " {(1, 2): [3]}, range(3), Fraction(1, 2), Decimal('1.50'), deque([1], 3), Counter('aab'), OrderedDict(a=1),"
        " datetime.date(2020, 1, 2), datetime.datetime(2020, 1, 2, 3, 4, 5, 6, utc), datetime.time(3), datetime.timedelta(4),"
        " defaultdict(int, {2: 3}), uuid.UUID(int=5), int):\n"
        "    assert f(x) == x and type(f(x)) is type(x), x",
    ),
    "not a number": ("def f(): return float('nan'), float('inf')", "", "a, b = f()\nassert a != a and b == float('inf')"),
    "changes in place": (
        "def f(items, seen): items.sort(); items[0] = [9]; seen.add(1)",
        "",
        "x, s = [3, 1], set()\ny = x\nf(x, s)\nassert y == [[9], 3] and s == {1}",
    ),
    "functions both ways": (
        "def twice(g): return lambda x, *, y=0: g(g(x)) + y",
        "",
        "assert twice(lambda x: x + 3)(1, y=1) == 8",
    ),
    "objects": (
        "class Stack:\n    size = 0\n    def __init__(self): self.items = []\n    def push(self, x): self.items.append(x); return self\n"
        "    def __len__(self): return len(self.items)\n    def __getitem__(self, n): return self.items[n]\n"
        "    def __str__(self): return 'S'",
        "",
        "s = Stack()\nassert not s\ns.push(1).push(2)\nassert len(s) == 2 and s[1] == 2 and str(s) == 'S' and s.items == [1, 2]\n"
        "assert list(s) == [1, 2]\ns.extra = s\nassert s.extra is s and isinstance(s, Stack) and s != 3 and s is not None\n"
        "assert hasattr(s, 'push') and not hasattr(s, 'pop')",
    ),
    "a list of its own": (
        "class S(list):\n    def top(self): return self[-1]",
        "",
        "s = S([1, 2])\nassert s.top() == 2 and s == [1, 2] and [1, 2] == s",
    ),
    "enumerations": ("import enum\nclass C(enum.IntEnum):\n    RED = 1", "", "assert C.RED == 1 and C.RED < 2 and C['RED'] is C.RED"),
    "contexts": (
        "from contextlib import contextmanager\n@contextmanager\ndef f():\n    try: yield 3\n    except KeyError: pass",
        "",
        "with f() as x:\n    assert x == 3\n    raise KeyError",
    ),
    "named tuples": (
        "from collections import namedtuple\nP = namedtuple('P', 'x y')",
        "",
        "p = P(1, y=2)\nassert p == (1, 2) and p.y == 2 and p == P(1, 2)",
    ),
    "generators": (
        "def f():\n    yield 1\n    yield from [2, 3]",
        "",
        "assert list(f()) == [1, 2, 3] and next(f()) == 1 and sum(f()) == 6",
    ),
    "errors": (
        "class Own(ValueError): pass\ndef f(x):\n    if x: raise Own('told', x)\n    return [][1]",
        "",
        "try: f(1)\nexcept Own as e: assert e.args == ('told', 1)\nelse: assert False\ntry: f(1)\nexcept ValueError: pass\n"
        "try: f(0)\nexcept IndexError: pass\nelse: assert False",
    ),
    "what is printed": (
        "def f(): print('hello')",
        "",
        "import io, contextlib\nwith contextlib.redirect_stdout(io.StringIO()) as out: f()\nassert out.getvalue() == 'hello\\n'",
    ),
    "a class of the setup": (
        "def depth(node: Node): return 1 + max(depth(node.left), depth(node.right)) if node else OFFSET",
        "from dataclasses import dataclass\nOFFSET = 0\n@dataclass\nclass Node:\n    left: object = None\n    right: object = None",
        "root = Node(Node(), Node(Node()))\nroot.left.left = Node(Node())\nassert depth(root) == 4",
    ),
    "a setup that needs the answer": ("class Node:\n    x = 1", "root = Node()\nroot.x = 5", "assert root.x == 5"),
    "a function of the setup": (
        "def f(x): return helper(x) + math.pi",
        "import math\ndef helper(x): return x * 2",
        "assert abs(f(2) - 7.14159) < 1e-3",
    ),
    "a name of a builtin": ("def sum(a, b): return a + b", "", "assert sum(1, 2) == 3"),
    "a module of the answer": ("import math\ndef f(): return 2.0", "", "assert math.isclose(f(), 2)"),
}


@needs_sandbox
@pytest.mark.parametrize(("answer", "setup", "test"), KINDS.values(), ids=KINDS.keys())
def test_tests_see_of_an_answer_what_they_would_in_one_process(answer, setup, test):
    exec(compile(ast.parse("\n".join(["from __future__ import annotations", answer, setup, test])), "<here>", "exec"), {})
    assert CodeTests((test,), setup).passed("from __future__ import annotations\n" + answer) == [True]


@needs_sandbox
def test_the_reward_is_the_share_of_tests_or_all_or_nothing():
    said = [Said((Message("user", "?"),), text, True, {"tests": list(ADD.tests)}) for text in (RIGHT, "def add(a, b): return 3", "no")]
    assert checked(Code(), said) == pytest.approx([1, 1 / 3, 0])
    assert checked(Code(partial=False), said) == [1, 0, 0]
