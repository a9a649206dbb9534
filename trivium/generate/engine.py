"""The engine: many prompts at once. A row that ends is given the next request at once, and prompts are read in pieces between
the tokens of others, so no row waits and nothing is padded.

A reader (readers.py) does the work: our kernels in C++ on a CPU, else the trainer's own module; either uses the trainer's
weights of now, so the log-probs are the trainer's (equal to 1e-5 in fp32). What a request is answered depends on its seed and
its number, not on its neighbours.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from trivium.core.errors import ConfigError, DataError
from trivium.core.seeds import key
from trivium.core.types import Example
from trivium.generate.blend import Blend, BlendedReader, WeightedSum
from trivium.generate.readers import ModuleReader, NativeReader, Piece, Reader
from trivium.generate.renderings import Prompt
from trivium.generate.sampling import Sampling
from trivium.nn.model import Model
from trivium.nn.native.decoder import Precision, why_not_native
from trivium.nn.proxy import ProxyModel

OnDone = Callable[[int], None]  # how many requests are answered so far, for progress
OnTokens = Callable[[int, int], None]  # (request, token): called for every token, in order, for streaming
IsOver = Callable[[Sequence[int]], bool]  # whether an answer that has these tokens so far has ended, by a string in it for example

SHARED = 16  # tokens that two prompts must have in common before one waits for the other to have read them


@dataclass(slots=True)
class _Row:
    """A request in work: its prompt and answer so far, how much of them is read, and where it must end."""

    request: int
    tokens: list[int]
    prompt_length: int
    end: int
    read: int = 0
    logprobs: list[float] = field(default_factory=list)

    def piece(self, row: int, most: int) -> Piece:
        """What is to be read next, at most so many tokens."""
        until = min(len(self.tokens), self.read + most)
        return Piece(row, self.read, self.tokens[self.read : until], until == len(self.tokens))


class Engine:
    """Generates with `model`, which may be made of several (nn/proxy.py).

    stop_ids: the first one closes an answer; the others (the start of another turn or document) end it too, but unfinished.
    rows: how many requests are decoded together; memory and speed depend on it, results do not. precision: of the weights in the
    C++ kernels: bfloat16 and int8 are faster and no longer exactly what the trainer computes. kernels:
    "torch" never uses C++. log: told how it works when it first does. others: models whose logits are added to the `weight` times of
    this one's, each times its own weight (blend.py). Raises ConfigError for such a precision where there are no C++ kernels, and for
    others with another vocabulary.
    """

    def __init__(
        self,
        model: Model,
        *,
        stop_ids: Sequence[int],
        rows: int = 64,
        precision: Precision = "float32",
        kernels: Literal["native", "torch"] = "native",
        log: Callable[[str], None] | None = None,
        weight: float = 1.0,
        others: Sequence[tuple[Model, float]] = (),
    ) -> None:
        self.model, self.stop_ids, self.closing_id, self.rows = model, frozenset(stop_ids), next(iter(stop_ids), None), rows
        self.models = [*model.parts, *(other for other, _ in others)]
        if any(each.scalar_head is not None for each in self.models):
            raise ConfigError(
                "a reward model or critic does not speak, it has a scalar head instead of a language head; name another model"
            )
        weights = [weight, *(share for _, share in others)]
        self._blend: Blend | None = model.contrast if isinstance(model, ProxyModel) else None if weights == [1.0] else WeightedSum(weights)
        reasons = [why_not_native(each.trunk) for each in self.models] if kernels == "native" else ["they are switched off"]
        self.precision, self.why_not_native = precision, next(filter(None, reasons), None)
        if self.why_not_native is not None and precision != "float32":
            raise ConfigError(f"precision is '{precision}', which only the C++ kernels have, but {self.why_not_native}; use float32")
        if isinstance(self._blend, WeightedSum) and len(sizes := {each.config.vocab_size for each in self.models}) > 1:
            raise ConfigError(
                f"models with {' and '.join(f'{size:,}' for size in sorted(sizes))} words cannot speak together:"
                " their logits are added word by word"
            )
        self.log, self._said = log, ""
        self._reader: Reader | None = None

    def generate(
        self,
        prompts: Sequence[np.ndarray],
        sampling: Sampling,
        *,
        seed: int,
        purpose: str = "sample",
        step: int = 0,
        numbers: Sequence[int] | None = None,
        lengths: Sequence[int] | None = None,
        is_over: IsOver | None = None,
        on_token: OnTokens | None = None,
        on_done: OnDone | None = None,
    ) -> list[Example]:
        """One answer to each prompt (token ids, (L,)): an Example whose loss mask is 1 on the answer, its end token included.

        A Prompt (renderings.py) is read by each of several models in its own words, any other array by all of them as it is.
        numbers: of the requests, if they are not to be counted from 0: the same number gets the same random numbers wherever it
        stands. lengths: max_new_tokens of each. is_over: ends an answer, closed, after a token.
        Columns: old_logprobs. meta: stopped (False: it was not closed, or max_new_tokens or the context ran out).
        Raises DataError if a prompt is empty or leaves no room in the context, DivergedError if the model's numbers are not finite.
        """
        longest = min(model.config.max_seq_len for model in self.models)
        each = [prompt.each if isinstance(prompt, Prompt) and prompt.each else (prompt,) for prompt in prompts]
        sizes = [max(map(len, renderings)) for renderings in each]
        for number, (size, renderings) in enumerate(zip(sizes, each, strict=True)):
            if not 0 < min(map(len, renderings)) <= size < longest:
                raise DataError(f"prompt {number} has {size:,} tokens; it needs 1 to {longest - 1:,} to leave room for an answer")
        if not prompts:
            return []
        most = [sampling.max_new_tokens] * len(prompts) if lengths is None else lengths
        if min(most) < 1:
            raise DataError(f"lengths: {min(most)} new tokens are asked for; it must be 1 or more")
        new = [min(wanted, longest - size) for size, wanted in zip(sizes, most, strict=True)]
        reader = self._ready(len(prompts), max(size + more for size, more in zip(sizes, new, strict=True)))
        if isinstance(reader, BlendedReader) and any(len(renderings) > 1 for renderings in each):
            reader = reader.rendered(prompts, each)
        job = _Job(self, reader, prompts, [len(prompt) + more for prompt, more in zip(prompts, new, strict=True)])
        job.numbers = np.arange(len(prompts)) if numbers is None else np.asarray(numbers)
        job.is_over, job.on_token, job.on_done = is_over, on_token, on_done
        return job.run(sampling, key(seed, purpose, step))

    def _ready(self, requests: int, capacity: int) -> Reader:
        """A reader with room enough, and with the weights of now."""
        rows = min(self.rows, requests)
        if self._reader is not None and self._reader.rows >= rows and self._reader.capacity >= capacity:
            self._reader.renew()
            return self._reader
        self._reader = None  # its memory is needed for the next
        readers: list[Reader] = [
            NativeReader(model, rows, capacity, self.precision) if self.why_not_native is None else ModuleReader(model, rows, capacity)
            for model in self.models
        ]
        self._reader = readers[0] if self._blend is None else BlendedReader(readers, self._blend)
        self._tell(self._reader.how)
        return self._reader

    def _tell(self, how: str) -> None:
        """Say it once."""
        if self.log is not None and how != self._said:
            self.log(how)
        self._said = how


class _Job:
    """The requests of one call of `generate`, waiting, in work and answered."""

    numbers: np.ndarray
    is_over: IsOver | None
    on_token: OnTokens | None
    on_done: OnDone | None

    def __init__(self, engine: Engine, reader: Reader, prompts: Sequence[np.ndarray], ends: Sequence[int]) -> None:
        self.engine, self.reader, self.prompts, self.ends = engine, reader, prompts, ends
        longest_first = sorted(range(len(prompts)), key=lambda number: len(prompts[number]) - ends[number])  # else one ends alone
        self.waiting = deque(longest_first)
        self.free = deque(range(min(engine.rows, reader.rows)))
        self.rows: dict[int, _Row] = {}  # by number of the row; also of those that ended, until another takes their place
        self.going: dict[int, _Row] = {}
        self.starts: dict[bytes, int] = {}  # beginnings of prompts -> the row that has read one last
        self.answers: list[Example | None] = [None] * len(prompts)
        self.answered = 0

    def run(self, sampling: Sampling, stream: int) -> list[Example]:
        """Step until every request is answered."""
        seen_matters = sampling.repetition_penalty != 1
        while self.waiting or self.going:
            self._admit()
            pieces = self._pieces()
            logits = self.reader.read(pieces)
            asked = [piece.row for piece in pieces if piece.is_last]
            for piece in pieces:
                self.going[piece.row].read += len(piece.tokens)
            if not asked:
                continue
            rows = [self.going[row] for row in asked]
            number, position = self.numbers[[row.request for row in rows]], np.array([len(row.tokens) for row in rows])
            seen = [np.array(row.tokens) for row in rows] if seen_matters else None
            tokens, logprobs = self.reader.choose(logits, sampling, stream, number, position, seen)
            for place, row, token, logprob in zip(asked, rows, tokens.tolist(), logprobs.tolist(), strict=True):
                self._say(place, row, token, logprob)
        return [answer for answer in self.answers if answer is not None]

    def _admit(self) -> None:
        """Give free rows to waiting requests, the longest answers first.

        One whose prompt begins like one that is being read now waits for it.
        """
        postponed = []
        while self.free and self.waiting:
            request = self.waiting.popleft()
            prompt = self.prompts[request]
            start = np.asarray(prompt[:SHARED], np.int64).tobytes()
            twin = self.starts.get(start) if len(prompt) > SHARED else None
            read, common = (0, 0) if twin is None else self._common(twin, prompt)
            if common - read >= SHARED:
                postponed.append(request)
                continue
            place = self._free_row(twin)
            has = self.reader.begin(place, self.ends[request], twin if read else None, read, request=request)
            if has is None:
                self.starts = {begins: row for begins, row in self.starts.items() if row != place}  # its keys may be overwritten
                self.free.appendleft(place)
                self.waiting.appendleft(request)
                break
            row = _Row(request, list(map(int, prompt)), len(prompt), self.ends[request], read=has)
            self.rows[place] = self.going[place] = row
            self.starts[start] = place
        self.waiting.extendleft(reversed(postponed))

    def _common(self, twin: int, prompt: np.ndarray) -> tuple[int, int]:
        """How many of a prompt's tokens the row has read, and how many it has; the last token must be read again in any case."""
        row = self.rows[twin]
        size = min(len(prompt) - 1, len(row.tokens))
        differs = np.flatnonzero(np.asarray(row.tokens[:size]) != np.asarray(prompt[:size]))
        common = int(differs[0]) if len(differs) else size
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

    def _say(self, place: int, row: _Row, token: int, logprob: float) -> None:
        """A new token of a row; it may be its last."""
        engine = self.engine
        row.tokens.append(token)
        row.logprobs.append(logprob)
        if self.on_token is not None:
            self.on_token(row.request, token)
        stopped = token == engine.closing_id or (self.is_over is not None and self.is_over(row.tokens[row.prompt_length :]))
        if stopped or token in engine.stop_ids or len(row.tokens) >= row.end:
            self.answers[row.request] = _example(row, stopped)
            self.answered += 1
            del self.going[place]
            self.reader.end(place)
            self.free.append(place)
            if self.on_done is not None:
                self.on_done(self.answered)


def _example(row: _Row, stopped: bool) -> Example:
    tokens = np.array(row.tokens, np.int32)
    mask, logprobs = np.zeros(len(tokens), np.float32), np.zeros(len(tokens), np.float32)
    mask[row.prompt_length :], logprobs[row.prompt_length :] = 1, row.logprobs
    return Example(tokens, mask, {"old_logprobs": logprobs}, {"stopped": stopped, "prompt_length": row.prompt_length})
