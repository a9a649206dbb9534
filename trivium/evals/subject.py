"""A model with all that a task asks of it: how likely texts are, in even batches in which what they share is read once, and answers.

Texts become ids as lm-eval has it: context and continuation are encoded together and cut where the context alone ends; spaces at the
context's end go to the continuation; what is too long loses its beginning. A model whose tokenizer.json puts control ids before a text
gets them; after an empty context stands the model's first token.
Difference: a model of L positions is shown L tokens, the last one scored; lm-eval scores one more after them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import tokenizers
import torch

from trivium.core.errors import ConfigError
from trivium.core.types import Example, Message
from trivium.data.pack import pack
from trivium.evals.scoring import Likelihood, Request
from trivium.generate.engine import Engine, IsOver
from trivium.generate.sampling import Sampling
from trivium.nn.model import Model
from trivium.nn.native.compact import taken_over
from trivium.nn.outputs import Outputs
from trivium.text.tokenizer import Tokenizer

TOKENS = 4096  # of a batch, what sequences share counted once: enough for fast products, little enough for a laptop's caches
STATE_BYTES = 256 << 20  # of the states of all positions of a batch, shared ones too


@dataclass(slots=True)
class Subject:
    """first_id: what stands before a text that has nothing before it. engine: is asked for answers. prompt: ids of a conversation."""

    model: Model
    tokenizer: Tokenizer
    first_id: int
    engine: Engine
    prompt: Callable[[tuple[Message, ...]], np.ndarray]
    num_cut: int = 0  # requests that lost their beginning so far
    _starts: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self._starts = leading_ids(self.tokenizer)

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Ids of texts that begin a sequence."""
        ids = self.tokenizer.encode_batch(texts)
        return [np.concatenate([self._starts, each]) for each in ids] if len(self._starts) else ids

    def likelihoods(self, requests: Sequence[Request], *, with_greedy: bool = True) -> list[Likelihood]:
        """What each request asks, in order. Costs a forward pass over the tokens that are not shared with a neighbour.

        with_greedy: whether it is asked what greedy decoding says, which costs the head once more; without it nothing is.
        """
        pieces, owners = [], []
        for owner, (request, (before, after)) in enumerate(zip(requests, self._pairs(requests), strict=True)):
            for piece in self._windows(before, after) if request.is_whole else [self._fitted(before, after)]:
                pieces.append(piece)
                owners.append(owner)
        sums, misses = np.zeros(len(requests)), np.zeros(len(requests))
        for owner, (logprob, missed) in zip(owners, self._read(pieces, with_greedy), strict=True):
            sums[owner] += logprob
            misses[owner] += missed
        return [Likelihood(float(logprob), with_greedy and not missed) for logprob, missed in zip(sums, misses, strict=True)]

    def answer(
        self, prompts: Sequence[np.ndarray], sampling: Sampling, stop: Sequence[str], *, seed: int, purpose: str, numbers: Sequence[int]
    ) -> list[tuple[str, bool]]:
        """A text for each prompt and whether it ended by itself: by the model's end token, or before one of the texts in `stop`.

        numbers: of the requests, which their random numbers depend on. Raises ConfigError if answers leave no room for a prompt.
        """
        reads = self.model.config.max_seq_len
        room = reads - sampling.max_new_tokens
        if room < 1:
            raise ConfigError(
                f"{purpose}: answers of {sampling.max_new_tokens:,} tokens leave no room for a prompt, as the model reads {reads:,};"
                " lower max_new_tokens in the task's file"
            )
        fitted = [prompt[-room:] for prompt in prompts]
        self.num_cut += sum(len(short) < len(prompt) for short, prompt in zip(fitted, prompts, strict=True))
        is_over = self._is_over(stop) if stop else None
        found = self.engine.generate(fitted, sampling, seed=seed, purpose=purpose, numbers=numbers, is_over=is_over)
        texts = [self.tokenizer.decode(each.response) for each in found]
        return [(cut_at(text, stop), bool(each.meta["stopped"])) for text, each in zip(texts, found, strict=True)]

    def _is_over(self, stop: Sequence[str]) -> IsOver:
        """Looks at the last tokens only: a text of n bytes has n tokens at most."""
        longest = max(len(text.encode()) for text in stop) + 4
        return lambda tokens: any(text in self.tokenizer.decode(tokens[-longest:]) for text in stop)

    def _pairs(self, requests: Sequence[Request]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(ids before, ids to be scored) of each request."""
        split = [_split(request) for request in requests]
        contexts = list(dict.fromkeys(context for context, _ in split if context))
        known = dict(zip(contexts, self.encode(contexts), strict=True))
        joined = self.encode([context + continuation for context, continuation in split if context])
        alone = self.tokenizer.encode_batch([continuation for context, continuation in split if not context])
        wholes, singles, first = iter(joined), iter(alone), np.array([self.first_id], np.int32)
        for context, _ in split:
            if context:
                before = known[context]
                yield before, next(wholes)[len(before) :]
            else:
                ids = next(singles)
                yield (first, ids) if not len(ids) or ids[0] != self.first_id else (ids[:1], ids[1:])

    def _fitted(self, before: np.ndarray, after: np.ndarray) -> Example:
        """One sequence, of which what is after counts; the first token never does."""
        most, size = self.model.config.max_seq_len, len(before) + len(after)
        self.num_cut += size > most
        tokens = np.concatenate([before, after])[-most:]
        mask = np.zeros(len(tokens), np.float32)
        mask[max(1, len(tokens) - len(after)) :] = 1
        return Example(tokens, mask)

    def _windows(self, before: np.ndarray, after: np.ndarray) -> Iterator[Example]:
        """Sequences as long as the model reads, which score each token of `after` once; the last one has all the context that fits."""
        tokens, most = np.concatenate([before, after]), self.model.config.max_seq_len
        edges = [len(before), *range(most, len(tokens), most - 1), len(tokens)]
        for start, end in pairwise(edges):
            window = tokens[max(0, end - most) : end]
            mask = np.zeros(len(window), np.float32)
            mask[len(window) - (end - start) :] = 1
            yield Example(window, mask)

    def _read(self, items: Sequence[Example], with_greedy: bool) -> Iterator[tuple[float, int]]:
        """Of each sequence the sum of log-probs, and how many tokens greedy decoding would not have said."""
        width = self.model.config.hidden_size * 4
        with torch.no_grad():
            for part in batches(items, TOKENS, STATE_BYTES // width):
                [batch] = pack([(item,) for item in part], rows=len(part), length=max(len(item.tokens) for item in part))
                there = replace(batch, has_unread_ends=True).to(self.model.device)
                out = Outputs(self.model, there)
                sums, missed = there.sum(out.logprobs_BL.double()), there.lengths()
                if with_greedy:
                    missed = missed - there.sum(out.greedy_BL)
                yield from zip(sums.tolist(), missed.int().tolist(), strict=True)


def batches(items: Sequence[Example], most_tokens: int, most_places: int) -> Iterator[Sequence[Example]]:
    """Runs of neighbours: at most so many tokens, what they share counted once (nn/native/compact.py), and so many places padded.

    One item is always a batch. The last token of each is not counted, as nothing is predicted from it.
    """
    sequences, start = [item.tokens[:-1] for item in items], 0
    while start < len(items):
        used, longest, end = 0, 0, start
        for common, _ in taken_over(sequences[start:]):
            used, longest = used + len(sequences[end]) - common, max(longest, len(items[end].tokens))
            if end > start and (used > most_tokens or longest * (end + 1 - start) > most_places):
                break
            end += 1
        yield items[start:end]
        start = end


def leading_ids(tokenizer: Tokenizer) -> np.ndarray:
    """The control ids that a tokenizer.json puts before every text by its own rule; usually none, or the one that begins a text."""
    backend = tokenizers.Tokenizer.from_str(tokenizer.to_json())
    ids = backend.encode("a", add_special_tokens=True).ids
    plain = backend.encode("a", add_special_tokens=False).ids
    places = [place for place in range(len(ids) - len(plain) + 1) if ids[place : place + len(plain)] == plain]
    return np.array(ids[: places[0]] if places else [], np.int32)


def cut_at(text: str, stop: Sequence[str]) -> str:
    """A text up to the first of the texts that end it."""
    return text[: min((place for word in stop if (place := text.find(word)) >= 0), default=len(text))]


def _split(request: Request) -> tuple[str, str]:
    """Context and continuation; spaces at the end of the context belong to the continuation, as its first word has them."""
    kept = request.context.rstrip()
    return kept, request.context[len(kept) :] + request.continuation
