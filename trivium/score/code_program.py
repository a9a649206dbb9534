"""A program for the sandbox: runs an answer and then tests of it, and says after each test that it was passed.

in, on stdin: {"answer": Python, "setup": Python, "tests": [Python, ...], "token": a word nobody can guess}.
out: a line `token number` for each test that was passed, as it is passed.

The answer runs in the interpreter that says so, so it is kept from the token: both outputs and stdin are taken from it, it runs in a
thread of its own, on whose stack there is no frame of ours that knows the token, and an audit hook refuses to look at other threads'
frames, at all objects, or at raw memory. An end before the tests, by whatever exit, leaves them unsaid. Names in `builtins` are put back
before each test, and `==` of the answer's own making does not count. What it may still change is the standard library that tests use.
"""

import _thread
import ast
import builtins
import gc
import json
import os
import sys
import types
from collections.abc import Callable
from typing import Any

ANSWER, TESTS = "<answer>", "<tests>"
MAIN = _thread.get_ident()
HIDDEN_MODULES = {"ctypes", "_ctypes", "_testcapi", "_testinternalcapi", "_xxsubinterpreters", "_interpreters"}
HIDDEN_EVENTS = {
    "sys._current_frames", "sys._current_exceptions", "sys.settrace", "sys.setprofile", "sys.addaudithook",
    "gc.get_objects", "gc.get_referrers", "gc.get_referents",
}  # fmt: skip
HIDDEN_ON_MAIN = {"sys._getframe", "object.__getattr__"}  # where a finalizer or a signal handler of the answer's would see our frames
CONTAINERS, MAX_DEPTH = {list, tuple, set, frozenset, dict}, 5
NATIVE = (types.WrapperDescriptorType, types.MethodDescriptorType)


def main() -> None:
    """Read, run, say."""
    asked = json.loads(sys.stdin.read())
    token, says = asked.pop("token"), os.dup(1)
    nothing = os.open("/dev/null", os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    answer = compiled(asked["answer"], ANSWER)
    setup, *tests = [compiled(source, TESTS) for source in (asked["setup"], *asked["tests"])]
    originals = dict(vars(builtins))
    names: dict[str, object] = {"__name__": "answer", "__builtins__": builtins}
    gc.disable()  # it would call what the answer hangs on it, here
    sys.addaudithook(refuse_to_look)
    if not passes(answer, names):
        os._exit(1)
    theirs = dict(names)  # the tests' own names: a function of the answer's does not change them when it is called
    if not passes(setup, theirs, originals):
        os._exit(1)
    names |= {name: value for name, value in theirs.items() if name not in names}
    for number, test in enumerate(tests):
        if passes(test, theirs, originals):
            os.write(says, f"{token} {number}\n".encode())
    os._exit(0)


def compiled(source: str, name: str) -> types.CodeType | None:
    """A piece of Python, or None if it is none. All of it is compiled before any of it runs."""
    try:
        tree = ast.parse(source, name)
        if name == TESTS:
            tree = ast.fix_missing_locations(Equality().visit(tree))
        return compile(tree, name, "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # ValueError: a zero byte
        return None


def refuse_to_look(event: str, about: tuple[object, ...]) -> None:
    """An audit hook; one cannot be taken away again."""
    is_hidden = event in HIDDEN_EVENTS or event.startswith("ctypes.") or (event == "import" and about[0] in HIDDEN_MODULES)
    if is_hidden or (event in HIDDEN_ON_MAIN and _thread.get_ident() == MAIN):
        raise RuntimeError(f"{event} is not there while an answer is tested")


def passes(code: types.CodeType | None, names: dict[str, object], originals: dict[str, object] | None = None) -> bool:
    """Whether it runs to its end, in a thread. originals: what `builtins` is set back to before."""
    if code is None:
        return False
    found: list[bool] = []
    is_over = _thread.allocate_lock()
    is_over.acquire()
    if originals is not None:
        vars(builtins).update(originals)
        names["__equal__"] = equal
    _thread.start_new_thread(run, (code, names, found, is_over.release))
    is_over.acquire()
    return found == [True]


def run(code: types.CodeType, names: dict[str, object], found: list[bool], say: Callable[[], None]) -> None:
    """The thread; any error, and any wish to exit, is a failure."""
    try:
        exec(code, names)
        found.append(True)
    except BaseException:
        found.append(False)
    finally:
        say()


class Equality(ast.NodeTransformer):
    """`a == b` of a test becomes `__equal__(a, b)`."""

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        """Every comparison, those within others too."""
        self.generic_visit(node)
        if len(node.ops) != 1 or not isinstance(node.ops[0], ast.Eq):
            return node
        return ast.Call(ast.Name("__equal__", ast.Load()), [node.left, *node.comparators], [])


def equal(left: object, right: object) -> object:
    """left == right, unless only one of them brings an equality that the answer defines. Raises AssertionError then."""
    if own_types(left) != own_types(right):
        raise AssertionError("an equality of the answer's own making")
    return left == right


def own_types(value: Any) -> set[type]:
    """The types in a value, and in what it contains, whose `==` the answer defines."""
    found, layer = set(), [value]
    for _ in range(MAX_DEPTH):
        kinds = set(map(type, layer))
        found |= {kind for kind in kinds if kind not in CONTAINERS and defines_equality(kind)}
        if not kinds & CONTAINERS:
            break
        inner = (item for item in layer if type(item) in CONTAINERS)
        layer = [part for item in inner for part in ([*item, *item.values()] if type(item) is dict else item)]
    return found


def defines_equality(kind: type) -> bool:
    """Whether the first class with an `==` is the answer's."""
    maker = next(vars(base)["__eq__"] for base in type.mro(kind) if "__eq__" in vars(base))
    return maker.__code__.co_filename == ANSWER if isinstance(maker, types.FunctionType) else not isinstance(maker, NATIVE)


if __name__ == "__main__":
    main()
