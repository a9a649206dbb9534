"""Requests in work: they wait, take a row, are read in pieces, speak token by token, and end. New ones may come at any time.

What a request is answered depends on its own prompt, sampling, stream and number, never on what stands beside it.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from trivium.core.types import Example, num_common
from trivium.generate.readers import Piece, Reader
from trivium.generate.sampling import Sampling

IsOver = Callable[[Sequence[int]], bool]  # whether an answer that has these tokens so far has ended, by a string in it for example

SHARED = 16  # tokens that two prompts must have in common before one waits for the other to have read them


@dataclass(slots=True)  # frozen would take three times as long to make
class Said:
    """A new token. logprob: under the distribution it was drawn from (at temperature 1 if greedy).

    plain_logprob, likeliest: of requests with `alternatives`, at temperature 1 before anything is cut away: the token's, and that of so
    many likeliest tokens, best first.
    """

    token: int
    logprob: float
    plain_logprob: float = 0.0
    likeliest: tuple[tuple[int, float], ...] = ()


@dataclass(slots=True, eq=False)
class Request:
    """What is asked: a prompt (L,), how to choose, where to end; and who is told.

    stream, number: what its random numbers depend on (core/seeds.py). end: positions that prompt and answer may fill together. place: among
    the requests of a call, for a reader with words of its own for each. is_over: ends an answer, closed, after a token. on_token: each
    token, in order. on_end: the whole (engine.py), or None if it was cancelled. alternatives: see Said; None asks for none.
    is_cancelled may be set by any thread: at most one more token comes.
    """

    prompt: np.ndarray
    sampling: Sampling
    stream: int
    number: int
    end: int
    on_end: Callable[[Example | None], None]
    place: int = 0
    is_over: IsOver | None = None
    on_token: Callable[[Said], None] | None = None
    alternatives: int | None = None
    is_cancelled: bool = False


@dataclass(slots=True)
class _Row:
    """A request in work: its prompt and answer so far, and how much of them is read."""

    request: Request
    start: bytes  # how its prompt begins
    tokens: list[int]
    read: int = 0
    logprobs: list[float] = field(default_factory=list)

    def piece(self, row: int, most: int) -> Piece:
        """What is to be read next, at most so many tokens."""
        until = min(len(self.tokens), self.read + most)
        return Piece(row, self.read, self.tokens[self.read : until], until == len(self.tokens))


class Job:
    """Requests waiting, in work and answered. One thread calls `submit` and `step`."""

    def __init__(self, reader: Reader, rows: int, *, closing_id: int | None, stop_ids: frozenset[int]) -> None:
        self.reader, self.closing_id, self.stop_ids = reader, closing_id, stop_ids
        self.waiting: deque[Request] = deque()
        self.free = deque(range(rows))
        self.rows: dict[int, _Row] = {}  # by number of the row; also of those that ended, until another takes their place
        self.going: dict[int, _Row] = {}
        self.starts: dict[bytes, int] = {}  # beginnings of prompts -> the row that has read one last

    @property
    def is_busy(self) -> bool:
        """Whether a request waits or is in work."""
        return bool(self.waiting or self.going)

    def submit(self, request: Request) -> None:
        """Put a request behind those that wait."""
        self.waiting.append(request)

    def step(self) -> None:
        """Read once, and choose the next token of each row that speaks. Raises DivergedError if the model's numbers are not finite."""
        self._forget_cancelled()
        self._admit()
        pieces = self._pieces()
        if not pieces:
            return
        logits = self.reader.read(pieces)
        asked = [piece.row for piece in pieces if piece.is_last]
        for piece in pieces:
            self.going[piece.row].read += len(piece.tokens)
        if asked:
            for place, said in zip(asked, self._choose(logits, [self.going[row] for row in asked]), strict=True):
                self._say(place, self.going[place], said)

    def follow(self) -> None:
        """The weights have changed: what is in work goes on under the new ones, and shares no more of what the old ones read."""
        self.reader.follow()
        self.starts.clear()

    def drop(self) -> list[Request]:
        """Everything that is not answered, which is forgotten."""
        left = [*self.waiting, *(row.request for row in self.going.values())]
        self.waiting.clear()
        for place in list(self.going):
            self._leave(place)
        self.starts.clear()
        return left

    def _choose(self, logits: torch.Tensor, rows: Sequence[_Row]) -> list[Said]:
        """The next token of each row; those with one sampling are drawn together."""
        plain = {number: _likeliest(logits[number], row.request.alternatives) for number, row in enumerate(rows)
                 if row.request.alternatives is not None}  # fmt: skip
        groups: dict[tuple[float, ...], list[int]] = {}
        for number, row in enumerate(rows):
            groups.setdefault(_rule(row.request.sampling), []).append(number)
        found: dict[int, Said] = {}
        for members in groups.values():
            chosen = [rows[number] for number in members]
            sampling = chosen[0].request.sampling
            stream = np.array([row.request.stream for row in chosen], np.uint64)
            request, position = np.array([row.request.number for row in chosen]), np.array([len(row.tokens) for row in chosen])
            seen = [np.array(row.tokens) for row in chosen] if sampling.repetition_penalty != 1 else None
            theirs = logits if len(groups) == 1 else logits[members]
            tokens, logprobs = self.reader.choose(theirs, sampling, stream, request, position, seen)
            for number, token, logprob in zip(members, tokens.tolist(), logprobs.tolist(), strict=True):
                if number in plain:
                    log_p, likeliest = plain[number]
                    found[number] = Said(token, logprob, float(log_p[token]), likeliest)
                else:
                    found[number] = Said(token, logprob)
        return [found[number] for number in range(len(rows))]

    def _forget_cancelled(self) -> None:
        for request in [request for request in self.waiting if request.is_cancelled]:
            self.waiting.remove(request)
            request.on_end(None)
        for place, row in [(place, row) for place, row in self.going.items() if row.request.is_cancelled]:
            if self.starts.get(row.start) == place:
                del self.starts[row.start]  # its prompt may never be read to the end, for which others would wait
            self._leave(place)
            row.request.on_end(None)

    def _admit(self) -> None:
        """Give free rows to waiting requests, in order. One whose prompt begins like one that is being read now waits for it."""
        postponed = []
        while self.free and self.waiting:
            request = self.waiting.popleft()
            prompt = request.prompt
            start = np.asarray(prompt[:SHARED], np.int64).tobytes()
            twin = self.starts.get(start) if len(prompt) > SHARED else None
            read, common = (0, 0) if twin is None else self._common(twin, prompt)
            if common - read >= SHARED:
                postponed.append(request)
                continue
            place = self._free_row(twin)
            has = self.reader.begin(place, request.end, twin if read else None, read, request=request.place)
            if has is None:
                self.starts = {begins: row for begins, row in self.starts.items() if row != place}  # its keys may be overwritten
                self.free.appendleft(place)
                self.waiting.appendleft(request)
                break
            if place in self.rows and self.starts.get(self.rows[place].start) == place:
                del self.starts[self.rows[place].start]
            row = _Row(request, start, list(map(int, prompt)), read=has)
            self.rows[place] = self.going[place] = row
            self.starts[start] = place
        self.waiting.extendleft(reversed(postponed))

    def _common(self, twin: int, prompt: np.ndarray) -> tuple[int, int]:
        """How many of a prompt's tokens the row has read, and how many it has; the last token must be read again in any case."""
        row = self.rows[twin]
        common = num_common(row.tokens, prompt[:-1])
        return min(common, row.read), common

    def _free_row(self, twin: int | None) -> int:
        """A free row; the twin itself only if there is no other, for it may be of use again."""
        if twin is not None and self.free[0] == twin:
            self.free.rotate(-1)
        return self.free.popleft()

    def _pieces(self) -> list[Piece]:
        """One new token of each row that speaks, and as much of the prompts as fits."""
        left, pieces = self.reader.piece_tokens, []
        for place, row in self.going.items():
            is_speaking = len(row.tokens) - row.read == 1
            if is_speaking or left > 0:
                piece = row.piece(place, 1 if is_speaking else left)
                left -= 0 if is_speaking else len(piece.tokens)
                pieces.append(piece)
        return pieces

    def _say(self, place: int, row: _Row, said: Said) -> None:
        """A new token of a row; it may be its last."""
        request = row.request
        row.tokens.append(said.token)
        row.logprobs.append(said.logprob)
        if request.on_token is not None:
            request.on_token(said)
        is_over = request.is_over is not None and request.is_over(row.tokens[len(request.prompt) :])
        stopped = said.token == self.closing_id or is_over
        if stopped or said.token in self.stop_ids or len(row.tokens) >= request.end:
            self._leave(place)
            request.on_end(_example(row, stopped))

    def _leave(self, place: int) -> None:
        del self.going[place]
        self.reader.end(place)
        self.free.append(place)


def _rule(sampling: Sampling) -> tuple[float, ...]:
    """What the choice of a token depends on."""
    return sampling.temperature, sampling.top_k, sampling.top_p, sampling.min_p, sampling.repetition_penalty


def _likeliest(logits_V: torch.Tensor, count: int | None) -> tuple[torch.Tensor, tuple[tuple[int, float], ...]]:
    """Log-probs of all tokens at temperature 1, and the likeliest of them."""
    log_p = logits_V.detach().float().log_softmax(-1).cpu()
    best = log_p.topk(min(count or 0, len(log_p)))
    return log_p, tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True))


def _example(row: _Row, stopped: bool) -> Example:
    tokens, size = np.array(row.tokens, np.int32), len(row.request.prompt)
    mask, logprobs = np.zeros(len(tokens), np.float32), np.zeros(len(tokens), np.float32)
    mask[size:], logprobs[size:] = 1, row.logprobs
    return Example(tokens, mask, {"old_logprobs": logprobs}, {"stopped": stopped, "prompt_length": size})
