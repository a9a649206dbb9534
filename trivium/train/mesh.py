"""How the work of a training run is spread over its processes: what a recipe says under `parallel`, and the numbers that follow.

Left out: pipeline and expert parallelism, which this project hands to other engines (docs/parallelism.md). Nothing here loads torch.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from trivium.core.config import component
from trivium.core.errors import ConfigError


@component
class Parallel:
    """What the ranks share; with one process only `recompute` does anything. All of it may change when a run goes on.

    shard: ranks that read different data and share one copy of the weights (FSDP); 0: all there are. Fewer give several copies (HSDP):
    the ranks of one host, if the model fits there. tensor: ranks that share every layer, which must be on one host. context: ranks that
    share every row, for rows too long for one. recompute: what the backward pass computes again instead of keeping it, block by block.
    """

    shard: int = Field(default=0, ge=0, le=65536)
    tensor: int = Field(default=1, ge=1, le=1024)
    context: int = Field(default=1, ge=1, le=1024)
    recompute: Literal["nothing", "cheap", "all"] = "nothing"

    def sizes(self, ranks: int) -> "Sizes":
        """The sizes for so many ranks. Raises ConfigError if they are not a product of them."""
        apart = self.tensor * self.context
        shard = self.shard or max(1, ranks // apart)
        if ranks % (shard * apart):
            words = f"shard={self.shard or 'all'} x context={self.context} x tensor={self.tensor}"
            divide = f"{shard * apart:,}" if self.shard else f"{apart:,}"
            raise ConfigError(f"parallel: {ranks:,} ranks cannot be cut into {words}; {divide} must divide their number")
        return Sizes(ranks // (shard * apart), shard, self.context, self.tensor)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Neighbouring ranks share layers (tensor), then rows (context), then weights (shard); replicate copies of all that."""

    replicate: int = 1
    shard: int = 1
    context: int = 1
    tensor: int = 1

    @property
    def data(self) -> int:
        """Groups of ranks that read different data."""
        return self.replicate * self.shard

    def data_rank(self, rank: int) -> int:
        """Which of them a rank belongs to."""
        return rank // (self.context * self.tensor)

    def check_exact(self) -> None:
        """Raise ConfigError if ranks share rows or layers: with machine.exact each group is computed whole on one rank."""
        for name, ranks in (("tensor", self.tensor), ("context", self.context)):
            if ranks > 1:
                raise ConfigError(f"parallel.{name} is {ranks}, but machine.exact computes each group whole on one rank; set it to 1")


class _Process:
    """One process belongs to one arrangement, as it does to one process group."""

    parallel = Parallel()


@contextmanager
def arranged(parallel: Parallel) -> Iterator[None]:
    """While entered, this process and its peers share the work as `parallel` says."""
    before, _Process.parallel = _Process.parallel, parallel
    try:
        yield
    finally:
        _Process.parallel = before


def arrangement() -> Parallel:
    """How this process and its peers share the work."""
    return _Process.parallel
