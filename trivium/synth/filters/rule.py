"""What a filter of conversations is: one that reads each by itself, or one that decides by numbers which a stage measures for it.

N conversations. A filter never changes one. What one that reads says does not depend on other filters; those that measure are given only
what the filters before them keep.
"""

from collections.abc import Mapping

import numpy as np

from trivium.core.types import Conversation

Measured = Mapping[str, np.ndarray]  # what was measured of the conversations by name, (N,) each, nan where there is nothing


def said_by(chat: Conversation, role: str) -> list[str]:
    """What one side says, turn by turn."""
    return [message.content for message in chat.messages if message.role == role]


def last_answer(chat: Conversation) -> int:
    """Where the last answer is among the turns."""
    return max(place for place, message in enumerate(chat.messages) if message.role == "assistant")
