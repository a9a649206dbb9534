"""A process that dies at a call of a function: what sitecustomize.py of scripts/kill_rank.py plants, before anything is imported.

It uses the standard library alone, so it loads nothing of ours before its time.
"""

import importlib.abc
import importlib.util
import os
import signal
import sys
import time
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any


def plant(told: Path, module: str, name: str, call: int = 1, is_after: bool = False) -> None:
    """Let this process die of SIGKILL at call number `call` of a function: before it begins, or when it is done.

    module, name: where it is looked up, `Class.method` for a method. told: gets the time of the death; if it is there, nobody dies.
    """
    if not told.exists():
        sys.meta_path.insert(0, _Finder(module, lambda found: _change(found, name, call, is_after, told)))


class _Finder(importlib.abc.MetaPathFinder):
    """Changes a module when it has been loaded."""

    def __init__(self, module: str, change: Callable[[ModuleType], None]) -> None:
        self.module, self.change = module, change

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:  # noqa: ARG002
        if name != self.module:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        load = spec.loader.exec_module

        def load_and_change(module: ModuleType) -> None:
            load(module)
            self.change(module)

        spec.loader.exec_module = load_and_change  # type: ignore[method-assign]
        return spec


def _change(module: ModuleType, name: str, call: int, is_after: bool, told: Path) -> None:
    *above, last = name.split(".")
    owner: Any = module
    for each in above:
        owner = vars(owner)[each]
    real, calls = vars(owner)[last], count(1)

    def dying(*words: Any, **more: Any) -> Any:
        is_now = next(calls) == call
        if is_now and not is_after:
            _die(told)
        found = real(*words, **more)
        if is_now:
            _die(told)
        return found

    setattr(owner, last, dying)


def _die(told: Path) -> None:
    told.write_text(str(time.time()))
    os.kill(os.getpid(), signal.SIGKILL)
