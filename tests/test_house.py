"""The rules of the house that a machine can check; why they are rules is in CONTRIBUTING.md."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "trivium"
SOURCES = sorted(path for folder in ("trivium", "tests", "benchmarks", "scripts") for path in (ROOT / folder).rglob("*.py"))
OURS = [path for path in SOURCES if PACKAGE in path.parents]
MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_OPTIONS = 400, 60, 517
RUN_GIVEN_CODE = {"trivium/score/code_program.py", "trivium/score/plugin_process.py"}  # in processes of their own; it is their work
REASON = "longer than 400 lines because"
# "Machine": a folder that exists only where the author works. Put together here, or this file would find itself.
MACHINE_PATHS = re.compile("|".join(["/" + r"work/", "/" + r"home/\w", "/" + r"root/", "/" + r"Users/\w", "/" + r"tmp/\w"]))
PRIVATE_HOSTS = re.compile(
    r"https?://[^\s/\"')]*(?:artifact|nexus|devpi|mirror|internal|\.local\b|localhost:\d+/simple|\d+\.\d+\.\d+\.\d+)[^\s\"')]*"
)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def ids(paths: list[Path]) -> dict[str, object]:
    return {"argvalues": paths, "ids": [name(path) for path in paths]}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def nodes(path: Path, *kinds: type[ast.AST]) -> Iterator[ast.AST]:
    return (node for node in ast.walk(tree(path)) if isinstance(node, kinds))


def imported(path: Path) -> set[str]:
    names = {alias.name for node in nodes(path, ast.Import) for alias in node.names}
    return names | {node.module or "" for node in nodes(path, ast.ImportFrom)}


def is_component(node: ast.ClassDef) -> bool:
    return any(ast.unparse(decorator).split("(")[0].split(".")[-1] == "component" for decorator in node.decorator_list)


def options() -> list[tuple[str, str]]:
    """(class, field) of every option of every component; `kind` says which one it is and is no option."""
    found = []
    for path in OURS:
        for node in nodes(path, ast.ClassDef):
            if is_component(node):
                fields = (item for item in node.body if isinstance(item, ast.AnnAssign) and "ClassVar" not in ast.unparse(item.annotation))
                found += [(f"{name(path)}: {node.name}", field.target.id) for field in fields if field.target.id != "kind"]
    return found


def published_files() -> list[Path]:
    """What git tracks or would track; every source file where there is no git."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    names = listing.stdout.split("\0") if listing.returncode == 0 else [name(path) for path in SOURCES]
    return [ROOT / entry for entry in names if entry and (ROOT / entry).is_file()]


@pytest.mark.parametrize("path", **ids(SOURCES))
def test_a_file_is_short_or_says_why_not(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= MAX_FILE_LINES or any(REASON in line for line in lines[:10]), f"{len(lines)} lines"


@pytest.mark.parametrize("path", **ids(SOURCES))
def test_a_function_is_short(path):
    for node in nodes(path, ast.FunctionDef, ast.AsyncFunctionDef):
        assert node.end_lineno - node.lineno < MAX_FUNCTION_LINES, f"line {node.lineno}: {node.name}"


@pytest.mark.parametrize("path", **ids(SOURCES))
def test_a_file_is_named_after_its_idea(path):
    assert path.stem not in {"utils", "util", "helpers", "helper", "common", "misc"}


@pytest.mark.parametrize("path", **ids(SOURCES))
def test_nothing_is_pickled(path):
    assert not {module.split(".")[0] for module in imported(path)} & {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve"}


@pytest.mark.parametrize("path", **ids(OURS))
def test_nothing_is_printed_or_evaluated(path):
    if name(path) in RUN_GIVEN_CODE:
        return
    calls = {node.func.id for node in nodes(path, ast.Call) if isinstance(node.func, ast.Name)}
    assert not calls & {"print", "eval", "exec"}


@pytest.mark.parametrize("path", **ids(OURS))
def test_only_core_world_reads_the_environment(path):
    if name(path) == "trivium/core/world.py":
        return
    read = {node.attr for node in nodes(path, ast.Attribute) if isinstance(node.value, ast.Name) and node.value.id == "os"}
    assert not read & {"environ", "environb", "getenv", "putenv"}
    assert not {alias.name for node in nodes(path, ast.ImportFrom) if node.module == "os" for alias in node.names} & {"environ", "getenv"}


@pytest.mark.parametrize("path", **ids(SOURCES))
def test_every_except_names_its_error(path):
    assert not [node.lineno for node in nodes(path, ast.ExceptHandler) if node.type is None]


@pytest.mark.parametrize("path", **ids(SOURCES))
def test_no_comment_promises_work(path):
    found = re.findall(r"#.*\b(?:TODO|FIXME|XXX|HACK)\b.*", path.read_text(encoding="utf-8"))
    assert not [comment for comment in found if path != Path(__file__)]


@pytest.mark.parametrize("path", **ids([path for path in OURS if path.name == "__init__.py"]))
def test_an_init_holds_only_names(path):
    """A docstring, imports, `__all__`, unions of what is imported, and `__getattr__` where a name is loaded lazily."""
    for node in tree(path).body:
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_name = isinstance(node, ast.Assign) and isinstance(
            node.value, (ast.List, ast.Tuple, ast.Dict, ast.BinOp, ast.Subscript, ast.Constant)
        )
        is_lazy = isinstance(node, ast.FunctionDef) and node.name in {"__getattr__", "__dir__"}
        assert is_docstring or is_name or is_lazy or isinstance(node, (ast.Import, ast.ImportFrom)), f"line {node.lineno}"


def test_no_file_names_the_machine_it_was_written_on():
    for path in published_files():
        if path.suffix in {".png", ".safetensors", ".parquet", ".gz", ".zst", ".bin", ".idx"}:
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        found = MACHINE_PATHS.search(text) or PRIVATE_HOSTS.search(text)
        assert not found, f"{name(path)}: {found[0]}"


@pytest.mark.parametrize("folder", ["core", "text", "report", "plan", "stages", "cli"])
def test_it_is_imported_without_loading_torch(folder):
    """`stages` and `cli` defer torch: it is loaded when a stage computes, after options and data were checked."""
    computing = PACKAGE / "stages/computing"  # imported only while a stage runs
    paths = [path for path in OURS if path.is_relative_to(PACKAGE / folder) and not path.is_relative_to(computing)]
    modules = [name(path)[:-3].replace("/", ".").removesuffix(".__init__") for path in paths]
    modules += ["trivium.cli"] * (folder == "cli" and (PACKAGE / "cli.py").exists())
    deferred = folder in ("stages", "cli")
    lines = [
        "import sys, types",
        f"if {deferred}: from trivium.core.world import defer; defer('torch')",
        *(f"import {module}" for module in modules),
        "loaded = sys.modules.get('torch')",
        "assert loaded is None or type(loaded) is not types.ModuleType, 'torch was loaded'",
    ]
    ended = subprocess.run([sys.executable, "-c", "\n".join(lines)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]


def test_there_are_few_options():
    """The shape of a model is no option: presets and config.json hold it. Nor are the numbers in the formula of a loss or a credit rule, or
    what a constitution or the file of a task says.
    """
    others = ("nn/config.py", "learn/objectives/", "learn/credit/", "synth/constitution.py", "evals/scoring.py", "evals/task.py")
    counted = [option for option in options() if not option[0].removeprefix("trivium/").startswith(others)]
    assert len(counted) <= MAX_OPTIONS, len(counted)


def test_every_option_is_read_somewhere():
    read = {node.attr for path in OURS for node in nodes(path, ast.Attribute) if isinstance(node.ctx, ast.Load)}
    assert not [f"{owner}.{option}" for owner, option in options() if option not in read]
