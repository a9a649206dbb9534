"""The processes of a run as one: they meet, hear what rank 0 says, agree on numbers, and put together what each has done.

What is said goes over the CPU (gloo), where whoever waits sleeps. Process groups wait for a day: whether a rank is well is watched from
outside (core/launch.py). Every function but `joined` is a collective, and gives back what it got where there is one process.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist

from trivium.core.errors import RankError
from trivium.core.types import Example
from trivium.core.world import World
from trivium.data.wire import columns_from_bytes, columns_to_bytes, examples_from_bytes, examples_to_bytes
from trivium.train.parallel import data_rank, is_parallel

T = TypeVar("T")
Share = Callable[[Callable[[Sequence[Any], range], list[Any]], Sequence[Any]], list[Any]]  # together, or alone
LONGEST_WAIT = timedelta(days=1)
LOST = ("gloo", "NCCL", "onnection closed by peer", "onnection reset by peer", "Broken pipe")  # torch of a peer that is gone


@contextmanager
def joined(world: World) -> Iterator[None]:
    """While entered, the processes of the world know each other. Raises RankError if a peer is lost."""
    is_cuda = torch.cuda.is_available()
    if is_cuda:
        torch.cuda.set_device(world.local_rank % torch.cuda.device_count())
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if is_cuda else "gloo", timeout=LONGEST_WAIT)
        yield
        dist.destroy_process_group()
    except RuntimeError as error:
        if any(word in str(error) for word in LOST):
            reason = str(error).splitlines()[0][:200]  # which tells a peer that is gone from ranks that do not do the same
            raise RankError(f"a peer process is gone ({reason}); the same command goes on from the last checkpoint") from error
        raise


def heard(value: T) -> T:
    """What rank 0 says, something that JSON holds, on every rank; what the others give does not matter."""
    if not is_parallel():
        return value
    return json.loads(_broadcast(json.dumps(value).encode() if dist.get_rank() == 0 else b""))


def once(compute: Callable[[], Any]) -> Any:
    """What rank 0 computes, something that JSON holds: for what costs money, or need not be the same twice."""
    return heard(compute() if not is_parallel() or dist.get_rank() == 0 else None)


def made_once(work: Callable[[], list[Example]]) -> list[Example]:
    """The examples that rank 0 makes, on every rank."""
    if not is_parallel():
        return work()
    return _received(_broadcast(_sent(work()) if dist.get_rank() == 0 else b""))


def agreed(numbers: Sequence[int]) -> list[int]:
    """The largest of each number over the ranks."""
    if not is_parallel():
        return list(numbers)
    most = torch.tensor(numbers)
    dist.all_reduce(most, op=dist.ReduceOp.MAX)
    return most.tolist()


def together(work: Callable[[Sequence[Any], range], list[Any]], items: Sequence[Any]) -> list[Any]:
    """What `work` makes of items that every rank has, one for one: each rank does a part, and gets what the others have done.

    work: (items, their numbers) -> an Example of each, or an array (L,).
    """
    if not is_parallel():
        return alone(work, items)
    own = _own(len(items), dist.get_rank(), dist.get_world_size())
    done = work(items[own.start : own.stop], own) if len(own) else []
    return [one for part in _gathered(_sent(done)) for one in _received(part)]


def in_step(work: Callable[[Sequence[Any]], list[Any]], items: Sequence[Any]) -> list[Any]:
    """The same of work that is a collective itself: ranks that share rows or layers do the same part, and those without items work too."""
    rank, size = data_rank()
    own = _own(len(items), rank, size)
    parts = _gathered(_sent(work(items[own.start : own.stop])))
    return [one for part in parts[:: len(parts) // size] for one in _received(part)]


def _own(count: int, rank: int, size: int) -> range:
    """Numbers of the items that a rank does."""
    return range(rank * count // size, (rank + 1) * count // size)


def alone(work: Callable[[Sequence[Any], range], list[Any]], items: Sequence[Any]) -> list[Any]:
    """The same where every rank does all of it: no collective."""
    return work(items, range(len(items)))


def _sent(done: Sequence[Any]) -> bytes:
    if not done:
        return b""
    return b"E" + examples_to_bytes(done) if isinstance(done[0], Example) else b"C" + columns_to_bytes(done)


def _received(part: bytes) -> list[Any]:
    if not part:
        return []
    return examples_from_bytes(part[1:]) if part[:1] == b"E" else columns_from_bytes(part[1:])


def _broadcast(said: bytes) -> bytes:
    """What rank 0 says."""
    size = torch.tensor(len(said))
    dist.broadcast(size, 0)
    letters = torch.frombuffer(bytearray(said), dtype=torch.uint8) if said else torch.zeros(int(size), dtype=torch.uint8)
    dist.broadcast(letters, 0)
    return letters.numpy().tobytes()


def _gathered(said: bytes) -> list[bytes]:
    """What every rank says, in their order."""
    sizes = [torch.zeros((), dtype=torch.int64) for _ in range(dist.get_world_size())]
    dist.all_gather(sizes, torch.tensor(len(said)))
    longest = max(int(size) for size in sizes)
    own = torch.from_numpy(np.frombuffer(said.ljust(longest, b"\0"), np.uint8).copy())
    found = [torch.zeros(longest, dtype=torch.uint8) for _ in sizes]
    dist.all_gather(found, own)
    return [each.numpy().tobytes()[: int(size)] for each, size in zip(found, sizes, strict=True)]
