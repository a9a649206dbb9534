"""Requests that nobody would send: whatever comes, the server answers below 500, in time, and the next good request as ever.

    python -m scripts.serve_fuzz smollm2 --requests 10000 --seed 1

Each request follows from (seed, its number): fields left out, doubled, of other types and sizes, JSON that is deep, cut off or no JSON,
lines and headers of HTTP that are none, bodies longer or shorter than they say. `--only NUMBER` sends one again and prints it. Between them
good requests must be answered with the words they had at the start, and the server's own log has no traceback. The last line is the
verdict; exit code 1 if anything is not so.

One in twenty leaves the connection open, which the server closes after 10 seconds, so many are sent at a time; ten thousand take about two
minutes. After fifteen no more are sent, and the verdict says how many were.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from scripts.server import NAME, Reply, ask, post, serving

LANES, SLOWEST_S, GOOD_EVERY, TOLD_EVERY = 64, 40.0, 50, 1000
LONGEST_S = 900.0  # of the whole campaign
PATHS = (
    "/v1/chat/completions", "/v1/completions", "/votes", "/v1/models", "/v1/models/one", "/", "/../etc/passwd", "/v1/%00", "/%ff", "*",
    "//", "",
)  # fmt: skip
METHODS = ("POST", "POST", "POST", "GET", "PUT", "DELETE", "OPTIONS", "HEAD", "TRACE", "CONNECT", "PATCH", "post", "\x00", "G" * 3000)
TYPES = (
    "application/json", "application/json; charset=utf-8", "text/plain", "", "application/json, text/html", "\xff", "multipart/form-data",
)  # fmt: skip
TEXTS = (
    "", " ", "a", "one", "user", "\x00", "\ud800", "\U0001f642" * 9, "e\u0301" * 40, "<|end|>", "<|im_end|>", "../../etc/passwd",
    "A" * 5000, "\r\nX: y", "http://localhost:1/", "file:///etc/passwd", "\u202e", "\u2028", "{{7*7}}", "%s%n", "-0", "NaN", "null",
)  # fmt: skip
NUMBERS: tuple[Any, ...] = (
    0, -1, 1, 2, 16, 17, 20, 21, 2**31, 2**31 + 1, 2**63, -(2**63) - 1, 2**80, 10**400, 1e308, -1e308, 1e-5, 0.5, 999999, float("nan"),
    float("inf"),
)  # fmt: skip
FIELDS = (
    "model", "messages", "prompt", "n", "seed", "stop", "temperature", "top_p", "max_tokens", "max_completion_tokens", "stream",
    "stream_options", "logprobs", "top_logprobs", "frequency_penalty", "presence_penalty", "tools", "logit_bias", "response_format", "user",
    "role", "content", "models", "winner", "answers", "__proto__", "echo", "suffix", "best_of", "n_discard", "prompt_logprobs",
)  # fmt: skip
GOOD: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": NAME, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2, "seed": 1},
    "/v1/completions": {"model": NAME, "prompt": "The king", "max_tokens": 2, "seed": 1},
    "/votes": {"models": [NAME, "two"], "winner": "a", "prompt": [{"role": "user", "content": "Hello"}], "answers": ["x", "y"]},
}


@dataclass
class Found:
    """What was seen. problems: in words; empty if all is well."""

    statuses: Counter[int] = field(default_factory=Counter)
    slowest_s: float = 0.0
    problems: list[str] = field(default_factory=list)


def value(draw: random.Random, depth: int = 0) -> Any:
    """Anything that JSON can say, and two numbers that it cannot."""
    kinds: list[Callable[[], Any]] = [
        lambda: None,
        lambda: draw.random() < 0.5,
        lambda: draw.choice(NUMBERS),
        lambda: draw.choice(TEXTS),
        lambda: "".join(chr(draw.randrange(0x250)) for _ in range(draw.randrange(30))),
    ]
    if depth < 4:
        kinds.append(lambda: [value(draw, depth + 1) for _ in range(draw.randrange(5))])
        kinds.append(lambda: {draw.choice((*FIELDS, *TEXTS)): value(draw, depth + 1) for _ in range(draw.randrange(4))})
        kinds.append(
            lambda: [{"role": draw.choice(("user", "system", "tool", "boss", None)), "content": value(draw, depth + 1)}] * draw.randrange(4)
        )
    return draw.choice(kinds)()


def body(draw: random.Random, path: str) -> bytes:
    """The body of a request: a good one with fields changed, or none at all."""
    kind = draw.random()
    if kind < 0.7:
        content = {**GOOD.get(path, GOOD["/v1/completions"])}
        for _ in range(draw.randrange(4)):
            content[draw.choice(FIELDS)] = value(draw)
        if draw.random() < 0.2:
            content.pop(draw.choice(list(content)))
        return json.dumps(content).encode()
    if kind < 0.75:
        return b"[" * draw.choice((10, 1000, 100_000)) + b"]" * draw.choice((0, 10))
    if kind < 0.8:
        return b'{"a":' * draw.choice((10, 5000)) + b"1" + b"}" * 10
    if kind < 0.85:
        return json.dumps(GOOD["/v1/completions"]).encode()[: draw.randrange(60)]
    if kind < 0.9:
        return draw.randbytes(draw.choice((1, 100, 5000)))
    if kind < 0.93:
        return b" " * draw.choice((1 << 20, (1 << 20) + 1, 3 << 20))
    if kind < 0.96:
        return json.dumps({**GOOD["/v1/completions"], "stop": ["x"] * 10_000}).encode()
    return json.dumps(value(draw)).encode()


def request(seed: int, number: int) -> bytes:
    """The bytes of one request."""
    draw = random.Random(f"{seed} {number}")
    path = draw.choice(PATHS[:3]) if draw.random() < 0.8 else draw.choice(PATHS)
    content = body(draw, path)
    if draw.random() < 0.75:
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n".encode()
        return head + f"Connection: close\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content
    lines = [f"{draw.choice(METHODS)} {path} {draw.choice(('HTTP/1.1', 'HTTP/1.0', 'HTTP/2.0', 'HTTP/9', ''))}"]
    lines += [f"Host: {draw.choice(('127.0.0.1', 'localhost', 'evil.example', '', '127.0.0.1:x', '[::1]'))}"] * draw.choice((0, 1, 1, 1, 2))
    lines += [f"Content-Type: {draw.choice(TYPES)}"] * draw.choice((0, 1, 1, 1, 2))
    lines += draw.choice(
        ([], [], ["Origin: http://evil.example"], ["Authorization: Bearer \xff"], ["X: " + "y" * 70_000], ["bad header"], ["X : y"])
    )
    lines += draw.choice(
        ([], ["Expect: 100-continue"], ["Upgrade: websocket", "Connection: Upgrade"], ["Range: bytes=0-"], ["Accept-Encoding: gzip"])
    )
    length = draw.choice((len(content), len(content), max(0, len(content) - 5), 0, -1, "x", 10**30))
    lines += [] if draw.random() < 0.1 else [f"Content-Length: {length}"]
    if draw.random() < 0.15:
        lines += ["Transfer-Encoding: " + draw.choice(("chunked", "gzip", "chunked, chunked"))]
        content = draw.choice((b"5\r\nhello\r\n0\r\n\r\n", b"zz\r\n", b"ffffffffffffffff\r\nx", b"0\r\n\r\n", b"-1\r\n\r\n"))
    if draw.random() < 0.7:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + content


async def fuzz(port: int, requests: int, seed: int, name: str = NAME, *, longest_s: float = LONGEST_S) -> Found:
    """Send them, so many at a time, as long as there is time."""
    found, numbers, begun = Found(), iter(range(requests)), time.monotonic()
    good = post("/v1/completions", {**GOOD["/v1/completions"], "model": name})
    expected = _words((await ask(port, good)).body)

    async def lane() -> None:
        for number in numbers:
            await _one(port, request(seed, number), number, found)
            if number % GOOD_EVERY == 0 and _words((again := await _answered(port, good)).body) != expected:
                found.problems.append(f"after request {number} a good one was answered {again.status} {again.body[:200]!r}")
            if (number + 1) % TOLD_EVERY == 0:
                print(f"{number + 1:,} of {requests:,} sent after {time.monotonic() - begun:.0f} s", flush=True)
            if time.monotonic() - begun > longest_s:
                break

    await asyncio.gather(*(lane() for _ in range(LANES)))
    if left := len(list(numbers)):
        found.problems.append(
            f"{left:,} of {requests:,} were not sent within {longest_s:.0f} s: this machine is too slow, or does other work"
        )
    return found


async def _one(port: int, sent: bytes, number: int, found: Found) -> None:
    begun = time.monotonic()
    try:
        reply = await ask(port, sent, SLOWEST_S)
    except TimeoutError:
        found.problems.append(f"request {number}: nothing came within {SLOWEST_S:.0f} s")
        return
    found.slowest_s = max(found.slowest_s, time.monotonic() - begun)
    found.statuses[reply.status] += 1
    if reply.status >= 500 or b"HTTP/1.1 5" in reply.body:  # also to what was taken for a second request
        found.problems.append(f"request {number}: {reply.status} {reply.body[:200]!r}")


async def _answered(port: int, good: bytes) -> Reply:
    """The answer to a good request, asked again while there are too many others."""
    while (reply := await ask(port, good)).status == 429:
        await asyncio.sleep(float(reply.headers["retry-after"]))
    return reply


def tracebacks(log: str) -> list[str]:
    """The last line of each traceback in a log; none for what the server says in words."""
    found = []
    for part in log.split("Traceback (most recent call last):\n")[1:]:
        own = [line for line in part.splitlines() if line and not line.startswith(" ")]
        found.append(f"the server's log has a traceback: {own[0] if own else '?'}")
    return found


def _words(reply: bytes) -> Any:
    try:
        return json.loads(reply)["choices"]
    except (ValueError, KeyError):
        return None


def main() -> int:
    """Serve, send, judge; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("model", nargs="?", default="smollm2")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="one request, by its number")
    chosen = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryFile("w+") as log:
        with serving(chosen.model, "--context", "128", "--deadline-s", "20", "--waiting", "256", log=log) as (port, _):
            if chosen.only is not None:
                sent = request(chosen.seed, chosen.only)
                print(sent[:2000])
                print(asyncio.run(ask(port, sent, SLOWEST_S)))
                return 0
            found = asyncio.run(fuzz(port, chosen.requests, chosen.seed))
        log.seek(0)
        found.problems += tracebacks(log.read())
    for problem in found.problems[:20]:
        print(f"PROBLEM {problem}")
    statuses = ", ".join(f"{status} {count:,}" for status, count in sorted(found.statuses.items()))
    print(
        f"VERDICT: {f'{len(found.problems)} problems' if found.problems else 'all well'}: {found.statuses.total():,} requests of seed"
        f" {chosen.seed} in {time.monotonic() - begun:.0f} s, the slowest {found.slowest_s:.1f} s; by status (0: closed): {statuses}"
    )
    return int(bool(found.problems))


if __name__ == "__main__":
    sys.exit(main())
