"""Prompts that users sent, made fit for training: who repeats a template or sends thousands does not decide what is learned.

Ouyang et al. 2022, arXiv:2203.02155, section 3.2 and appendix A: prompts that share a long common prefix are dropped, a user may give 200,
prompts are split by user, those for training are freed of personal data, and none is longer than 1,000 tokens. What "long" was is not
published. Differences: the first of a group is kept, in the order of the log, and personal data is replaced (`text/pii.py`) in every split.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import accumulate
from typing import get_args

from trivium.core.errors import ConfigError
from trivium.core.seeds import key
from trivium.core.types import Message
from trivium.text.pii import Kind, scrub

TOO_LONG, SAME_BEGINNING, TOO_MANY = "too long", "begins like another", "too many of one user"


@dataclass(frozen=True, slots=True)
class LoggedPrompt:
    """A prompt and the id of the user who sent it."""

    messages: tuple[Message, ...]
    user: str


@dataclass(frozen=True, kw_only=True)
class PromptHygiene:
    """Drops and cleans the prompts of a log, one pass, with 16 bytes a prompt in memory.

    max_tokens: of all turns together. prefix_chars: prompts whose first so many characters are equal, up to white space, are one; a
    shorter prompt equals only itself. prompts_per_user: how many of one user are kept. pii: the kinds of personal data to replace.
    """

    max_tokens: int = 1000
    prefix_chars: int = 200
    prompts_per_user: int = 200
    pii: Sequence[Kind] = get_args(Kind)

    def __call__(self, prompts: Iterable[LoggedPrompt], num_tokens: Callable[[str], int], dropped: Counter[str]) -> Iterator[LoggedPrompt]:
        """The prompts that stay, in order. num_tokens: of a text. dropped: is told how many went, by reason."""
        beginnings: set[bytes] = set()
        num_kept: Counter[str] = Counter()
        for prompt in prompts:
            beginning = self._beginning(prompt)
            if sum(num_tokens(turn.content) for turn in prompt.messages) > self.max_tokens:
                dropped[TOO_LONG] += 1
            elif beginning in beginnings:
                dropped[SAME_BEGINNING] += 1
            elif num_kept[prompt.user] == self.prompts_per_user:
                dropped[TOO_MANY] += 1
            else:
                beginnings.add(beginning)
                num_kept[prompt.user] += 1
                yield self._scrubbed(prompt)

    def _beginning(self, prompt: LoggedPrompt) -> bytes:
        text = "\n".join(f"{turn.role} {' '.join(turn.content.split())}" for turn in prompt.messages)
        return blake2b(text[: self.prefix_chars].encode(), digest_size=16).digest()

    def _scrubbed(self, prompt: LoggedPrompt) -> LoggedPrompt:
        return replace(prompt, messages=tuple(replace(turn, content=scrub(turn.content, self.pii)[0]) for turn in prompt.messages))


def split_of(user: str, seed: int, shares: Mapping[str, float]) -> str:
    """The split that all prompts of a user belong to, a function of the seed and the id alone.

    shares: split -> its part of the users, together 1, for example {"train": 0.9, "valid": 0.1}. Raises ConfigError.
    """
    if not shares or any(share < 0 for share in shares.values()) or abs(sum(shares.values()) - 1) > 1e-9:
        raise ConfigError(f"the shares of the splits are {dict(shares)}; they are at least 0 and together 1")
    place = key(seed, f"split of user {user}") / 2**64
    return next((name for name, end in zip(shares, accumulate(shares.values()), strict=True) if place < end), list(shares)[-1])
