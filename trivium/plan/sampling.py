"""How fast a GPU samples, and how long new weights take to reach it.

A rough curve: reading the weights and the keys and values of all rows at 0.6 of the memory's bandwidth, or the products at 0.5 of the
data sheet; ratios of its times mean more than its seconds.
"""

from dataclasses import dataclass

from trivium.plan.devices import Device
from trivium.plan.shape import Shape

BANDWIDTH_SHARE, PEAK_SHARE = 0.6, 0.5
SYNC_BYTES_PER_S = {"broadcast": 4e9, "packed": 20e9}  # verl's table: 2.6 to 5.0 from rank 0; packed within a node
LAYER_S = 3e-5  # assumed: of a layer and token, the least that starting its kernels takes
CACHE_SHARE = 0.9  # of the memory, for weights, keys and values


@dataclass(frozen=True, slots=True)
class Replica:
    """A sampler: one model on `gpus` GPUs. read_bytes: of its weights in bf16, the embedding left out. least_s: of a token."""

    read_bytes: float
    kv_bytes: float
    device: Device
    gpus: int = 1
    least_s: float = 0.0

    @staticmethod
    def of(shape: Shape, device: Device) -> "Replica":
        """On as many GPUs as the weights need to leave half of the memory to keys and values."""
        gpus = 1
        while 2 * shape.parameters > 0.5 * gpus * device.memory_bytes and gpus < 64:
            gpus *= 2
        return Replica(
            2.0 * (shape.parameters - shape.vocab_size * shape.hidden_size), shape.kv_bytes, device, gpus, LAYER_S * shape.num_layers
        )

    def slots(self, context: float) -> int:
        """Rows of so many tokens that fit at one time."""
        return max(1, int((CACHE_SHARE * self.gpus * self.device.memory_bytes - self.read_bytes) / (self.kv_bytes * context)))

    def seconds(self, rows: float, context: float) -> float:
        """Of one token for each of `rows`, which have `context` tokens in the mean."""
        reading = (self.read_bytes + rows * context * self.kv_bytes) / (self.gpus * self.device.bandwidth * BANDWIDTH_SHARE)
        return max(self.least_s, reading, self.read_bytes * rows / (self.gpus * self.device.bf16 * PEAK_SHARE))

    def tokens_per_s(self, rows: float, context: float) -> float:
        """Of all rows."""
        return rows / self.seconds(rows, context)


def sync_seconds(shape: Shape, *, is_packed: bool = False) -> float:
    """To send bf16 weights to other GPUs."""
    return 2 * shape.parameters / SYNC_BYTES_PER_S["packed" if is_packed else "broadcast"]


def switch_seconds(shape: Shape) -> float:
    """Assumed, where samplers are put to sleep and woken on the trainer's GPUs: weights sent twice, and two seconds."""
    return 2.0 + 2 * sync_seconds(shape)
