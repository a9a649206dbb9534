"""Text that is always there: documentation strings of Python and of installed packages, read from source files without importing them."""

import ast
import importlib.util
import pydoc_data.topics
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path

from trivium.core.types import Document

PACKAGES = ("numpy", "torch", "transformers", "sympy", "networkx", "pyarrow", "pydantic")
_MIN_CHARACTERS = 200  # below it, a docstring is a line like "Return the name."
_MAX_SOURCE_BYTES = 4 << 20


def documents() -> Iterator[Document]:
    """Python's help topics, then docstrings of at least 200 characters of the standard library and of `PACKAGES` that are installed."""
    for topic, text in sorted(pydoc_data.topics.topics.items()):
        yield Document(text.strip(), f"topic {topic}", "python")
    yield from _of_folder("python", Path(sysconfig.get_path("stdlib")))
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)  # finds a top-level package without running it
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            yield from _of_folder(package, Path(folder))


def of_source(source: str) -> Iterator[tuple[str, str]]:
    """(dotted name, docstring) of the module, its classes and functions; a source that does not parse has none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's files
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return
    yield from _of_node(tree, "")


def _of_folder(package: str, folder: Path) -> Iterator[Document]:
    for file in sorted(folder.rglob("*.py")):
        parts = file.relative_to(folder).parts
        if "site-packages" in parts or "test" in parts or "tests" in parts or file.stat().st_size > _MAX_SOURCE_BYTES:
            continue
        name = ".".join((*parts[:-1], file.stem))
        source = file.read_bytes().decode(errors="replace")
        for place, text in of_source(source):
            if len(text) >= _MIN_CHARACTERS and "\ufffd" not in text:
                yield Document(text, f"{package} {name} {place}".rstrip(), package)


def _of_node(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> Iterator[tuple[str, str]]:
    text = ast.get_docstring(node)
    if text and not any("\ud800" <= letter <= "\udfff" for letter in text):
        yield name, text
    for child in node.body:
        if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from _of_node(child, f"{name}.{child.name}".lstrip("."))
