"""CUDA graphs: kernels that were recorded once are started all at once, which counts where starting them takes as long as their work."""

from collections.abc import Callable

import torch
from torch import Tensor

# Estimated, not measured here: on an H100 the some 400 kernels of a compiled step take 2 ms to start, and a micro-batch of 16,384 tokens
# takes as long at half of its peak with 10M parameters in the blocks. Other projects see up to twice the speed below 30M.
SMALL_PARAMETERS = 30_000_000


def why_not_graphs(device: torch.device, parameters: int) -> str | None:
    """Why training of a model with so many parameters in its blocks is not replayed as a CUDA graph; None if it is."""
    if device.type != "cuda":
        return f"there are none on {device.type}"
    if parameters >= SMALL_PARAMETERS:
        return f"{parameters / 1e6:,.0f}M parameters keep the GPU busy; below {SMALL_PARAMETERS / 1e6:,.0f}M it pays"
    return None


class Recorded:
    """Work on memory that stays where it is: done and recorded when it is called first, replayed after that.

    work: reads and writes only tensors that live as long as this, their shapes never change, and doing it twice is doing it once. It
    does not wait for the device. What it returns is overwritten by the next call. Where there are no graphs it is done each time.
    """

    def __init__(self, work: Callable[[], Tensor], device: torch.device, pool: "torch.cuda._POOL_HANDLE | None" = None) -> None:
        self._work, self._device, self._pool = work, device, pool
        self._graph: torch.cuda.CUDAGraph | None = None
        self._out: Tensor | None = None

    def __call__(self) -> Tensor:
        """What work returns."""
        if self._device.type != "cuda":
            return self._work()
        if self._graph is None or self._out is None:
            self._graph, self._out = self._record()
        self._graph.replay()
        return self._out

    def _record(self) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        """Recording runs nothing. Before it the work is done on a stream beside, where libraries make what they make when first used."""
        beside = torch.cuda.Stream(self._device)
        beside.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(beside):
            self._work()
        torch.cuda.current_stream(self._device).wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            out = self._work()
        return graph, out
