"""A person judges in the terminal: two answers to a prompt, unnamed and in an order that a seed draws; every vote is a match on disk.

The same command goes on where it was left: what was voted on is not asked again. docs/serving.md has the judge in the browser.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from trivium.core.errors import ConfigError, DataError
from trivium.core.seeds import generator
from trivium.core.types import Match, Message
from trivium.stages.use.person import END, SCORES, Terminal
from trivium.stages.use.votes import Votes
from trivium.text.read import check_head, read_conversations

Turns = tuple[Message, ...]
QUESTION = "which is better? a, b, t (they are equal), s (skip), q (stop): "


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers to a prompt in the order in which they are shown."""

    prompt: Turns
    models: tuple[str, str]
    answers: tuple[str, str]

    @property
    def name(self) -> tuple[Turns, frozenset[str]]:
        """The same in either order."""
        return self.prompt, frozenset(self.models)


def judge(files: Sequence[str], votes: Path, *, seed: int) -> str:
    """Ask about every pair that nobody has voted on, until the end of input; says what is left.

    files: NAME=FILE with answers of a model, as `generate` leaves them, or any file of conversations. Raises ConfigError: fewer than two
    names; DataError: no prompt that two of them answer.
    """
    terminal = Terminal()
    every = _pairs(_read(files), seed)
    given = Votes(votes)
    done = {(match.prompt, frozenset(match.models)) for match in given.given()}
    left = [pair for pair in every if pair.name not in done]
    count = 0
    for number, pair in enumerate(left, start=len(every) - len(left) + 1):
        terminal.show(pair.prompt, pair.answers, head=f"{number:,} of {len(every):,}")
        said = terminal.ask(QUESTION, (*SCORES, "s"))
        if said == END:
            break
        if said in SCORES:
            given.add(Match(pair.models, SCORES[said], pair.prompt, pair.answers))
            count += 1
    return f"{count:,} votes in {given.path}, {len(left) - count:,} of {len(every):,} pairs are left"


def _read(files: Sequence[str]) -> dict[str, dict[Turns, str]]:
    """Name -> prompt -> answer."""
    found: dict[str, dict[Turns, str]] = {}
    for text in files:
        name, given, file = text.partition("=")
        if not given or not name or name in found:
            raise ConfigError(f"{text}: give each model's answers once, as NAME=FILE")
        check_head(file, "conversations")
        chats = (chat.messages for chat in read_conversations(file))
        found[name] = {_plain(turns[:-1]): turns[-1].content for turns in chats if turns[-1].role == "assistant"}
    if len(found) < 2:
        raise ConfigError("give the answers of at least two models, each as NAME=FILE")
    return found


def _pairs(answers: Mapping[str, Mapping[Turns, str]], seed: int) -> list[Pair]:
    """All pairs of different answers, in an order of their own, each in one of its two orders: both depend on the seed alone."""
    found = [
        Pair(prompt, (a, b), (answers[a][prompt], answers[b][prompt]))
        for a, b in combinations(sorted(answers), 2)
        for prompt in answers[a]
        if prompt in answers[b] and answers[a][prompt] != answers[b][prompt]
    ]
    if not found:
        raise DataError("no prompt has different answers of two models; the files must answer the same prompts")
    draw = generator(seed, "human judge")
    is_swapped = draw.random(len(found)) < 0.5
    order = draw.permutation(len(found))
    shown = [
        Pair(pair.prompt, pair.models[::-1], pair.answers[::-1]) if swap else pair for pair, swap in zip(found, is_swapped, strict=True)
    ]
    return [shown[place] for place in order]


def _plain(turns: Sequence[Message]) -> Turns:
    return tuple(Message(turn.role, turn.content) for turn in turns)
