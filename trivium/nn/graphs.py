"""CUDA graphs: kernels that were recorded once are started all at once, which counts where starting them takes as long as their work."""

import torch

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
