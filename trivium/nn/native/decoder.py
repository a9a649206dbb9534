"""A decoder of our own in C++: a model's weights packed for few rows, its keys and values, and one call a step.

What a token gets depends on its own row alone, bit for bit, whatever else is in the step and however a prompt is cut into pieces.
"""

import ctypes
from ctypes import byref, c_void_p

import numpy as np
import torch
from torch import Tensor

from trivium.nn.native.library import loaded, why_not
from trivium.nn.native.packed import MULTIPLE, Packed, Precision
from trivium.nn.native.structures import Tokens
from trivium.nn.transformer import Transformer

Read = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # the arguments of a step


def why_not_native(trunk: Transformer) -> str | None:
    """None if the decoder can run this model, else the reason in one line."""
    if not isinstance(trunk, Transformer):
        return "a guest is run by transformers"
    config = trunk.config
    sizes = {"hidden_size": config.hidden_size, "intermediate_size": config.intermediate_size, "head_dim": config.head_dim}
    uneven = [name for name, size in sizes.items() if size % MULTIPLE]
    if uneven:
        return f"{uneven[0]} ({sizes[uneven[0]]}) is no multiple of {MULTIPLE}"
    if config.norm == "layer" and (config.norm_place != "before" or config.has_qk_norm):
        return "LayerNorm stands elsewhere than before attention and MLP"
    if trunk.embed.weight.device.type != "cpu":
        return f"the model is on {trunk.embed.weight.device.type}"
    return why_not()


class Decoder:
    """`rows` sequences of up to `capacity` positions. precision: of the weights; int8 also rounds what they are multiplied with.

    The weights are copied: `repack` takes them again after they have changed. most_tokens: the most that one step may read.
    """

    def __init__(self, trunk: Transformer, *, rows: int, capacity: int, precision: Precision = "float32", most_tokens: int = 256) -> None:
        self.trunk, self.rows, self.most_tokens = trunk, rows, max(most_tokens, rows)
        self.capacity = min(capacity, trunk.config.max_seq_len)
        self._library, self._threads = loaded(), torch.get_num_threads()
        self._packed = Packed(trunk, rows=rows, capacity=capacity, precision=precision, most_tokens=self.most_tokens)
        self._library.trivium_room.restype = ctypes.c_int64
        self._room = torch.zeros(self._library.trivium_room(byref(self._packed.model), self._threads))
        self._logits = torch.empty(0)

    def step(self, tokens: np.ndarray, rows: np.ndarray, positions: np.ndarray, wanted: np.ndarray) -> Tensor:
        """Read tokens (T,), each of a row at a position; logits (S, V) fp32 after the S wanted ones (their indices).

        Tokens of one row must come at positions that follow what the row has read. The logits are overwritten by the next step.
        """
        call, logits, _kept = self._call(tokens, rows, positions, wanted)
        self._library.trivium_step(byref(self._packed.model), byref(call), c_void_p(self._room.data_ptr()), self._threads)
        return logits

    def step_beside(self, other: "Decoder", its: Read, others: Read) -> tuple[Tensor, Tensor]:
        """A step of this decoder and one of another, side by side: each on half of the threads, with the same bits as alone."""
        call, logits, _kept = self._call(*its)
        other_call, other_logits, _other_kept = other._call(*others)
        self._library.trivium_step_pair(
            byref(self._packed.model), byref(call), c_void_p(self._room.data_ptr()),
            byref(other._packed.model), byref(other_call), c_void_p(other._room.data_ptr()), self._threads,
        )  # fmt: skip
        return logits, other_logits

    def _call(self, tokens: np.ndarray, rows: np.ndarray, positions: np.ndarray, wanted: np.ndarray) -> tuple[Tokens, Tensor, object]:
        """What C++ is told, where the logits will be, and what must not be freed before they are there."""
        if len(tokens) > self.most_tokens:
            raise ValueError(f"{len(tokens)} tokens in a step that has room for {self.most_tokens}")
        for name, numbers, limit in (("rows", rows, self.rows), ("positions", positions, self.capacity), ("wanted", wanted, len(tokens))):
            if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < limit:  # C++ does not look
                raise IndexError(f"{name} go from {numbers.min()} to {numbers.max()}; they are from 0 to {limit - 1}")
        ids, places = (torch.from_numpy(array.astype(np.int64)) for array in (tokens, positions))
        with torch.no_grad():
            x = self.trunk.embedded(ids, places, torch.float32).contiguous()
            added = [values for values in self.trunk.added_values(ids, torch.float32) if values is not None]
        values = torch.stack(added) if added else None
        if len(self._logits) < len(wanted):
            self._logits = torch.empty(len(wanted), self.trunk.config.vocab_size)
        arrays = [np.ascontiguousarray(array, np.int32) for array in (rows, positions, wanted)]
        call = Tokens(
            x=x.data_ptr(), added=None if values is None else values.data_ptr(),
            row=arrays[0].ctypes.data, position=arrays[1].ctypes.data, count=len(tokens),
            wanted=arrays[2].ctypes.data, num_wanted=len(wanted), logits=self._logits.data_ptr(),
        )  # fmt: skip
        return call, self._logits[: len(wanted)], (x, values, arrays)

    def copy_prefix(self, source: int, target: int, length: int) -> None:
        """Give the row `target` the first `length` positions of `source`."""
        self._packed.copy_prefix(source, target, length)

    def repack(self) -> None:
        """Take the weights again: they have changed. The rows must be read again from their beginning."""
        self._packed.pack(self.trunk)
