"""Environments for peers: a virtual environment each, with pinned versions from the package index, made once and kept in the cache."""

import hashlib
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from trivium.core.errors import ResourceError
from trivium.core.world import cache_folder

_INSTALLED = "installed.txt"  # written last: an environment without it was interrupted and is made again
_TIMEOUT_S = 3600  # llama.cpp is compiled


@dataclass(frozen=True, slots=True)
class Environment:
    """A name and what is installed under it, as pip writes it (`package==version`)."""

    name: str
    requirements: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Where it lies; other requirements or another Python give another folder."""
        wanted = "\n".join((platform.python_version(), *self.requirements))
        return cache_folder() / "benchmarks" / f"{self.name}-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"

    @property
    def exists(self) -> bool:
        """Whether it was made completely."""
        return (self.folder / _INSTALLED).is_file()

    def python(self) -> Path:
        """Its interpreter; makes the environment first if it is not there. Raises ResourceError: no venv, no network, no such version."""
        if not self.exists:
            print(f"making the environment of {self.name} ({', '.join(self.requirements)}); once, it takes minutes", flush=True)
            shutil.rmtree(self.folder, ignore_errors=True)
            self._run(sys.executable, "-m", "venv", str(self.folder))
            self._run(str(self._interpreter), "-m", "pip", "install", "--quiet", "--no-input", *self.requirements)
            listing = self._run(str(self._interpreter), "-m", "pip", "freeze")
            (self.folder / _INSTALLED).write_text(listing)
        return self._interpreter

    @property
    def _interpreter(self) -> Path:
        return self.folder / "bin" / "python"

    def _run(self, *command: str) -> str:
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired:
            raise ResourceError(f"the environment of {self.name} was not ready within {_TIMEOUT_S} s; try again, or leave it out") from None
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if "ERROR" in line] or done.stderr.splitlines() or ["no reason given"]
            raise ResourceError(
                f"the environment of {self.name} cannot be made ({lines[-1].strip()[:200]}); connect to the network, or leave it out"
            )
        return done.stdout


_TORCH = f"torch=={metadata.version('torch').split('+')[0]}"  # the same on both sides, so that only the code on top differs

TRANSFORMERS = Environment("transformers", (_TORCH, "numpy", "transformers==5.23.0", "accelerate==1.15.0", "gguf==0.19.0"))
TRL = Environment("trl", (_TORCH, "numpy", "trl==1.16.0", "transformers==5.23.0", "accelerate==1.15.0", "peft==0.21.2", "datasets==5.2.0"))
LITGPT = Environment("litgpt", (_TORCH, "numpy", "litgpt==0.5.13"))
LLAMA_CPP = Environment("llama-cpp", ("llama-cpp-python==0.3.36",))  # compiled on this machine, for this machine
DATATROVE = Environment("datatrove", ("datatrove==0.10.1", "spacy==3.8.18", "regex", "tokenizers", "xxhash<4"))  # spaCy cuts its words
DATASKETCH = Environment("datasketch", ("datasketch==2.0.0", "numpy"))
LM_EVAL = Environment(
    "lm-eval", (_TORCH, "numpy", "lm-eval==0.4.13", "transformers==5.23.0", "accelerate==1.15.0", "datasets==5.2.0", "peft==0.21.2")
)
RENSA = Environment("rensa", ("rensa==0.5.0",))
