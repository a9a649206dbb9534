"""Many clients at once: nothing fails, nobody gets another answer than alone, memory stays, and who only holds the line open slows nobody.

    python -m scripts.serve_load smollm2 --seconds 120

Three parts: --clients stream greedy chats for --seconds and each answer is compared with the one that was given alone; a burst of more than
the server may hold, of which the rest is told 429 with Retry-After; and 500 connections that never finish their request, beside which
good users' times are compared with those without. Exit code 1 if anything is not so.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from scripts.server import NAME, Reply, ask, connected, post, resident_mb, serving

QUESTIONS = [f"What is {thing}?" for thing in ("a king", "rain", "an axiom", "bread", "a ship", "a law", "water", "tea")]
ROWS, WAITING = 16, 64
MOST_GROWTH, MOST_SLOWER = 1.05, 1.5


@dataclass
class Found:
    """What was seen. problems: in words; empty if all is well."""

    counts: Counter[str] = field(default_factory=Counter)
    firsts: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def request(question: str, tokens: int, name: str = NAME) -> bytes:
    """A greedy chat, streamed."""
    turns = [{"role": "user", "content": question}]
    return post("/v1/chat/completions", {"model": name, "messages": turns, "temperature": 0, "max_tokens": tokens, "stream": True})


async def alone(port: int, tokens: int) -> dict[str, str]:
    """What each question is answered when nobody else asks."""
    return {question: (await ask(port, request(question, tokens))).text for question in QUESTIONS}


async def crowd(port: int, expected: dict[str, str], *, clients: int, seconds: float, tokens: int, found: Found) -> None:
    """So many clients at once, each asking again when it was answered."""
    end = time.monotonic() + seconds

    async def client(number: int) -> None:
        while time.monotonic() < end:
            question = QUESTIONS[number % len(QUESTIONS)]
            number += 1
            reply = await _asked(port, question, tokens, found)
            if reply is None:
                continue
            if reply.status == 429:
                found.counts["429"] += 1
                await asyncio.sleep(float(reply.headers.get("retry-after", "1")))
            elif reply.status != 200 or not reply.body.rstrip().endswith(b"0") or b"[DONE]" not in reply.body:
                found.problems.append(f"{reply.status}, {len(reply.body)} bytes, ends {reply.body[-60:]!r}")
            else:
                found.counts["answers"] += 1
                found.firsts.append(reply.first_s)
                if reply.text != expected[question]:
                    found.problems.append(f"{question!r} was answered {reply.text!r}, alone {expected[question]!r}")

    await asyncio.gather(*(client(number) for number in range(clients)))


async def burst(port: int, count: int, tokens: int, found: Found) -> None:
    """More at once than the server may hold: some are answered, the rest is told when to come back."""
    replies = await asyncio.gather(*(_asked(port, QUESTIONS[number % len(QUESTIONS)], tokens, found) for number in range(count)))
    there = [reply for reply in replies if reply is not None]
    statuses = Counter(reply.status for reply in there)
    found.counts.update({f"burst {status}": number for status, number in statuses.items()})
    if set(statuses) != {200, 429}:
        found.problems.append(f"a burst of {count} was told {dict(statuses)}; 200 and 429 were expected")
    if not all(reply.headers.get("retry-after", "").isdigit() for reply in there if reply.status == 429):
        found.problems.append("a 429 has no Retry-After")


async def beside_half_open(port: int, count: int, tokens: int, found: Found, *, asks: int = 16) -> tuple[float, float]:
    """Seconds of one user's answers, the 95th of a hundred, without and with so many connections that never finish a request."""
    before = await _times(port, tokens, asks)
    async with AsyncExitStack() as held:
        half = [await held.enter_async_context(connected(port)) for _ in range(count)]
        for number, (_, writer) in enumerate(half):
            writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "[: number % 60])
        beside = await _times(port, tokens, asks)
    if beside > MOST_SLOWER * before:
        found.problems.append(f"beside {count} half-open connections an answer takes {beside:.3f} s, alone {before:.3f} s")
    return before, beside


async def _asked(port: int, question: str, tokens: int, found: Found) -> Reply | None:
    try:
        return await ask(port, request(question, tokens), 120)
    except (OSError, TimeoutError) as error:
        found.problems.append(f"{type(error).__name__}: {error}")
        return None


async def _times(port: int, tokens: int, asks: int) -> float:
    times = []
    for number in range(asks):
        begun = time.monotonic()
        await ask(port, request(QUESTIONS[number % len(QUESTIONS)], tokens))
        times.append(time.monotonic() - begun)
    return statistics.quantiles(times, n=20)[-1]


async def campaign(port: int, pid: int, *, clients: int, seconds: float, tokens: int) -> list[str]:
    """All of it; the problems, in words."""
    found, begun = Found(), time.monotonic()
    expected = await alone(port, tokens)
    print(f"{len(expected)} questions, alone, took {time.monotonic() - begun:.1f} s")
    memory = [resident_mb(pid)]
    for _ in range(2):
        await crowd(port, expected, clients=clients, seconds=seconds / 2, tokens=tokens, found=found)
        memory.append(resident_mb(pid))
        print(f"{clients} clients for {seconds / 2:.0f} s: {dict(found.counts)} so far, {len(found.problems)} problems")
    if found.firsts:
        print(f"first text after {statistics.median(found.firsts):.2f} s in the median, {max(found.firsts):.2f} s at most")
    print("memory at the start, in the middle, at the end: " + ", ".join(f"{size:,.0f} MB" for size in memory))
    if memory[2] > MOST_GROWTH * memory[1]:
        found.problems.append("memory grows")
    await burst(port, 2 * (ROWS + WAITING), tokens, found)
    print({name: count for name, count in found.counts.items() if name.startswith("burst")})
    before, beside = await beside_half_open(port, 500, tokens, found)
    print(f"an answer (p95) takes {before:.3f} s, beside 500 half-open connections {beside:.3f} s: {beside / before:.2f} times")
    if await alone(port, tokens) != expected:
        found.problems.append("afterwards a question is answered otherwise than before")
    return found.problems


def main() -> int:
    """Serve, load, judge; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("model", nargs="?", default="smollm2")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=16)
    chosen = parser.parse_args()
    with serving(chosen.model, "--rows", str(ROWS), "--waiting", str(WAITING), "--context", "256") as (port, pid):
        problems = asyncio.run(campaign(port, pid, clients=chosen.clients, seconds=chosen.seconds, tokens=chosen.tokens))
    for problem in problems[:20]:
        print(f"PROBLEM {problem}")
    print(f"{len(problems)} problems" if problems else "all well")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
