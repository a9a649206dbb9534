"""The engine: many prompts at once, one position a step, finished rows dropped as they end.

It runs the trainer's own module without gradients, so there is nothing to synchronise and the log-probs are the trainer's
(equal to 1e-5 in fp32). What a request is answered depends on its seed and its number, not on its neighbours.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trivium.core.errors import DataError
from trivium.core.seeds import key
from trivium.core.types import Example
from trivium.generate.sampling import Sampling, choose
from trivium.nn.cache import Cache
from trivium.nn.model import Model

OnDone = Callable[[int], None]  # how many requests are answered so far, for progress
OnTokens = Callable[[int, int], None]  # (request, token): called for every token, in order, for streaming


@dataclass(slots=True)
class _Answer:
    tokens: list[int]
    logprobs: list[float]
    stopped: bool = False


class Engine:
    """Generates with `model`.

    stop_ids: the first one closes an answer; the others (the start of another turn or document) end it too, but unfinished.
    rows: how many requests are decoded together; memory and speed depend on it, results do not.
    """

    def __init__(self, model: Model, *, stop_ids: Sequence[int], rows: int = 64) -> None:
        self.model, self.stop_ids, self.closing_id, self.rows = model, frozenset(stop_ids), next(iter(stop_ids), None), rows

    def generate(
        self,
        prompts: Sequence[np.ndarray],
        sampling: Sampling,
        *,
        seed: int,
        purpose: str = "sample",
        step: int = 0,
        on_token: OnTokens | None = None,
        on_done: OnDone | None = None,
    ) -> list[Example]:
        """One answer to each prompt (token ids, (L,)): an Example whose loss mask is 1 on the answer, its end token included.

        Columns: old_logprobs. meta: stopped (False: it was not closed, or max_new_tokens or the context ran out).
        Raises DataError if a prompt is empty or leaves no room in the context.
        """
        longest = self.model.config.max_seq_len
        for number, prompt in enumerate(prompts):
            if not 0 < len(prompt) < longest:
                raise DataError(f"prompt {number} has {len(prompt):,} tokens; it needs 1 to {longest - 1:,} to leave room for an answer")
        stream = key(seed, purpose, step)
        answers = [_Answer([], []) for _ in prompts]
        with torch.inference_mode():
            for start in range(0, len(prompts), self.rows):
                wave = range(start, min(start + self.rows, len(prompts)))
                self._wave(wave, prompts, answers, sampling, stream, on_token)
                if on_done is not None:
                    on_done(wave.stop)
        return [_example(prompt, answer) for prompt, answer in zip(prompts, answers, strict=True)]

    def _wave(
        self,
        requests: range,
        prompts: Sequence[np.ndarray],
        answers: list[_Answer],
        sampling: Sampling,
        stream: int,
        on_token: OnTokens | None,
    ) -> None:
        """Decode these requests together until all have ended. Ended rows idle along until a quarter of them can be dropped at once."""
        request_B = np.array(requests)
        position_B = np.array([len(prompts[request]) for request in requests])  # where the next token goes
        room = min(int(position_B.max()) + sampling.max_new_tokens, self.model.config.max_seq_len)
        going_B = np.ones(len(request_B), bool)
        cache = Cache(self.model.config, len(request_B), room, self.model.trunk.compute_dtype)
        hidden_BD = self._prefill([prompts[request] for request in requests], cache)
        for _ in range(sampling.max_new_tokens):
            token_B, logprob_B = choose(self.model.trunk.logits(hidden_BD), sampling, stream, request_B, position_B)
            for row in np.flatnonzero(going_B):
                request, token = int(request_B[row]), int(token_B[row])
                answer = answers[request]
                answer.tokens.append(token)
                answer.logprobs.append(float(logprob_B[row]))
                answer.stopped = token == self.closing_id
                going_B[row] = token not in self.stop_ids and position_B[row] + 1 < room
                if on_token is not None:
                    on_token(request, token)
            if not going_B.any():
                return
            if going_B.mean() <= 0.75:
                keep = torch.from_numpy(np.flatnonzero(going_B))
                cache.keep(keep)
                token_B, request_B, position_B, going_B = token_B[keep], request_B[going_B], position_B[going_B], going_B[going_B]
            hidden_BD = self._decode(token_B, position_B, cache)
            position_B = np.minimum(position_B + 1, room - 1)

    def _prefill(self, prompts: Sequence[np.ndarray], cache: Cache) -> Tensor:
        """Read the prompts; hidden state at the last token of each, (B, D)."""
        longest = max(map(len, prompts))
        tokens_BL = torch.zeros(len(prompts), longest, dtype=torch.int64)
        for row, prompt in enumerate(prompts):
            tokens_BL[row, : len(prompt)] = torch.from_numpy(prompt.astype(np.int64))
        position_BL = torch.arange(longest).expand(len(prompts), -1)
        hidden_BLD = self.model.trunk(tokens_BL, position_BL, cache.move_to(position_BL), cache)
        return hidden_BLD[torch.arange(len(prompts)), torch.tensor([len(prompt) - 1 for prompt in prompts])]

    def _decode(self, token_B: Tensor, position_B: np.ndarray, cache: Cache) -> Tensor:
        """One more position of every row; its hidden state, (B, D)."""
        position_B1 = torch.from_numpy(position_B)[:, None]
        return self.model.trunk(token_B[:, None], position_B1, cache.move_to(position_B1), cache)[:, 0]


def _example(prompt: np.ndarray, answer: _Answer) -> Example:
    tokens = np.concatenate([prompt, answer.tokens]).astype(np.int32)
    mask, logprobs = np.zeros(len(tokens), np.float32), np.zeros(len(tokens), np.float32)
    mask[len(prompt) :], logprobs[len(prompt) :] = 1, answer.logprobs
    return Example(tokens, mask, {"old_logprobs": logprobs}, {"stopped": answer.stopped, "prompt_length": len(prompt)})
