"""A contest: contestants in processes of their own take turns at the same work, so that what disturbs the machine disturbs all alike."""

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from threading import Timer
from typing import Any, TextIO

from benchmarks.table import Line

ROOT = Path(__file__).parents[1]
PEERS = Path(__file__).parent / "peers"
_TIMEOUT_S = 3600


class Failed(Exception):
    """A contestant that could not do the work, and why, in one line."""


@dataclass(frozen=True, slots=True, eq=False)
class Contestant:
    """A name, the command that starts it, and the options it gets as JSON. Ours have `is_ours`."""

    name: str
    command: tuple[str, ...]
    options: dict[str, Any]
    is_ours: bool = False


def able(contestants: Iterable[Contestant], slow: Mapping[str, float]) -> list[Contestant]:
    """Those that do not multiply in a precision that is hopeless here (ceiling.py); tells who is left out."""
    left = []
    for one in contestants:
        asked = {one.options["precision"], *({"int8"} if one.options.get("products") == "int8" else ())}
        for products in sorted(asked & slow.keys()):
            print(f"{one.name}: left out, products in {products} are {slow[products]:.0f} times slower than in float32 here", flush=True)
        if not asked & slow.keys():
            left.append(one)
    return left


class Talk:
    """A running contestant; a context manager. `ready` is what it said of itself when it was."""

    def __init__(self, contestant: Contestant) -> None:
        self.name = contestant.name
        self._errors: TextIO = tempfile.TemporaryFile("w+")  # noqa: SIM115 (it lives as long as the process)
        self._process = subprocess.Popen(
            [*contestant.command, json.dumps(contestant.options)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True,
        )  # fmt: skip
        try:
            self.ready = self._read()
        except Failed:
            self.close()
            raise

    def __enter__(self) -> "Talk":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Say that nothing more is wanted, and wait for the end."""
        self._process.communicate()
        self._errors.close()

    def ask(self, **request: Any) -> dict[str, Any]:
        """The answer to one request. Raises Failed if the contestant ended instead."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise Failed(self._why()) from None
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        patience = Timer(_TIMEOUT_S, self._process.kill)
        patience.start()
        line = self._process.stdout.readline()
        patience.cancel()
        if not line:
            self._process.wait()
            raise Failed(self._why())
        return json.loads(line)

    def _why(self) -> str:
        if (self._process.returncode or 0) < 0:  # its last words say nothing about it
            return f"it was ended by signal {-self._process.returncode}{' (no memory left?)' if self._process.returncode == -9 else ''}"
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors.read().splitlines() if line.strip()]
        return (lines or [f"it ended with code {self._process.returncode}"])[-1][:200]


@dataclass(slots=True)
class Score:
    """What a contestant did: the answers to its requests by the name of the work, or why there are none."""

    contestant: Contestant
    versions: dict[str, str] = field(default_factory=dict)
    answers: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    failed: str = ""

    def rate(self, work: str, amount: float) -> float:
        """`amount` of something a step, over the median time of all steps of this work: a second's worth of it."""
        return amount / median(second for answer in self.answers[work] for second in answer["seconds"])

    def rates(self, work: str, amount: float) -> list[float]:
        """The same of every round alone, for the spread."""
        return [amount / median(answer["seconds"]) for answer in self.answers[work]]

    def line(self, work: str, amount: float, notes: Callable[["Score", float], Mapping[str, str]] = lambda *_: {}) -> Line:
        """Its line in the table of a work: the rate and the spread of its rounds, or why there is none. notes: its further columns."""
        name, is_ours = self.contestant.name, self.contestant.is_ours
        if self.failed or work not in self.answers:
            return Line(name, is_ours, failed=self.failed or "not asked")
        rate, rates = self.rate(work, amount), self.rates(work, amount)
        return Line(name, is_ours, rate, min(rates), max(rates), notes=notes(self, rate))

    def peak_bytes(self, work: str) -> int:
        """The most memory that it held, 0 if it does not say."""
        return max(answer.get("peak_bytes", 0) for answer in self.answers[work])


def take_turns(
    contestants: Sequence[Contestant], works: dict[str, dict[str, Any]], *, rounds: int, warm_up: Mapping[str, Any] | None = None
) -> list[Score]:
    """Let all contestants do each of the works once to warm up, then `rounds` times in turns. Whoever fails is out, with the reason.

    warm_up: what is asked otherwise in the first round, which does not count.
    """
    scores, talks = [Score(contestant) for contestant in contestants], {}
    try:
        for number in range(rounds + 1):
            for work, request in works.items():
                for score in _in_turn(scores, number):
                    print(f"round {number} of {rounds}: {score.contestant.name}, {work}", flush=True)
                    _one_turn(score, talks, work, request if number else request | dict(warm_up or {}), is_warm_up=number == 0)
    finally:
        for talk in talks.values():
            talk.close()
    return scores


def one_by_one(contestants: Sequence[Contestant], works: dict[str, dict[str, Any]], *, rounds: int) -> list[Score]:
    """Let each contestant do all of its rounds alone: on a GPU, whose memory they would have to share, and where nobody else disturbs."""
    return [score for contestant in contestants for score in take_turns([contestant], works, rounds=rounds)]


def _in_turn(scores: list[Score], number: int) -> Iterable[Score]:
    """Those still in; every other round backwards, so that nobody always follows the same one."""
    return [score for score in (scores if number % 2 == 0 else reversed(scores)) if not score.failed]


def _one_turn(score: Score, talks: dict[str, Talk], work: str, request: dict[str, Any], *, is_warm_up: bool) -> None:
    name = score.contestant.name
    try:
        if name not in talks:
            talks[name] = Talk(score.contestant)
            score.versions = talks[name].ready.get("versions", {})
        answer = talks[name].ask(**request)
    except Failed as error:
        score.failed = str(error)
        return
    if not is_warm_up:
        score.answers.setdefault(work, []).append(answer)
