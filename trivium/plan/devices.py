"""GPUs by name, and a cluster of them: what one is fast at, what it holds, and how fast they talk to each other."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from trivium.core.config import read_toml
from trivium.core.errors import ConfigError, did_you_mean

FILE = Path(__file__).parent / "devices.toml"
GPUS_PER_NODE = 8
# Of what a wire carries, what collectives get: 300 of NVLink's 900 GB/s (both ways), 40 of the 50 GB/s of a 400 Gb/s port
LINK_SHARE, NETWORK_SHARE, PCIE = 1 / 3, 0.8, 20e9
SPEEDS = {"100G": 100e9, "200G": 200e9, "400G": 400e9, "800G": 800e9}  # bits a second for each GPU


@dataclass(frozen=True, slots=True)
class Device:
    """One kind of GPU, as devices.toml has it."""

    name: str
    bf16: float
    fp8: float
    memory_gib: float
    bandwidth: float
    link: float
    price: float

    @property
    def memory_bytes(self) -> float:
        """All of it; a plan leaves some free."""
        return self.memory_gib * 2**30


@dataclass(frozen=True, slots=True)
class Cluster:
    """gpus of one kind in nodes of eight, with a network of so many bits a second for each GPU."""

    device: Device
    gpus: int
    network: float = SPEEDS["400G"]

    def __post_init__(self) -> None:
        if not 1 <= self.gpus <= 1 << 17:
            raise ConfigError(f"--gpus is {self.gpus}; it is a number from 1 to {1 << 17:,}")
        if self.gpus > GPUS_PER_NODE and self.gpus % GPUS_PER_NODE:
            raise ConfigError(f"--gpus is {self.gpus}; from {GPUS_PER_NODE} on whole nodes are planned, of {GPUS_PER_NODE} each")

    @property
    def per_node(self) -> int:
        """GPUs of one node."""
        return min(self.gpus, GPUS_PER_NODE)

    @property
    def nodes(self) -> int:
        """How many."""
        return -(-self.gpus // GPUS_PER_NODE)

    @property
    def link_bytes_per_s(self) -> float:
        """What a collective inside a node gets on each GPU."""
        return self.device.link * LINK_SHARE or PCIE

    @property
    def network_bytes_per_s(self) -> float:
        """What a collective between nodes gets on each GPU."""
        return self.network / 8 * NETWORK_SHARE

    def bytes_per_s(self, ranks: int) -> float:
        """What a collective of so many neighbouring ranks gets on each GPU."""
        return self.link_bytes_per_s if ranks <= self.per_node else min(self.link_bytes_per_s, self.network_bytes_per_s)


@cache
def devices() -> Mapping[str, Device]:
    """Name -> what is known of it, in the order of the file."""
    return {
        name: Device(name, own["bf16"], own["fp8"], own["memory"], own["bandwidth"], own["link"], own["price"])
        for name, own in read_toml(FILE).items()
    }


def device(name: str) -> Device:
    """The device that a user names: h100, `RTX 4090` or rtx-4090. Raises ConfigError with a suggestion."""
    known = {_plain(each): each for each in devices()}
    if _plain(name) not in known:
        raise ConfigError(f"--gpu: no GPU '{name}' is known{did_you_mean(_plain(name), known)}")
    return devices()[known[_plain(name)]]


def device_called(name: str) -> Device | None:
    """The device that calls itself so (`NVIDIA H100 80GB HBM3`); None if it is not in the table."""
    words = f" {name} ".replace("-", " ")
    return next((each for known, each in devices().items() if f" {known} " in words), None)


def network_of(text: str) -> float:
    """Bits a second of `400G`. Raises ConfigError."""
    found = re.fullmatch(r"(\d+)G(?:b/?s)?", text, re.IGNORECASE)
    if not found or not int(found[1]):
        raise ConfigError(f"--net is '{text}'; it is the network's speed for each GPU, such as {', '.join(SPEEDS)} (gigabits a second)")
    return int(found[1]) * 1e9


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower().removeprefix("nvidia").removeprefix("amd"))
