"""Chats to ids: who speaks, and which tokens count.

Every segment is encoded on its own and control ids are placed by name, so that no text can forge a turn and the ids of
a prompt are always the first ids of the whole conversation. Templates that are programs (Jinja) are written for other
tools, never run here.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from trivium.core.config import component
from trivium.core.errors import ConfigError, DataError
from trivium.core.types import Message, Role
from trivium.text.tokenizer import Tokenizer
from trivium.text.tokenizer.marks import Before


@component
class ChatFormat:
    """What is written around the turns of a conversation.

    control: names of the control tokens; wherever one stands in `start`, `opening` or `closing` it is an id, the rest is text.
    start: written once, before everything. opening, closing: role -> what goes before and after the content.
    system: content of a system turn that is put first when a conversation has none; nothing if empty.
    tools_joint: what stands between two tool results in a row, instead of closing and opening; as for other turns if empty.
    The closing of the assistant must begin with a control token: it ends the turn, counts in the loss and stops generation.
    """

    kind: Literal["chat"] = "chat"
    control: tuple[str, ...]
    start: str = ""
    opening: dict[Role, str]
    closing: dict[Role, str]
    system: str = ""
    tools_joint: str = ""

    def __post_init__(self) -> None:
        if "assistant" not in self.opening or set(self.opening) != set(self.closing):
            raise ConfigError("a chat format needs an opening and a closing for each role, the assistant among them")
        if not any(name and self.closing["assistant"].startswith(name) for name in self.control):
            raise ConfigError("the closing of the assistant must begin with a control token, or generation could not stop")

    def around(self, roles: Sequence[Role]) -> list[tuple[str, str]]:
        """What stands before and after the content of each turn."""
        pairs = [[self.opening[role], self.closing[role]] for role in roles]
        for index in range(1, len(roles)):
            if self.tools_joint and roles[index - 1] == roles[index] == "tool":
                pairs[index - 1][1], pairs[index][0] = self.tools_joint, ""
        return [(before, after) for before, after in pairs]

    @property
    def end(self) -> str:
        """Name of the token that ends an assistant turn."""
        return self.split(self.closing["assistant"])[0][0]

    def split(self, text: str) -> list[tuple[str, bool]]:
        """Pieces of an opening or closing, each with whether it is a control token."""
        names = "|".join(re.escape(name) for name in sorted(self.control, key=len, reverse=True))
        return [(piece, piece in self.control) for piece in re.split(f"({names})", text) if piece]


PLAIN = ChatFormat(
    control=("<|endoftext|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>"),
    start="<|endoftext|>",
    opening={"system": "<|system|>", "user": "<|user|>", "assistant": "<|assistant|>", "tool": "<|tool|>"},
    closing={"system": "<|end|>", "user": "<|end|>", "assistant": "<|end|>", "tool": "<|end|>"},
)

CHATML = ChatFormat(
    control=("<|im_start|>", "<|im_end|>"),
    opening={role: f"<|im_start|>{role}\n" for role in ("system", "user", "assistant", "tool")},
    closing=dict.fromkeys(("system", "user", "assistant", "tool"), "<|im_end|>\n"),
)


@dataclass(frozen=True, slots=True)
class Rendered:
    """tokens: (L,) int32. loss_mask: (L,) float32, the turn's weight where the assistant speaks and on the token that ends its turn."""

    tokens: np.ndarray
    loss_mask: np.ndarray


def render(
    messages: Sequence[Message],
    tokenizer: Tokenizer,
    chat_format: ChatFormat,
    *,
    for_generation: bool = False,
    speaker: Role = "assistant",
    train_on: Literal["all", "last"] = "all",
    begun: str = "",
) -> Rendered:
    """Turn a conversation into ids and their mask.

    for_generation: end with the opening of a turn of the speaker, and count nothing; then
    `render(messages[:k], for_generation=True)` is the beginning of `render(messages)` if turn k is the assistant's. With the user as the
    speaker that is the pre-query template of Magpie (Xu et al. 2024, arXiv:2406.08464, section 2.1), before which no turn is needed.
    train_on: which assistant turns count. begun: how the turn that is generated begins.
    Raises DataError: no turns, unknown role, nothing to train on.
    """
    turns = _complete(messages, chat_format, is_begun=for_generation and speaker == "user")
    spoken = [index for index, turn in enumerate(turns) if turn.role == "assistant"]
    if not spoken and not for_generation:
        raise DataError("the conversation has no assistant turn, so there is nothing to learn from it")
    counted = set() if for_generation else set(spoken if train_on == "all" else spoken[-1:])
    written, mask = _Written(tokenizer, chat_format), list[float]()
    mask += [0.0] * written.fixed(chat_format.start)
    around = chat_format.around([turn.role for turn in turns])
    for index, (turn, (before, after)) in enumerate(zip(turns, around, strict=True)):
        opening, content, closing = written.fixed(before), written.content(turn.content), written.fixed(after)
        num_counted = content + 1 if index in counted else 0  # 1: the token that ends the turn
        mask += [0.0] * opening + [turn.weight] * num_counted + [0.0] * (content + closing - num_counted)
    if for_generation:
        mask += [0.0] * (written.fixed(chat_format.opening[speaker]) + written.content(begun))
    return Rendered(np.array(written.ids, np.int32), np.array(mask, np.float32))


def start_ids(tokenizer: Tokenizer, chat_format: ChatFormat) -> tuple[int, ...]:
    """Ids of the tokens that start a document, and with it text that is no chat."""
    return tuple(tokenizer.id_of(name) for name, is_control in chat_format.split(chat_format.start) if is_control)


def stop_ids(tokenizer: Tokenizer, chat_format: ChatFormat) -> tuple[int, ...]:
    """Ids that end a generated turn: its end-of-turn token, and the tokens that start a document or another turn."""
    leading = [chat_format.end]
    for opening in chat_format.opening.values():
        leading += [name for name, is_control in chat_format.split(opening)[:1] if is_control]
    end, *others = map(tokenizer.id_of, leading)
    return tuple(dict.fromkeys((end, *start_ids(tokenizer, chat_format), *others)))


def jinja(chat_format: ChatFormat) -> str:
    """The same format as a Jinja template, for `chat_template` of tokenizer_config.json.

    Tools that run it put control ids wherever a text spells one; for honest chats their ids equal ours. Where content
    begins with white space after an opening that ends with it, a byte-level BPE may split the run differently.
    """
    branches = "".join(
        f"{{% {'if' if not index else 'elif'} message['role'] == {_quoted(role)} %}}"
        f"{{{{ {_before(role, chat_format)} + message['content'] + {_after(role, chat_format)} }}}}"
        for index, role in enumerate(chat_format.opening)
    )
    system = ""
    if chat_format.system:
        whole = chat_format.opening["system"] + chat_format.system + chat_format.closing["system"]
        system = f"{{% if not messages or messages[0]['role'] != 'system' %}}{{{{ {_quoted(whole)} }}}}{{% endif %}}"
    return (
        (f"{{{{ {_quoted(chat_format.start)} }}}}" if chat_format.start else "")
        + system
        + f"{{% for message in messages %}}{branches}{{% else %}}{{{{ raise_exception('unknown role') }}}}{{% endif %}}{{% endfor %}}"
        + f"{{% if add_generation_prompt %}}{{{{ {_quoted(chat_format.opening['assistant'])} }}}}{{% endif %}}"
    )


def _complete(messages: Sequence[Message], chat_format: ChatFormat, *, is_begun: bool) -> list[Message]:
    """The turns with the standing system turn; every role is one that the format knows. is_begun: a turn is begun, so none is needed."""
    if not messages and not is_begun:
        raise DataError("the conversation is empty")
    for index, message in enumerate(messages):
        if message.role not in chat_format.opening:
            raise DataError(f"messages[{index}].role is {message.role!r}; it is one of: {', '.join(chat_format.opening)}")
    has_system = bool(messages) and messages[0].role == "system"
    standing = [Message("system", chat_format.system)] if chat_format.system and not has_system else []
    return standing + list(messages)


class _Written:
    """Ids of pieces one after the other; both methods give how many a piece has."""

    def __init__(self, tokenizer: Tokenizer, chat_format: ChatFormat) -> None:
        self.tokenizer, self.chat_format = tokenizer, chat_format
        self.ids: list[int] = []
        self._before: Before = "nothing"

    def fixed(self, text: str) -> int:
        """An opening or closing: control tokens by name, the rest as text."""
        count = len(self.ids)
        for piece, is_control in self.chat_format.split(text):
            if is_control:
                self.ids.append(self.tokenizer.id_of(piece))
                self._before = "control"
            else:
                self.content(piece)
        return len(self.ids) - count

    def content(self, text: str) -> int:
        """Text, whatever it spells."""
        ids = self.tokenizer.encode_after(self._before, text).tolist() if text else []
        self.ids += ids
        self._before = "text" if ids else self._before
        return len(ids)


def _before(role: Role, chat_format: ChatFormat) -> str:
    """A Jinja expression for what stands before a turn's content."""
    opening = _quoted(chat_format.opening[role])
    if role != "tool" or not chat_format.tools_joint:
        return opening
    return f"('' if loop.previtem is defined and loop.previtem['role'] == 'tool' else {opening})"


def _after(role: Role, chat_format: ChatFormat) -> str:
    """The same for what stands after it."""
    closing, joint = _quoted(chat_format.closing[role]), _quoted(chat_format.tools_joint)
    if role != "tool" or not chat_format.tools_joint:
        return closing
    return f"({joint} if loop.nextitem is defined and loop.nextitem['role'] == 'tool' else {closing})"


def _quoted(text: str) -> str:
    """A Jinja string literal; Jinja reads the escapes of JSON."""
    return json.dumps(text, ensure_ascii=False)
