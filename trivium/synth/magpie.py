"""Magpie: a chat model that is given everything up to where a user would begin to speak writes what the user says.

Xu et al. 2024, arXiv:2406.08464, section 2. What is asked of the model, and where a user's turn ends, follow from its chat format; nothing
is known of any family. Left out: the tags of section 3, which are filters (synth/filters).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from trivium.core.config import read_toml
from trivium.core.errors import ConfigError
from trivium.core.types import Message
from trivium.synth.instruction import why_no_instruction
from trivium.text.chat import ChatFormat, start_ids
from trivium.text.tokenizer import Tokenizer
from trivium.text.write import plain_turns

EMPTY, UNCLOSED, NO_ROOM = "the query is empty", "the query does not end", "there is no room for more"
CUT_OFF, NO_ANSWER = "the answer does not end", "the answer is empty"
_LAST_TOKENS = 24  # in which the words that end a turn are looked for


@dataclass(slots=True)
class Draft:
    """A conversation that is being written. fate: why it ended before it had an answer, "": it did not. tokens: that were generated."""

    number: int
    domain: str
    turns: list[Message] = field(default_factory=list)
    fate: str = ""
    is_over: bool = False
    tokens: int = 0

    def end(self, why: str) -> None:
        """Leave it as it is: a query without an answer goes, unless it is the first, which has that fate."""
        self.is_over = True
        if len(self.turns) < 2:
            self.fate = why
        elif self.turns[-1].role == "user":
            self.turns.pop()

    def hear(self, text: str, *, is_stopped: bool) -> None:
        """The user's next turn."""
        self.turns.append(Message("user", text))
        if not (is_stopped and text):
            self.end(UNCLOSED if not is_stopped else EMPTY)

    def answer(self, text: str, *, is_stopped: bool) -> None:
        """The assistant's next turn."""
        if is_stopped and text:
            self.turns.append(Message("assistant", text))
        else:
            self.end(CUT_OFF if not is_stopped else NO_ANSWER)

    @property
    def record(self) -> dict[str, Any]:
        """The conversation as what reads chats takes it."""
        return {"messages": plain_turns(self.turns), "number": self.number} | ({"domain": self.domain} if self.domain else {})

    @property
    def verdict(self) -> str | None:
        """Why the user asks for nothing in what was written, None if he does; of answers it says nothing."""
        if self.fate in (UNCLOSED, EMPTY) or not self.turns:
            return self.fate
        return next(filter(None, (why_no_instruction(turn.content) for turn in self.turns if turn.role == "user")), None)


def leads(draft: Draft, domains: Mapping[str, str], chat_format: ChatFormat) -> tuple[Message, ...]:
    """The turns before the user's next: those of the conversation, before them what steers it, if the format has a system turn.

    Answers never see what steers. Raises ConfigError for domains without a system turn.
    """
    steering = domains.get(draft.domain, "")
    if "system" not in chat_format.opening:
        if steering:
            raise ConfigError("domains: the model's chat template has no system turn, by which they steer what is asked; leave them out")
        return tuple(draft.turns)
    said = [text for text in (steering, _more() if draft.turns else "") if text]
    return (*((Message("system", "\n".join(said)),) if said else ()), *draft.turns)


@dataclass(frozen=True, slots=True)
class UserTurn:
    """Where a turn of the user ends: at one of the `ids`, or before the words `mark`; with one_line before its first line feed."""

    tokenizer: Tokenizer
    ids: frozenset[int]
    mark: str
    one_line: bool

    @staticmethod
    def of(chat_format: ChatFormat, tokenizer: Tokenizer, *, one_line: bool = False) -> "UserTurn":
        """From what the format writes between a user's turn and the answer: its first control token, or else its first words."""
        between = chat_format.closing["user"] + chat_format.opening["assistant"]
        controls = [piece for piece, is_control in chat_format.split(between) if is_control]
        mark = "" if controls else next((line.strip() for line in between.splitlines() if line.strip()), "")
        ids = {*map(tokenizer.id_of, (*controls[:1], chat_format.end)), *start_ids(tokenizer, chat_format)}  # a base model ends so
        return UserTurn(tokenizer, frozenset(ids), mark, one_line)

    def is_over(self, tokens: Sequence[int]) -> bool:
        """Whether a turn that has these tokens so far has ended. Costs the decoding of a few tokens."""
        if tokens[-1] in self.ids:
            return True
        if self.mark and self.mark in self.tokenizer.decode(tokens[-_LAST_TOKENS:]):
            return True
        if not self.one_line or "\n" not in self.tokenizer.decode(tokens[-1:]):
            return False
        return "\n" in self.tokenizer.decode(tokens).lstrip()

    def text(self, tokens: Sequence[int] | np.ndarray) -> str:
        """What the user says."""
        said = self.tokenizer.decode(tokens)
        said = said.split(self.mark)[0].strip() if self.mark else said.strip()
        return said.split("\n")[0].rstrip() if self.one_line else said


@cache
def _more() -> str:
    return str(read_toml(Path(__file__).with_name("magpie.toml"))["more"])
