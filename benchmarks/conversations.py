"""What `benchmarks.posttrain` trains on: random ids in conversations whose lengths are those of real ones.

Speed depends on lengths and not on words, so both sides read the same ids, and no text is needed. Ids 0 and 1 are padding and the end.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

FIRST_WORD, END = 2, 1
PERCENTILES = (0, 5, 10, 25, 50, 75, 90, 95, 100)
# Tokens of SmolLM2's tokenizer in its chat format: what does not count and what the assistant says, in the best path of OpenAssistant's
# English trees that fit in 512 (59 of 79); both are as good as independent (correlation 0.04)
PROMPT, ANSWER = (33, 37, 40, 44, 57, 76, 95, 112, 270), (18, 35, 73, 162, 228, 310, 389, 412, 451)

Row = dict[str, list[int]]
Lengths = Sequence[tuple[int, int]]  # tokens of a prompt, of its answer


def usual_lengths(count: int, longest: int, seed: int) -> Lengths:
    """Drawn from the table; prompts and answers are cut so that both fit."""
    draw = np.random.default_rng(seed)
    prompt, answer = (np.interp(draw.random(count) * 100, PERCENTILES, table).astype(int) for table in (PROMPT, ANSWER))
    prompt = np.minimum(prompt, longest - 8)
    return list(zip(prompt.tolist(), np.minimum(answer, longest - prompt).tolist(), strict=True))


def lengths_of(data: str, tokenizer_folder: Path, longest: int) -> Lengths:
    """Those of the conversations in a file, as SmolLM2 would be trained on them; what is too long is left out, as the stage does."""
    from trivium.stages.computing.models import Speaker
    from trivium.stages.machine import Machine
    from trivium.text.read import read_conversations

    speaker = Speaker.load(tokenizer_folder, Machine(device="cpu", precision="float32", kernels="torch"))
    items = [speaker.demonstration(conversation) for conversation in read_conversations(data)]
    counted = [(len(item.tokens), int((item.loss_mask > 0).sum())) for item in items if len(item.tokens) <= longest]
    return [(whole - answer, answer) for whole, answer in counted if answer]


def demonstrations(lengths: Lengths, vocab_size: int, seed: int) -> list[Row]:
    """Rows of `prompt` and `answer`."""
    some = _words(vocab_size, seed)
    return [{"prompt": some(prompt), "answer": [*some(answer - 1), END]} for prompt, answer in lengths]


def pairs(count: int, prompt: int, answer: int, vocab_size: int, seed: int) -> list[Row]:
    """Rows of `prompt`, `chosen` and `rejected`, all of these lengths."""
    some = _words(vocab_size, seed)
    return [{"prompt": some(prompt), "chosen": [*some(answer - 1), END], "rejected": [*some(answer - 1), END]} for _ in range(count)]


def prompts(count: int, length: int, vocab_size: int, seed: int) -> list[Row]:
    """Rows of `prompt`."""
    some = _words(vocab_size, seed)
    return [{"prompt": some(length)} for _ in range(count)]


def _words(vocab_size: int, seed: int) -> Callable[[int], list[int]]:
    draw = np.random.default_rng(seed)

    def some(count: int) -> list[int]:
        return draw.integers(FIRST_WORD, vocab_size, count).tolist()

    return some


def summary(rows: Sequence[dict[str, Any]]) -> str:
    """The lengths of demonstrations in one line."""
    whole = np.array([len(row["prompt"]) + len(row["answer"]) for row in rows])
    share = sum(len(row["answer"]) for row in rows) / whole.sum()
    middle, high = np.percentile(whole, (50, 90))
    return (
        f"{len(rows)} conversations of {whole.mean():.0f} tokens (median {middle:.0f}, 90th percentile {high:.0f}), {share:.0%} in answers"
    )
