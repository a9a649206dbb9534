"""python scripts/objectives.py: write docs/objectives.md, the table of all losses, from the code and its tests."""

import inspect
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "docs" / "objectives.md"
HEAD = """# Objectives

What `prefer objective=...` and `reinforce objective=...` may be, and what the other stages train with. Made by `scripts/objectives.py`.

Every loss says what it needs, never divides (its reduction does, once for the whole step), and is in the battery of `tests/learn`: start at
the closed form, padding, packing, micro-batches, masks, overfitting, central differences, bit-exact resume, refusals. "Needs" are the
columns that its default configuration reads, those that options add in brackets, and what the trainer or the model has to have besides.
"Cases" are its variants in the battery. "Arrives" are the closed forms to which it is trained (`tests/learn/test_bandit*.py`), or why
there is none. The tables are read off the parametrisation of the tests: what is not run over is not in them.

| kind | what it is | source | file | reduction | needs | cases | arrives |
|---|---|---|---|---|---|---|---|
"""
TESTS = """
## Tests

Beside the battery ({battery} tests a case) every test that runs over losses, and over which of each kind. `make check` is green when all of
them pass.

| kind | test | of it |
|---|---|---|
"""
METHODS = """
## Methods of `reinforce`

`trivium reinforce method=NAME ...` stands for these options (`trivium/stages/methods.toml`); one's own go over them.

| method | what it is | options |
|---|---|---|
"""


def main() -> None:
    """Write the file."""
    FILE.write_text(table(), encoding="utf-8")


def table() -> str:
    """The page."""
    from tests.learn import test_objective_battery
    from tests.learn.closed_forms import WITHOUT
    from tests.learn.objective_cases import CASES
    from trivium.learn.objectives import Objective

    losses = {loss().kind: loss for loss in get_args(Objective)}
    tests = {kind: list[tuple[str, str, str]]() for kind in losses}
    for file, test, name, kind in _parametrised():
        tests[kind].append((file, test, name))
    rows = []
    for kind, loss in sorted(losses.items()):
        cases = {name: case for name, case in CASES.items() if case.objective.kind == kind}
        arrives = "; ".join(name for file, _, name in tests[kind] if file.startswith("test_bandit")) or WITHOUT[kind]
        rows.append([*_described(loss, loss()), _needs(loss(), list(cases.values())), "; ".join(cases), arrives])
    battery = sum("case" in inspect.signature(test).parameters for name, test in _tests(test_objective_battery))
    return HEAD + _lines(rows) + TESTS.format(battery=battery) + _lines(_by_test(tests)) + METHODS + _lines(_methods())


def _parametrised() -> Iterator[tuple[str, str, str, str]]:
    """File, test, id and kind of every loss that a test of tests/learn is parametrised by."""
    for path in sorted((ROOT / "tests/learn").glob("test_*.py")):
        for test, function in _tests(import_module(f"tests.learn.{path.stem}")):
            for mark in (mark for mark in getattr(function, "pytestmark", []) if mark.name == "parametrize"):
                values, ids = list(mark.args[1]), mark.kwargs.get("ids")
                names = map(ids, values) if callable(ids) else ids or [""] * len(values)
                for value, name in zip(values, names, strict=True):
                    yield from ((path.name, test, name or kind, kind) for kind in _kinds(value))


def _tests(module: ModuleType) -> list[tuple[str, Any]]:
    return [(name, test) for name, test in inspect.getmembers(module, inspect.isfunction) if name.startswith("test_")]


def _kinds(value: Any) -> Iterator[str]:
    """The kinds of the losses in what a test gets."""
    from trivium.learn.objectives import Objective

    if isinstance(value, get_args(Objective)):
        yield value.kind
    elif isinstance(value, tuple):
        yield from (kind for each in value for kind in _kinds(each))


def _by_test(tests: Mapping[str, Sequence[tuple[str, str, str]]]) -> Iterator[list[str]]:
    for kind, found in sorted(tests.items()):
        for file, test in dict.fromkeys((file, test) for file, test, _ in found):
            names = Counter(name for there, other, name in found if (there, other) == (file, test))
            listed = "; ".join(name if count == 1 else f"{name} x {count}" for name, count in names.items())
            yield [f"`{kind}`", f"`{file}::{test}`", listed]


def _needs(loss: Any, cases: Sequence[Any]) -> str:
    """Columns that a loss reads by default and by options, and what else the battery gives to all of its cases."""
    more = dict.fromkeys(column for case in cases for column in case.objective.needs if column not in loss.needs)
    besides = ["a scalar head"] if cases[0].has_scalar else []
    if cases[0].has_reference:
        besides.append(f"the {'reference' if 'ref_logprobs' in loss.needs else 'teacher'} itself, in every step")
    return ", ".join([*loss.needs, *([f"[{', '.join(more)}]"] if more else []), *besides])


def _methods() -> list[list[str]]:
    """Name, what it is, and options of each named method, in the order of the file."""
    from trivium.stages.methods import methods

    text = (ROOT / "trivium/stages/methods.toml").read_text(encoding="utf-8")
    about = {name.strip('"'): said for name, said in re.findall(r"^\[(\S+)\] # (.+)$", text, re.MULTILINE)}
    linked = {name: re.sub(r"arXiv:(\d{4}\.\d{5})", r"[\1](https://arxiv.org/abs/\1)", said) for name, said in about.items()}
    return [[f"`{name}`", linked[name], ", ".join(f"`{each}`" for each in _flat(options))] for name, options in methods().items()]


def _flat(options: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """`objective=cispo`, `objective.kl=k3` ..."""
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from [f"{prefix}{name}={value['kind']}"] if "kind" in value else []
            yield from _flat({key: option for key, option in value.items() if key != "kind"}, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}={str(value).lower() if isinstance(value, bool) else value}"


def _lines(rows: Iterable[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _described(loss: Any, example: Any) -> list[str]:
    path = Path(inspect.getfile(loss)).relative_to(ROOT)
    first = (inspect.getmodule(loss).__doc__ or "").splitlines()[0]
    title, _, about = first.partition(": ")
    papers = dict.fromkeys(re.findall(r"arXiv:(\d{4}\.\d{5})", inspect.getdoc(loss) or ""))
    source = ", ".join(f"[{paper}](https://arxiv.org/abs/{paper})" for paper in papers)
    return [f"`{example.kind}`", f"**{title}**: {about}", source, f"`{path.as_posix()}`", example.reduction]


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
