"""(k, l)-extraction: does a model, given the first k tokens of a text, say the next l as they stand there, by greedy decoding?

Biderman et al. 2023, arXiv:2304.11158, definition 1 (k = l = 32, on the first 64 tokens of a row of training); Carlini et al. 2022,
arXiv:2202.07646. Nothing is put before the prompt. Whether *all* l tokens come is also seen in one forward pass over the text itself:
as long as every token so far was the likeliest one, decoding stands in the same context; the first one that is not ends both.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from trivium.core.types import Example


def leading_matches(network: Any, texts: Sequence[np.ndarray], *, prompt: int, length: int, rows: int = 32) -> np.ndarray:
    """How many tokens of each text greedy decoding says before the first that differs, (N,) int64: `length` means extracted.

    texts: token ids, prompt + length of them at least. One forward pass each.
    """
    from trivium.train.annotate import column_of

    if not texts:
        return np.zeros(0, np.int64)
    mask = np.zeros(prompt + length, np.float32)
    mask[prompt:] = 1
    examples = [Example(np.asarray(text[: prompt + length], np.int32), mask) for text in texts]
    columns = column_of(network, examples, lambda out, _: out.greedy_BL, rows=rows, length=prompt + length)
    agrees_NL = np.stack([column[prompt:] > 0 for column in columns])
    return np.cumprod(agrees_NL, axis=1).sum(axis=1)


def decoded_scores(
    model: Any, texts: Sequence[np.ndarray], *, prompt: int, length: int, kernels: Literal["native", "torch"] = "torch"
) -> np.ndarray:
    """The share of each text's l tokens that decoding says at their places, (N,): it goes on from its own tokens, and nothing ends it."""
    from trivium.generate.engine import Engine
    from trivium.generate.sampling import Sampling

    engine = Engine(model, stop_ids=(), kernels=kernels)
    prompts = [np.asarray(text[:prompt], np.int32) for text in texts]
    answers = engine.generate(prompts, Sampling(temperature=0.0, max_new_tokens=length), seed=1, purpose="extraction")
    said_NL = np.stack([answer.tokens[prompt : prompt + length] for answer in answers])
    return (said_NL == np.stack([np.asarray(text[prompt : prompt + length]) for text in texts])).mean(axis=1)


class LookupTable:
    """A network that says exactly these texts, given their first `prompt` tokens, and token 0 to anything else.

    It has of a model what `leading_matches` asks for.
    """

    source: ClassVar[None] = None

    def __init__(self, texts: Sequence[np.ndarray], *, prompt: int, length: int) -> None:
        self.known = {tuple(map(int, text[:prompt])): list(map(int, text[prompt : prompt + length])) for text in texts}
        self.prompt, self.length = prompt, length

    @property
    def device(self) -> Any:
        """Where it computes."""
        import torch

        return torch.device("cpu")

    def gather(self) -> None:
        """Its texts are all here."""

    def hidden(self, batch: Any) -> Any:
        """It has no states; its tokens stand for them."""
        return batch.tokens_BL

    def greedy(self, hidden_BL: Any, batch: Any) -> Any:
        """1 where a token that counts is what the table says, (B, L) float32."""
        agrees = batch.loss_mask_BL.clone()
        for row, tokens in enumerate(batch.tokens_BL.tolist()):
            for start in range(0, len(tokens) - self.prompt - self.length + 1, self.prompt + self.length):
                first = start + self.prompt
                says = self.known.get(tuple(tokens[start:first]), [0] * self.length)
                for offset, token in enumerate(tokens[first : first + self.length]):
                    agrees[row, first + offset] *= says[offset] == token
        return agrees
