"""How much a stage trains: updates or epochs, in batches of examples or of tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from trivium.core.progress import counted
from trivium.stages.base import Foresight
from trivium.text import assets
from trivium.text.hub import is_hub
from trivium.text.lines import OnSkip
from trivium.text.read import read_conversations

if TYPE_CHECKING:
    from trivium.stages.finetune import Finetune

BATCH_SIZE = 32  # conversations an update where nothing is said
ASSUMED = 10_000  # conversations, where there is no file yet


@dataclass(frozen=True, slots=True)
class Amount:
    """What that will come to, about. measurements: times that something held out is measured."""

    tokens: int
    measurements: int
    note: str


def check_amount(options: Finetune) -> None:
    """Raise ValueError unless there is one way to say how long, and one to say in what portions."""
    if bool(options.steps) == bool(options.epochs):
        raise ValueError("give either steps=N (updates) or epochs=N (times that each conversation is read), and 0 for the other")
    if options.batch_size and options.batch_tokens:
        raise ValueError("give either batch_size=N (conversations an update) or batch_tokens=N, and 0 for the other")
    if 0 < options.batch_tokens < options.seq_len:
        raise ValueError(
            f"batch_tokens is {options.batch_tokens:,}, but one conversation may have seq_len tokens, {options.seq_len:,}; raise it"
        )


def foresee_amount(options: Finetune, known: Foresight, *, read: Callable[[str, OnSkip], Iterable[Any]] | None = None) -> Amount:
    """The work before the data was tokenized: conversations are counted in files, and assumed where there are none yet.

    read: what is counted instead of conversations.
    """
    tokens_a_step = options.batch_tokens or (options.batch_size or BATCH_SIZE) * known.sequence_tokens
    if not options.epochs:
        every = options.evaluate_every or options.steps
        return Amount(options.steps * tokens_a_step, -(-options.steps // every), "")
    is_there = not (options.data.startswith("@") or is_hub(options.data) or options.data in assets.ASSETS)
    read = read or partial(read_conversations, replies=options.replies)
    number = sum(1 for _ in read(options.data, lambda _: None)) if is_there else ASSUMED
    times = round(options.epochs * number)
    tokens = times * known.sequence_tokens
    updates = -(-tokens // options.batch_tokens) if options.batch_tokens else -(-times // (options.batch_size or BATCH_SIZE))
    note = f"{options.epochs:g} epochs of {number:,} conversations{'' if is_there else ' (assumed)'} = {counted(updates, 'update')}"
    about = ", about" if options.batch_tokens else ", fewer if some are too long or have no answer"
    measurements = -(-updates // options.evaluate_every) if options.evaluate_every else max(1, round(options.epochs))
    return Amount(tokens, measurements, note + about)
