"""The lines that start a training run on a cluster: torchrun, and Slurm around it."""

import shlex
from collections.abc import Sequence

from trivium.plan.devices import Cluster
from trivium.plan.memory import Layout

RECOMPUTE = {"none": "nothing", "selective": "cheap", "full": "all"}  # the plan's words and those of the option
PORT = 29500


def options_of(layout: Layout) -> list[str]:
    """What a recipe is told for a layout; what is the default is left out."""
    found = {
        "shard": layout.shard if layout.replicate > 1 else None, "tensor": layout.tensor if layout.tensor > 1 else None,
        "context": layout.context if layout.context > 1 else None,
        "recompute": RECOMPUTE[layout.recompute] if layout.recompute != "none" else None,
    }  # fmt: skip
    return [f"parallel.{name}={value}" for name, value in found.items() if value is not None]


def launch_lines(words: Sequence[str], cluster: Cluster) -> list[str]:
    """words: of the command after `trivium`. Slurm starts again what it preempted, and warns two minutes before a job's time is up.

    By SIGTERM: torchrun hands that on to its ranks, and would end by SIGUSR1 itself. What was warned saves and ends, and is to be sent
    again: torchrun's code is that of any failure.
    """
    command = shlex.join(words)
    if cluster.gpus == 1:
        return [f"trivium {command}"]
    if cluster.nodes == 1:
        whole = f"torchrun --standalone --nproc-per-node {cluster.gpus} -m trivium.cli {command}"
        return [whole, _sbatch(cluster, whole)]
    shared = f"torchrun --nnodes {cluster.nodes} --nproc-per-node {cluster.per_node} --rdzv-backend c10d"
    by_hand = f"{shared} --rdzv-id run --rdzv-endpoint FIRST_HOST:{PORT} -m trivium.cli {command}"
    first = "$(scontrol show hostnames $SLURM_JOB_NODELIST | head -n 1)"
    by_slurm = f"{shared} --rdzv-id $SLURM_JOB_ID --rdzv-endpoint {first}:{PORT} -m trivium.cli {command}"
    return [f"{by_hand}   # on every host", _sbatch(cluster, by_slurm)]


def _sbatch(cluster: Cluster, command: str) -> str:
    return (
        f"sbatch --nodes {cluster.nodes} --ntasks-per-node 1 --gpus-per-node {cluster.per_node} --exclusive --signal TERM@120 --requeue"
        f" --wrap {shlex.quote(f'srun {command}')}"
    )
