"""Logs of chats hold one chat many times, as it grew: of a conversation and its beginnings the longest is kept.

What is left out: near duplicates. They are found by `text/dedup` in the texts of the conversations.
"""

from collections.abc import Sequence
from hashlib import blake2b

from trivium.core.types import Conversation
from trivium.text.dedup.exact import DIGEST_BYTES, digest


def longest_chats(conversations: Sequence[Conversation]) -> list[Conversation]:
    """The conversations, in order, that neither came before nor are the beginning of another; equal up to white space is equal.

    ShareGPT and WildChat (Zhao et al. 2024, arXiv:2405.01470) hold a snapshot for each time a chat was shared or answered. 16 bytes a turn
    in memory. Weight and meta are not compared.
    """
    beginnings_of = [_beginnings(conversation) for conversation in conversations]
    inner = {beginning for beginnings in beginnings_of for beginning in beginnings[:-1]}
    kept: list[Conversation] = []
    for conversation, beginnings in zip(conversations, beginnings_of, strict=True):
        if beginnings[-1] not in inner:
            inner.add(beginnings[-1])  # the next one that is equal to it
            kept.append(conversation)
    return kept


def _beginnings(conversation: Conversation) -> list[bytes]:
    """A digest of the first 0, 1, 2, ... turns."""
    found = [b""]
    for turn in conversation.messages:
        found.append(blake2b(found[-1] + turn.role.encode() + digest(turn.content), digest_size=DIGEST_BYTES).digest())
    return found
