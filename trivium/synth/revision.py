"""What a model is asked in a chain of critiques and revisions, as turns of a chat or as one transcript.

Bai et al. 2022, arXiv:2212.08073, section 3.1: the answer, a critique request and the critique, a revision request and the revision, which
takes the answer's place in the next round; examples stand before. In a transcript, for base models, each part stands behind a blank line
and its name, as published: Human, Assistant, CritiqueRequest, Critique, RevisionRequest, Revision. Difference: what somebody says can not
begin such a part itself; a line that would is joined to the one before.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from trivium.core.types import Message, Role
from trivium.synth.constitution import Constitution, Principle
from trivium.text.write import plain_turns

Label = Literal["Human", "Assistant", "CritiqueRequest", "Critique", "RevisionRequest", "Revision"]
Script = tuple[tuple[Label, str], ...]  # who says what, in order
ROLES: dict[Label, Role] = {
    "Human": "user", "Assistant": "assistant", "CritiqueRequest": "user", "Critique": "assistant", "RevisionRequest": "user",
    "Revision": "assistant",
}  # fmt: skip
_LABELS = "|".join(ROLES)
_FORGED = re.compile(rf"\s*\n\s*(?=(?:{_LABELS}):)")
_NEXT = re.compile(rf"\n\s*(?:{_LABELS}):")


@dataclass(frozen=True, slots=True)
class Chain:
    """A prompt, the answer as it is now, and the principle of the round."""

    prompt: tuple[Message, ...]
    response: str
    principle: Principle

    def critique_script(self) -> Script:
        """Up to where the critique begins."""
        return (*said(self.prompt), ("Assistant", self.response), ("CritiqueRequest", self.principle.critique))

    def revision_script(self, critique: str) -> Script:
        """Up to where the revision begins."""
        return (*self.critique_script(), ("Critique", critique), ("RevisionRequest", self.principle.revision))


def examples(constitution: Constitution) -> Script:
    """The constitution's examples, one after the other."""
    parts: list[tuple[Label, str]] = []
    for example in constitution.revised:
        chain = Chain((Message("user", example.prompt),), example.response, constitution.named(example.principle))
        parts += [*chain.revision_script(example.critique), ("Revision", example.revision)]
    return tuple(parts)


def as_chat(prompt: Sequence[Message], shown: Script, script: Script) -> tuple[Message, ...]:
    """Turns of a chat: the prompt's system turns, what is shown before, and the script."""
    return (*(turn for turn in prompt if turn.role == "system"), *(Message(ROLES[label], text) for label, text in (*shown, *script)))


def as_transcript(prompt: Sequence[Message], shown: Script, script: Script, label: Label) -> str:
    """The same as a text that goes on with what `label` says."""
    system = "\n\n".join(turn.content for turn in prompt if turn.role == "system")
    parts = "".join(f"\n\n{who}: {_FORGED.sub(' ', text).strip()}" for who, text in (*shown, *script))
    return f"{_FORGED.sub(' ', system)}{parts}\n\n{label}:"


def spoken(text: str) -> str:
    """What a transcript's continuation says before another part begins."""
    return _NEXT.split(text, maxsplit=1)[0].strip()


def is_over(text: str) -> bool:
    """Whether another part has begun."""
    return _NEXT.search(text) is not None


def said(prompt: Sequence[Message]) -> Script:
    """The turns of a prompt but for the system's; a tool's result is told by the user."""
    return tuple(("Assistant" if turn.role == "assistant" else "Human", turn.content) for turn in prompt if turn.role != "system")


def revised_rows(row: Mapping[str, Any], learn: Literal["final", "all"]) -> list[dict[str, Any]]:
    """The conversations of a row of chains (see `Critique`) that end with the last revision, or with each; none if none was taken.

    Of the assistant only that counts, not what it says in the prompt.
    """
    taken = [each for each in row["rounds"] if each["is_taken"]]
    prompt = [{**turn, "weight": 0.0} if turn["role"] == "assistant" else turn for turn in row["prompt"]]
    return [
        {"messages": [*prompt, {"role": "assistant", "content": each["answer"]}], "principle": each["principle"]}
        for each in (taken if learn == "all" else taken[-1:])
    ]


def round_rows(row: Mapping[str, Any], constitution: Constitution) -> list[dict[str, Any]]:
    """Each round whose revision was taken as a conversation, of which the critique and the revision count, and nothing before them."""
    prompt = tuple(Message(turn["role"], turn["content"]) for turn in row["prompt"])
    found, response = [], row["response"]
    for each in row["rounds"]:
        if each["is_taken"]:
            chain = Chain(prompt, response, constitution.named(each["principle"]))
            script: Script = (*chain.revision_script(each["critique"]), ("Revision", each["answer"]))
            *before, asked, critique, asked_again, revision = as_chat(prompt, (), script)
            unlearned = [replace(turn, weight=0.0) if turn.role == "assistant" else turn for turn in before]
            turns = plain_turns([*unlearned, asked, critique, asked_again, revision])
            found.append({"messages": turns, "principle": each["principle"]})
        response = each["answer"]
    return found
