"""Foreign chat templates to chat formats: what a template writes around the turns is found by letting it write some.

A template is a program, a ChatFormat only says which fixed words stand around each turn; so a format is derived from a few
conversations and then must give the text of every other one. What it cannot express (dates, thoughts, content that is
changed or merged) is refused, never approximated. ChatML, Llama 3, Zephyr, Gemma and what is like them are recognised. Results of
tools are a role of the format where the template writes fixed words around them too (Qwen 2.5: one user turn for all in a row);
elsewhere the format has no such role, and a conversation with one is refused.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from trivium.core.errors import ConfigError
from trivium.core.types import Role
from trivium.text.chat import ChatFormat

MAX_TEMPLATE_CHARACTERS = 1 << 16
_TIMEOUT_S = 30  # the processor time allowed is much less; a busy machine may take this long to give it
_PROGRAM = Path(__file__).with_name("template_sandbox.py")

Turns = Sequence[tuple[Role, str]]
# contents that no template contains, with what templates like to change: capitals, signs of markup, digits, inner white space
_SYSTEM, _ASK, _SAY, _ASK_MORE, _SAY_MORE = "Be 1 <kind> Zorb.", "Qu'est-ce  Vlim\n7?", "A {frob}: 42\n\nquux", "x Zwei", "\u4e09 ok."
_TALK: Turns = (("user", _ASK), ("assistant", _SAY), ("user", _ASK_MORE), ("assistant", _SAY_MORE))
_ORDERED: Turns = (("system", _SYSTEM), *_TALK)
_FOUND, _FOUND_MORE = '{"1": "Krul"}  [2]', "Brix, 4 <b>"
_CALLED: Turns = (("user", _ASK), ("assistant", _SAY), ("tool", _FOUND), ("assistant", _SAY_MORE))
_CALLED_TWICE: Turns = (*_CALLED[:3], ("tool", _FOUND_MORE), *_CALLED[3:])
_PROBES: tuple[tuple[Turns, bool], ...] = (
    (_TALK, False),
    (_TALK[:1], False),
    (_TALK[:1], True),
    (_TALK[:2], False),
    (_TALK[:3], True),
    (_ORDERED, False),
    (_ORDERED[:2], True),
    (_ORDERED[:3], False),
    (_ORDERED[:4], True),
)
_TOOL_PROBES: tuple[tuple[Turns, bool], ...] = (
    (_CALLED, False),
    (_CALLED_TWICE, False),
    (_CALLED[:3], True),
    (_CALLED_TWICE[:4], True),
    ((*_CALLED_TWICE[:4], *_CALLED[:3]), True),
)


def recognise(template: str, control: Iterable[str], tokens: Mapping[str, str]) -> ChatFormat | None:
    """The format of a template, or None if no fixed words around the turns give what it gives.

    control: names of the tokenizer's control tokens. tokens: bos_token, eos_token ... by name, which templates may use.
    """
    if len(template) > MAX_TEMPLATE_CHARACTERS:
        return None
    control, written = tuple(control), _run(template, tokens)
    found = None if None in written[:5] else _derive([text or "" for text in written], control, tokens.get("bos_token", ""))
    if found is None:
        return None
    probes = zip(_PROBES, written[: len(_PROBES)], strict=True)
    is_same = all(_text(turns, found, opens) == text for (turns, opens), text in probes if turns[0][0] in found.opening)
    return _with_tools(found, written[len(_PROBES) :], control) if is_same else None


def _run(template: str, tokens: Mapping[str, str]) -> list[str | None]:
    """What the template makes of every probe; None for those it refuses or does not finish in time."""
    probes = [([{"role": role, "content": content} for role, content in turns], opens) for turns, opens in (*_PROBES, *_TOOL_PROBES)]
    request = json.dumps({"template": template, "tokens": dict(tokens), "probes": probes})
    program = [sys.executable, "-P", str(_PROGRAM)]  # -P: the modules beside the program are not its own
    try:
        ended = subprocess.run(program, input=request.encode(), capture_output=True, timeout=_TIMEOUT_S, check=False)
        return json.loads(ended.stdout)
    except (subprocess.TimeoutExpired, ValueError):  # ValueError: it was stopped at a limit and wrote nothing
        return [None] * (len(_PROBES) + len(_TOOL_PROBES))


def _derive(written: Sequence[str], control: Iterable[str], bos: str) -> ChatFormat | None:
    """The format that explains the first probes; it still has to explain the others."""
    pieces = _between(written[0], [content for _, content in _TALK])
    asked = _between(written[1], [_ASK])
    if pieces is None or asked is None:
        return None
    before, turn, next_turn, _, end = pieces
    opening: dict[Role, str] = {"user": next_turn.removeprefix(end), "assistant": turn.removeprefix(asked[1])}
    closing: dict[Role, str] = {"user": asked[1], "assistant": end}
    start, system = before.removesuffix(opening["user"]), ""
    ordered = _between(written[5], [content for _, content in _ORDERED])
    if ordered is not None and ordered[1].endswith(opening["user"]):
        closing["system"] = ordered[1].removesuffix(opening["user"])
        system = start.removeprefix(ordered[0]).removesuffix(closing["system"]) if start.startswith(ordered[0]) else ""
        if system:
            start = bos if start.startswith(bos) and not opening["user"].startswith(bos) else ""
        opening["system"] = ordered[0].removeprefix(start)
    names = sorted(name for name in control if any(name in text for text in (start, *opening.values(), *closing.values())))
    try:
        return ChatFormat(control=tuple(names), start=start, opening=opening, closing=closing, system=system)
    except ConfigError:  # nothing that could end an answer
        return None


def _with_tools(found: ChatFormat, written: Sequence[str | None], control: Iterable[str]) -> ChatFormat:
    """The format with the results of tools as a role of its own, if fixed words stand around them; else as it is."""
    once, twice = (
        _between(text or "", [content for _, content in turns]) for text, (turns, _) in zip(written[:2], _TOOL_PROBES, strict=False)
    )
    if once is None or twice is None:
        return found
    opening, closing = once[2].removeprefix(found.closing["assistant"]), once[3].removesuffix(found.opening["assistant"])
    joint = "" if twice[3] == closing + opening else twice[3]
    names = {name for name in control if any(name in text for text in (opening, closing, joint))}
    with_role = replace(
        found, control=tuple(sorted({*found.control, *names})), opening={**found.opening, "tool": opening},
        closing={**found.closing, "tool": closing}, tools_joint=joint,
    )  # fmt: skip
    probes = zip(_TOOL_PROBES, written, strict=True)
    return with_role if all(_text(turns, with_role, opens) == text for (turns, opens), text in probes) else found


def _between(text: str, contents: Sequence[str]) -> list[str] | None:
    """What stands before, between and after the contents; None if one of them is not there once, in its place."""
    pieces = []
    for content in contents:
        before, found, text = text.partition(content)
        if not found:
            return None
        pieces.append(before)
    return [*pieces, text]


def _text(turns: Turns, chat_format: ChatFormat, opens: bool) -> str:
    """A conversation as the format writes it."""
    if chat_format.system and turns[0][0] != "system":
        turns = (("system", chat_format.system), *turns)
    around = chat_format.around([role for role, _ in turns])
    written = "".join(before + content + after for (before, after), (_, content) in zip(around, turns, strict=True))
    return chat_format.start + written + (chat_format.opening["assistant"] if opens else "")
