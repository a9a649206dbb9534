"""python scripts/objectives.py: write docs/objectives.md, the table of all losses, from the code and its tests."""

import inspect
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "docs" / "objectives.md"
HEAD = """# Objectives

What `prefer objective=...` and `reinforce objective=...` may be, and what the other stages train with. Made by `scripts/objectives.py`.

Every loss says what it needs, never divides (its reduction does, once for the whole step), and is in the battery of `tests/learn`: start at
the closed form, padding, packing, micro-batches, masks, overfitting, central differences, bit-exact resume, refusals. "Cases" are
its variants there; "arrives" are the tests in which it is trained to a closed-form optimum (`tests/learn/test_bandit*.py`).

| kind | what it is | source | file | reduction | needs | cases | arrives |
|---|---|---|---|---|---|---|---|
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
    from tests.learn.objective_cases import CASES
    from trivium.learn.objectives import Objective

    bandit = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests/learn").glob("test_bandit*.py"))
    rows = []
    for loss in get_args(Objective):
        cases = [name for name, case in CASES.items() if type(case.objective) is loss]
        rows.append(
            [*_described(loss, CASES[cases[0]].objective), ", ".join(cases), "yes" if re.search(rf"\b{loss.__name__}\(", bandit) else ""]
        )
    return HEAD + _lines(sorted(rows)) + METHODS + _lines(_methods())


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


def _lines(rows: Sequence[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _described(loss: Any, example: Any) -> list[str]:
    path = Path(inspect.getfile(loss)).relative_to(ROOT)
    first = (inspect.getmodule(loss).__doc__ or "").splitlines()[0]
    title, _, about = first.partition(": ")
    papers = dict.fromkeys(re.findall(r"arXiv:(\d{4}\.\d{5})", inspect.getdoc(loss) or ""))
    source = ", ".join(f"[{paper}](https://arxiv.org/abs/{paper})" for paper in papers)
    needs = ", ".join(example.needs)
    return [f"`{example.kind}`", f"**{title}**: {about}", source, f"`{path.as_posix()}`", example.reduction, needs]


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
