"""What a training step of ours spends its time on: the most expensive operations by torch's profiler. The peers are not looked at."""

from typing import Any

from torch.profiler import ProfilerActivity, profile

from benchmarks.ours.pretrain import train

WARM_UP, STEPS, ROWS = 3, 5, 20  # updates before, updates looked at, operations listed


class _Enough(Exception):
    """No more updates are wanted."""


class _Watch:
    """Stands where a contestant's talk stands: updates go on until they were looked at."""

    def __init__(self, device: str) -> None:
        self.facts: dict[str, Any] = {}
        self.profile = profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])])
        self._ticks = 0

    def tick(self) -> dict[str, Any]:
        """The beginning of an update."""
        if self._ticks == WARM_UP:
            self.profile.start()
        if self._ticks == WARM_UP + STEPS:
            self.profile.stop()
            raise _Enough
        self._ticks += 1
        return {}


def table(options: dict[str, Any]) -> str:
    """Operations by their own time on the device, of a few updates with these options of a contestant; in this process."""
    watch = _Watch(options["device"])
    try:
        train(options, watch)
    except _Enough:
        order = "self_cuda_time_total" if options["device"] == "cuda" else "self_cpu_time_total"
        return watch.profile.key_averages().table(sort_by=order, row_limit=ROWS, max_name_column_width=60)
    raise RuntimeError("training goes on until the watch ends it")
