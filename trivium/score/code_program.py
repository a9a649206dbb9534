"""A program for the sandbox: runs an answer and then tests of it, and says after each test that it was passed.

in, on stdin: {"answer": Python, "setup": Python, "tests": [Python, ...], "token": a word nobody can guess}.
out: a line `token number` for each test that was passed, as it is passed.

The answer runs in a process of its own, which never holds the token, the tests, or anything that they compare with. What a test calls goes
over a pipe as JSON: arguments there, and back a plain value, or the number of an object that stays where the answer is (`Remote`). A
comparison or sum of such an object with a value of the test's is made here, with the plain value that it holds (an int of the answer's own
class is an int), never by its own methods; those count where both sides are objects of the answer's. A name of `builtins` or of a module
of the standard library is the test's own, unless the answer has nothing else that the tests name.

A test sees of the answer's process what calls, attributes and items say. It cannot patch it, nor derive a class from one of it. Of a
setup the answer has the imports, the classes, and by name the plain values and the functions (called here), but nothing that asserts.
"""

import ast
import builtins
import ctypes
import importlib
import io
import json
import operator
import os
import sys
import types
from collections.abc import Callable
from contextlib import suppress
from typing import Any

Names = dict[str, Any]
PR_SET_DUMPABLE, BIG = 4, 1 << 53
PARTS: dict[str, Callable[[Any], tuple[Any, ...]]] = {  # type -> what it is made of again
    "builtins.tuple": lambda value: (list(value),),
    "builtins.set": lambda value: (list(value),),
    "builtins.frozenset": lambda value: (list(value),),
    "builtins.dict": lambda value: (list(value.items()),),
    "builtins.bytes": lambda value: (list(value),),
    "builtins.bytearray": lambda value: (list(value),),
    "builtins.complex": lambda value: (value.real, value.imag),
    "builtins.range": lambda value: (value.start, value.stop, value.step),
    "builtins.slice": lambda value: (value.start, value.stop, value.step),
    "collections.deque": lambda value: (list(value), value.maxlen),
    "collections.Counter": lambda value: (dict(value),),
    "collections.OrderedDict": lambda value: (list(value.items()),),
    "collections.defaultdict": lambda value: (None, list(value.items())),  # what makes its values stays where it is
    "uuid.UUID": lambda value: (str(value),),
    "fractions.Fraction": lambda value: (value.numerator, value.denominator),
    "decimal.Decimal": lambda value: (str(value),),
    "datetime.date": lambda value: (value.year, value.month, value.day),
    "datetime.time": lambda value: (value.hour, value.minute, value.second, value.microsecond, value.tzinfo),
    "datetime.datetime": lambda value: (*value.timetuple()[:6], value.microsecond, value.tzinfo),
    "datetime.timezone": lambda value: (value.utcoffset(None),),
    "datetime.timedelta": lambda value: (value.days, value.seconds, value.microseconds),
}
VIEWS: tuple[type[Any], ...] = (int, float, complex, str, bytes, tuple, list, set, frozenset, dict)
ALONE: dict[str, Callable[..., Any]] = {  # what is asked of one object
    "__bool__": bool, "__len__": len, "__iter__": iter, "__next__": next, "__str__": str, "__repr__": repr, "__hash__": hash,
    "__int__": int, "__float__": float, "__index__": operator.index, "__abs__": abs, "__neg__": operator.neg, "__round__": round,
    "__getitem__": operator.getitem, "__setitem__": operator.setitem, "__delitem__": operator.delitem,
    "__enter__": lambda value: type(value).__enter__(value), "__exit__": lambda value, *error: type(value).__exit__(value, *error),
    "__getattr__": getattr, "__setattr__": setattr, "__instancecheck__": lambda kind, value: isinstance(value, kind),
}  # fmt: skip
MUTABLE = (list, dict, set, bytearray)
BETWEEN = ("eq", "ne", "lt", "le", "gt", "ge", "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor")


def main() -> None:
    """Part into two processes."""
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)  # neither can look into the other's memory
    (there, here), (back, away) = os.pipe(), os.pipe()
    says, given = os.dup(1), os.dup(0)
    nothing = os.open("/dev/null", os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    if os.fork():
        os.close(there)
        os.close(away)
        run_tests(Line(back, here), given, says)
    else:
        for end in (says, given, here, back):
            os.close(end)
        keep_answer(Line(there, away))
    os._exit(0)


def run_tests(line: "Line", given: int, says: int) -> None:
    """The side that knows: read, let the answer run, run the tests, say."""
    with os.fdopen(given, encoding="utf-8") as file:
        asked = json.load(file)
    Remote.line, line.serves = line, {"call": called}
    setup, *tests = [parsed(source) for source in (asked["setup"], *asked["tests"])]
    written = parsed(asked["answer"])
    if setup is None or written is None:
        os._exit(1)
    common, setup = shared(setup)
    line.ask("run", asked["answer"])
    line.ask("add", common)
    names: Names = {"__name__": "tests"} | own_names(line.ask("names", sorted(set().union(*map(named, [setup, *filter(None, tests)])))))
    exec(compile(setup, "<setup>", "exec"), names)
    asserting = {node.name for node in setup.body if isinstance(node, ast.FunctionDef) and "assert" in ast.unparse(node)}
    for name in named(written) & names.keys() - asserting:
        with suppress(TypeError):
            line.ask("give", name, names[name])
    for number, test in enumerate(tests):
        with suppress(BaseException):
            if test is not None:
                exec(compile(test, "<test>", "exec"), names)
                os.write(says, f"{asked['token']} {number}\n".encode())


def keep_answer(line: "Line") -> None:
    """The side of the answer: do what is asked until there is nobody to ask. All of it is public."""
    names: Names = {"__name__": "answer", "__builtins__": builtins}
    more: Names = dict(names)
    sys.stdout = line.printed
    line.keeps, Remote.line = True, line
    line.serves = {
        **ALONE, **{f"__{name}__": getattr(operator, f"__{name}__") for name in BETWEEN}, "call": called, "plain": plain,
        "run": lambda source: exec(compile(source, "<answer>", "exec"), names),
        "add": lambda source: (exec(compile(source, "<setup>", "exec"), more), names.update(more | names))[1],
        "names": lambda wanted: {name: names[name] for name in wanted if name in names},
        "give": lambda name, value: names.update({name: value} | names),
    }  # fmt: skip
    line.listen()


def parsed(source: str) -> ast.Module | None:
    """Its tree, or None if it is no Python."""
    try:
        compile(tree := ast.parse(source), "<tests>", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # ValueError: a zero byte
        return None
    return tree


def named(tree: ast.Module) -> set[str]:
    """Every name in it."""
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def shared(setup: ast.Module) -> tuple[str, ast.Module]:
    """What of a setup the answer has too, its imports and its classes (not those of tests); and the setup without these classes."""
    imports = [node for node in setup.body if isinstance(node, ast.Import | ast.ImportFrom)]
    classes = [node for node in setup.body if isinstance(node, ast.ClassDef) and "assert" not in ast.unparse(node)]
    return ast.unparse(ast.Module([*imports, *classes], [])), ast.Module([node for node in setup.body if node not in classes], [])


def own_names(found: Names) -> Names:
    """The names of the answer that tests may use: nothing that shadows what they trust, unless there is nothing else."""
    modules = {name: value for name, value in found.items() if type(value) is types.ModuleType}
    others = {name: value for name, value in found.items() if name not in modules}
    trusted = {*dir(builtins), *sys.stdlib_module_names}
    return modules | ({name: value for name, value in others.items() if name not in trusted} or others)


def called(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """What it gives."""
    return function(*arguments, **options)


def plain(value: Any) -> tuple[Any, ...]:
    """The value that an object of a class derived from a built-in one holds; empty if there is none."""
    return next(((kind(value),) for kind in VIEWS if isinstance(value, kind)), ())


class Line:
    """One end of the pipe. Who asks waits for the reply, and does meanwhile what the other asks for."""

    def __init__(self, read: int, write: int) -> None:
        self.reader, self.writer = os.fdopen(read, encoding="ascii"), os.fdopen(write, "w", encoding="ascii")
        self.serves: dict[str, Callable[..., Any]] = {}
        self.keeps = False  # whether any object may stay here and be used from there, or only what can be called
        self.objects: list[Any] = []
        self.numbers: dict[int, int] = {}
        self.remotes: dict[int, Remote] = {}
        self.classes: dict[str, type[BaseException]] = {}
        self.printed = io.StringIO()

    def ask(self, what: str, *values: Any, **options: Any) -> Any:
        """Let the other side do it. Raises what it raised. A list, dict, set or bytearray among the values changes as it does there."""
        self.send({"do": what, "values": [self.pack(value) for value in values], "options": self.pack(options)})
        told = self.listen()
        sys.stdout.write(told["printed"])
        for value, now in zip(values, told["now"], strict=False):
            if now is not None:
                restore(value, self.unpack(now))
        if "raised" in told:
            names, arguments = told["raised"]
            raise self.error(names)(*self.unpack(arguments))
        return self.unpack(told["gave"])

    def listen(self) -> dict[str, Any]:
        """The next reply; what is asked before it is done. Ends the process with the other one."""
        while line := self.reader.readline():
            told = json.loads(line)
            if "do" not in told:
                return told
            self.send(self.done(told))
        os._exit(1)

    def done(self, told: dict[str, Any]) -> dict[str, Any]:
        """Do what is asked for; what came of it, and what it made of the arguments."""
        values: list[Any] = []
        before: list[Any] = []
        try:
            if not self.keeps and told["values"][0][0] != "yours":
                raise TypeError("only what was given can be called")
            values, options = [self.unpack(value) for value in told["values"]], self.unpack(told["options"])
            before = [self.pack(value) if type(value) in MUTABLE else None for value in values]
            reply = {"gave": self.pack(self.serves[told["do"]](*values, **options))}
        except BaseException as error:
            reply = {"raised": self.raised(error)}
        now = [self.pack(value) if was is not None else None for value, was in zip(values, before, strict=False)]
        printed = self.printed.getvalue()
        self.printed.seek(0)
        self.printed.truncate()
        return {**reply, "printed": printed, "now": [new if new != was else None for was, new in zip(before, now, strict=True)]}

    def send(self, told: dict[str, Any]) -> None:
        """One line."""
        self.writer.write(json.dumps(told) + "\n")
        self.writer.flush()

    def raised(self, error: BaseException) -> list[Any]:
        """An error as the names of its classes and its arguments, or its text."""
        try:
            arguments = self.pack(list(error.args))
        except Exception:
            arguments = [str(error)]
        return [class_names(type(error)), arguments]

    def error(self, names: list[str]) -> type[BaseException]:
        """The class of an error: a built-in one, or one derived from that for a class of the other side's."""
        base = next(kind for name in names if isinstance(kind := vars(builtins).get(name), type) and issubclass(kind, BaseException))
        return base if names[0] == base.__name__ else self.classes.setdefault(names[0], type(names[0], (base,), {}))

    def pack(self, value: Any) -> Any:
        """As JSON: [kind, ...] for all but the simplest."""
        kind = type(value)
        if value is None or kind in (bool, float, str) or (kind is int and -BIG < value < BIG):
            return value
        if kind is int:
            return ["int", hex(value)]
        if kind is list:
            return ["list", [self.pack(item) for item in value]]
        if kind is Remote:
            return ["yours", value._number]
        if kind is types.ModuleType:
            return ["module", value.__name__]
        if (name := f"{kind.__module__}.{kind.__qualname__}") in PARTS:
            return [name, self.pack(list(PARTS[name](value)))]
        if isinstance(value, type) and vars(builtins).get(value.__name__) is value:
            return ["builtin", value.__name__]
        if isinstance(value, type) and issubclass(value, BaseException):
            return ["error", class_names(value)]
        if not self.keeps and not callable(value):
            raise TypeError(f"a {kind.__name__} of the tests cannot be given to the answer; built-in types and functions can")
        if id(value) not in self.numbers:
            self.numbers[id(value)] = len(self.objects)
            self.objects.append(value)
        return ["mine", self.numbers[id(value)]]

    def unpack(self, told: Any) -> Any:
        """The value; never more than plain types, modules of the standard library, and `Remote`."""
        if not isinstance(told, list):
            return told
        kind, content = told
        if kind == "int":
            return int(content, 16)
        if kind == "list":
            return [self.unpack(item) for item in content]
        if kind == "mine":
            return self.remotes.setdefault(content, Remote(content))
        if kind == "yours":
            return self.objects[content]
        if kind == "module" and content.partition(".")[0] in sys.stdlib_module_names:
            return importlib.import_module(content)
        if kind == "builtin" and isinstance(found := vars(builtins)[content], type):
            return found
        if kind == "error":
            return self.error(content)
        if kind in PARTS:
            module, _, name = kind.partition(".")
            return getattr(importlib.import_module(module), name)(*self.unpack(content))
        raise TypeError(f"{kind} cannot be given")


def restore(value: Any, now: Any) -> None:
    """Give a mutable argument the content that the other side gave it."""
    if type(value) in (list, bytearray):
        value[:] = now
    elif type(value) in (dict, set):
        value.clear()
        value.update(now)


def class_names(kind: type) -> list[str]:
    """Of a class and those it is derived from."""
    return [base.__name__ for base in type.mro(kind)]


class Remote:
    """An object that is on the other side."""

    __slots__ = ("_number",)
    line: Line

    def __init__(self, number: int) -> None:
        object.__setattr__(self, "_number", number)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Call it there."""
        return self.line.ask("call", self, *arguments, **options)

    def __exit__(self, kind: Any, error: object, trace: object) -> Any:
        """The end of a `with`; the error itself stays here, its class goes there. A failed test cannot be swallowed."""
        return bool(self.line.ask("__exit__", self, kind, None, None)) and kind is not AssertionError


def _alone(name: str) -> Callable[..., Any]:
    return lambda self, *arguments: self.line.ask(name, self, *arguments)


def _between(name: str, operation: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    """Both there: by their own methods. Else here, with the plain value; an object without one is unlike every other."""

    def meet(self: Remote, other: Any) -> Any:
        if type(other) is Remote:
            return self.line.ask(name, self, other)
        return operation(*self.line.ask("plain", self) or (object(),), other)

    return meet


def _reflected(operation: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    return lambda self, other: operation(other, *self.line.ask("plain", self) or (object(),))


for _name in ALONE.keys() - vars(Remote).keys():
    setattr(Remote, _name, _alone(_name))
for _name in BETWEEN:
    _operation = getattr(operator, f"__{_name}__")
    setattr(Remote, f"__{_name}__", _between(f"__{_name}__", _operation))
    setattr(Remote, f"__r{_name}__", _reflected(_operation))


if __name__ == "__main__":
    main()
