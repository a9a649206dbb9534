"""The machine and the launcher: rank, threads, processor, and the one place that reads or writes environment variables."""

import ctypes
import importlib
import os
import platform
import signal
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_RANKS, _LAUNCHER = "TRIVIUM_RANKS", "TRIVIUM_LAUNCHER"
_PR_SET_PDEATHSIG = 1  # of prctl.h
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # of malloc.h


@dataclass(frozen=True, slots=True)
class World:
    """Who we are among the processes of this run; one process is a world of size 1."""

    rank: int
    size: int
    local_rank: int
    local_size: int = 1  # of them on this host

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes and speaks."""
        return self.rank == 0


def world() -> World:
    """Read rank and size from the launcher's variables: ours, or torchrun's."""
    names = {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 1}
    return World(*(int(os.environ.get(name, default)) for name, default in names.items()))


def rank_environment(rank: int, size: int, *, port: int, folder: Path) -> dict[str, str]:
    """What a rank of our launcher is started with, all of them on this host: the variables of torchrun, and where it says how it is."""
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_PORT": port}
    told = {"MASTER_ADDR": "127.0.0.1", _RANKS: str(folder), _LAUNCHER: str(os.getpid())}
    return {**os.environ, **{name: str(value) for name, value in names.items()}, **told}


def ranks_folder() -> Path | None:
    """Where this process says how it is, if our launcher watches it (core/heartbeat.py)."""
    return Path(os.environ[_RANKS]) if _RANKS in os.environ else None


def end_with_parent() -> None:
    """Let the system kill this process when the one that started it ends, however that was; on Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if _LAUNCHER in os.environ and not Path(f"/proc/{os.environ[_LAUNCHER]}").exists():  # it ended before we could ask for that
            signal.raise_signal(signal.SIGKILL)


def prepare_environment() -> None:
    """Set what must be set before torch is imported, unless the user set it.

    OMP_WAIT_POLICY=PASSIVE is worth 3-7x on busy two-core machines: spinning threads steal the core that others need.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")


def keep_memory() -> None:
    """Let the C library keep what is freed for what is asked for next, instead of giving it back to the system.

    Training frees and takes the same large tensors in every step; getting their pages anew was a tenth of a step (LOG.md). The process
    then stays as large as it was at its largest. Nothing happens where the C library has no `mallopt`.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for option, value in ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1), (_M_TOP_PAD, 256 << 20)):
            mallopt(option, value)


def environment_value(name: str) -> str | None:
    """A variable that the user named in an option, such as the one that holds a key."""
    return os.environ.get(name)


# loaded only when a run gets to them: together they take most of the time that a command needs to start
HEAVY = ("torch", "pyarrow", "pyarrow.parquet", "yaml")


class _Deferred(types.ModuleType):
    """Stands for a module until something in it is used. importlib's LazyLoader does not do: a second `import` statement loads it."""

    def __getattr__(self, name: str) -> Any:
        below = sys.modules.get(f"{self.__name__}.{name}")
        if isinstance(below, _Deferred):  # `import a.b as c` asks a for b
            return below
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        real = importlib.import_module(self.__name__)
        self.__dict__.update(real.__dict__)
        return getattr(real, name)


def defer(*modules: str) -> None:
    """Make `import module` cheap: it is loaded when something in it is first used.

    The command line defers torch, so that configuration and data are checked, and mistakes reported, before its two seconds are spent.
    """
    for module in modules:
        sys.modules.setdefault(module, _Deferred(module))


def load(module: str) -> None:
    """Load now what was deferred: a module below it that is asked for first would be loaded twice, by itself and by what it is below."""
    if isinstance(deferred := sys.modules.get(module), _Deferred):
        _ = deferred.__path__


def num_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def busy_seconds() -> tuple[float, float]:
    """(seconds that all cores have worked, or were taken by a host, since the machine started; those of this process and its children).

    Zeros where the system does not tell.
    """
    stat, own = Path("/proc/stat"), os.times()
    if not stat.exists():
        return 0.0, 0.0
    user, nice, system, _, _, *rest = map(int, stat.read_text().split("\n", 1)[0].split()[1:9])
    ticks = user + nice + system + sum(rest)
    return ticks / os.sysconf("SC_CLK_TCK"), own.user + own.system + own.children_user + own.children_system


def memory_bytes() -> int:
    """Physical memory of the machine, in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def cpu_flags() -> set[str]:
    """The processor's feature flags as Linux names them; empty elsewhere."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return set()
    for line in info.read_text().splitlines():
        if line.startswith(("flags", "Features")):
            return set(line.split(":", 1)[1].split())
    return set()


def cache_folder() -> Path:
    """Where fetched assets are kept: $TRIVIUM_CACHE, or trivium below the user's cache folder."""
    if "TRIVIUM_CACHE" in os.environ:
        return Path(os.environ["TRIVIUM_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "trivium"


def machine() -> dict[str, str | int]:
    """What a reader needs to judge a timing: processor, cores, memory, Python."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0] if names else model
    return {
        "processor": model,
        "cores": num_cores(),
        "memory_gib": round(memory_bytes() / 2**30),
        "system": platform.system(),
        "python": platform.python_version(),
    }
