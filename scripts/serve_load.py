"""Many clients at once: nothing fails, nobody gets another answer than alone, memory stays, and who only holds the line open slows nobody.

    python -m scripts.serve_load smollm2 --seconds 120

Three parts: --clients stream greedy chats for --seconds and each answer is compared with the one that was given alone; a burst of more than
the server may hold, of which the rest is told 429 with Retry-After; and 500 connections that never finish their request, beside which
good users' times are compared with those without, in turns. What is not the --seconds takes less than a minute on two quiet cores and is
given up after four: then the machine is too slow or too busy to be measured, which is told. The last line is the verdict; exit code 1
if anything is not so.
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
REST_S = 240.0  # for all that is not the load
HALF_OPEN, TURNS = 500, 4


@dataclass
class Found:
    """What was seen. firsts: seconds to the first text. seen: lines of the verdict. problems: in words; empty if all is well."""

    counts: Counter[str] = field(default_factory=Counter)
    firsts: list[float] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def see(self, line: str) -> None:
        """Tell it now and in the verdict."""
        self.seen.append(line)
        tell(line)


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


async def beside_half_open(port: int, count: int, tokens: int, found: Found, *, asks: int = 4) -> tuple[float, float]:
    """Seconds of one user's answer, the median of both, without and with so many connections that never finish a request, in turns."""
    without: list[float] = []
    beside: list[float] = []
    for _ in range(TURNS):
        without += await _times(port, tokens, asks)
        async with AsyncExitStack() as held:
            half = [await held.enter_async_context(connected(port)) for _ in range(count)]
            for number, (_, writer) in enumerate(half):
                writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "[: number % 60])
            beside += await _times(port, tokens, asks)
            found.counts["half open to the end"] += sum(not reader.at_eof() and reader.exception() is None for reader, _ in half)
    alone_s, beside_s = statistics.median(without), statistics.median(beside)
    if beside_s > MOST_SLOWER * alone_s:
        found.problems.append(f"beside {count} half-open connections an answer takes {beside_s:.3f} s, without {alone_s:.3f} s")
    return alone_s, beside_s


async def _asked(port: int, question: str, tokens: int, found: Found) -> Reply | None:
    try:
        return await ask(port, request(question, tokens), 120)
    except (OSError, TimeoutError) as error:
        found.problems.append(f"{type(error).__name__}: {error}")
        return None


async def _times(port: int, tokens: int, asks: int) -> list[float]:
    times = []
    for number in range(asks):
        begun = time.monotonic()
        await ask(port, request(QUESTIONS[number % len(QUESTIONS)], tokens))
        times.append(time.monotonic() - begun)
    return times


async def campaign(port: int, pid: int, *, clients: int, seconds: float, tokens: int, rest_s: float = REST_S) -> Found:
    """All of it, which ends `rest_s` seconds after so many seconds of load at the latest."""
    found = Found()
    try:
        async with asyncio.timeout(seconds + rest_s):
            await _parts(port, pid, found, clients=clients, seconds=seconds, tokens=tokens)
    except TimeoutError:
        found.problems.append(f"what is not the load was not done within {rest_s:.0f} s: this machine is too slow, or does other work")
    return found


async def _parts(port: int, pid: int, found: Found, *, clients: int, seconds: float, tokens: int) -> None:
    begun = time.monotonic()
    expected = await alone(port, tokens)
    alone_s = (time.monotonic() - begun) / len(expected)
    tell(f"{len(expected)} questions, one after the other: {alone_s:.2f} s an answer of up to {tokens} tokens")
    memory = [resident_mb(pid)]
    for _ in range(2):
        begun, before = time.monotonic(), found.counts["answers"]
        await crowd(port, expected, clients=clients, seconds=seconds / 2, tokens=tokens, found=found)
        took = time.monotonic() - begun
        memory.append(resident_mb(pid))
        rate = (found.counts["answers"] - before) / took
        tell(f"{clients} clients for {took:.0f} s: {rate:.1f} answers/s; {dict(found.counts)} so far, {len(found.problems)} problems")
    if found.firsts:
        first = f"first text after {statistics.median(found.firsts):.2f} s, at most {max(found.firsts):.2f}"
        found.see(f"{found.counts['answers']:,} answers to {clients} clients, {first}")
    else:
        found.problems.append("nobody of the crowd was answered")
    found.see(f"memory {', '.join(f'{size:,.0f}' for size in memory)} MB at the start, in the middle, at the end")
    if memory[2] > MOST_GROWTH * memory[1]:
        found.problems.append(f"memory grows by {memory[2] / memory[1] - 1:.1%} in the second half")
    most = 2 * (ROWS + WAITING)
    await burst(port, most, tokens, found)
    found.see(f"of a burst of {most} {found.counts['burst 200']} were answered and {found.counts['burst 429']} told 429")
    without, beside = await beside_half_open(port, HALF_OPEN, tokens, found)
    of_those = f"{found.counts['half open to the end']:,} of {TURNS * HALF_OPEN:,} held to the end"
    found.see(f"an answer takes {beside / without:.2f} times as long beside {HALF_OPEN} half-open connections ({beside:.3f} s; {of_those})")
    if await alone(port, tokens) != expected:
        found.problems.append("afterwards a question is answered otherwise than before")


def tell(line: str) -> None:
    """Say it at once: who watches wants to know that it goes on."""
    print(line, flush=True)


def main() -> int:
    """Serve, load, judge; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("model", nargs="?", default="smollm2")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=16)
    chosen = parser.parse_args()
    with serving(chosen.model, "--rows", str(ROWS), "--waiting", str(WAITING), "--context", "256") as (port, pid):
        found = asyncio.run(campaign(port, pid, clients=chosen.clients, seconds=chosen.seconds, tokens=chosen.tokens))
    for problem in found.problems[:20]:
        tell(f"PROBLEM {problem}")
    tell(f"VERDICT: {f'{len(found.problems)} problems' if found.problems else 'all well'}: {'; '.join(found.seen)}")
    return int(bool(found.problems))


if __name__ == "__main__":
    sys.exit(main())
