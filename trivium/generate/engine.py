"""The engine: many prompts at once. A row that ends is given the next request at once, and prompts are read in pieces between
the tokens of others, so no row waits and nothing is padded.

A reader (readers.py) does the work: our kernels in C++ on a CPU, else the trainer's own module; either uses the trainer's
weights of now, so the log-probs are the trainer's (equal to 1e-5 in fp32). What a request is answered depends on its seed and
its number, not on its neighbours.
"""

from collections.abc import Callable, Sequence
from itertools import count
from typing import Literal

import numpy as np

from trivium.core.errors import ConfigError, DataError
from trivium.core.seeds import key
from trivium.core.types import Example
from trivium.generate.blend import Blend, BlendedReader, WeightedSum
from trivium.generate.job import IsOver, Job, Request
from trivium.generate.readers import ModuleReader, NativeReader, Reader
from trivium.generate.renderings import Prompt
from trivium.generate.sampling import Sampling
from trivium.nn.model import Model
from trivium.nn.native.decoder import Precision, why_not_native
from trivium.nn.proxy import ProxyModel

OnDone = Callable[[int], None]  # how many requests are answered so far, for progress
OnTokens = Callable[[int, int], None]  # (request, token): called for every token, in order, for streaming
OnStep = Callable[[Job], None]  # called before each step, where weights may be changed under the requests in work


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
        on_step: OnStep | None = None,
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
        ends = [len(prompt) + more for prompt, more in zip(prompts, new, strict=True)]
        stream, named = key(seed, purpose, step), range(len(prompts)) if numbers is None else numbers
        answers: list[Example | None] = [None] * len(prompts)
        job, answered = self._job(reader), count(1)

        def request(place: int) -> Request:
            def ended(answer: Example | None) -> None:
                answers[place] = answer
                if on_done is not None:
                    on_done(next(answered))

            told = None if on_token is None else lambda said: on_token(place, said.token)
            return Request(prompts[place], sampling, stream, int(named[place]), ends[place], ended, place, is_over, told)

        for place in sorted(
            range(len(prompts)), key=lambda place: len(prompts[place]) - ends[place]
        ):  # the longest first, or it ends alone
            job.submit(request(place))
        _finish(job, on_step)
        return [answer for answer in answers if answer is not None]

    def session(self, capacity: int) -> Job:
        """A job that requests come to while it runs, each of at most so many positions. It owns the engine's rows from now on."""
        return self._job(self._ready(self.rows, capacity))

    def _job(self, reader: Reader) -> Job:
        return Job(reader, min(self.rows, reader.rows), closing_id=self.closing_id, stop_ids=self.stop_ids)

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


def _finish(job: Job, on_step: OnStep | None) -> None:
    while job.is_busy:
        if on_step is not None:
            on_step(job)
        job.step()
