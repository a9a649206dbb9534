"""A server that a script starts, and a client that says what it says byte by byte: one request a connection."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

HOST, NAME = "127.0.0.1", "one"
STARTING_S = 120.0


@dataclass(frozen=True, slots=True)
class Reply:
    """status: 0 if the connection was closed without one."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    first_s: float  # until the first text of an answer; until the end if none came

    @property
    def text(self) -> str:
        """All text of a stream."""
        events = [json.loads(line[6:]) for line in self.body.split(b"\n") if line.startswith(b"data: {")]
        return "".join(choice["delta"].get("content", "") for event in events for choice in event["choices"])


@contextmanager
def serving(model: str, *options: str, log: IO[str] | None = None) -> Iterator[tuple[int, int]]:
    """The port and the process id of `trivium serve one=MODEL OPTIONS`. log: gets what it says on stderr."""
    with socket.create_server((HOST, 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "trivium.cli", "serve", f"{NAME}={model}", "--port", str(port), *options]
    process = subprocess.Popen(command, stderr=log)
    try:
        end = time.monotonic() + STARTING_S
        while True:
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < end, "the server did not start"
            with suppress(OSError), socket.create_connection((HOST, port), timeout=1) as connection:  # it listens before it has loaded
                connection.settimeout(STARTING_S)
                connection.sendall(f"GET /v1/models HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
                if connection.recv(1 << 12).startswith(b"HTTP/1.1 200"):
                    break
            time.sleep(0.1)
        yield port, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def post(path: str, body: Any) -> bytes:
    """A request."""
    text = json.dumps(body).encode()
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: {HOST}",
        "Content-Type: application/json",
        "Connection: close",
        f"Content-Length: {len(text)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + text


async def ask(port: int, request: bytes, seconds: float = 60.0) -> Reply:
    """Send a request and read to the end. Raises TimeoutError after so many seconds."""
    begun, first = time.monotonic(), 0.0
    found = bytearray()
    async with asyncio.timeout(seconds), connected(port) as (reader, writer):
        with suppress(ConnectionError):  # it may be refused before it is read
            writer.write(request)
            await writer.drain()
        with suppress(ConnectionError):
            while chunk := await reader.read(1 << 16):
                found += chunk
                if not first and b'"content": "' in found.replace(b'"content": ""', b""):
                    first = time.monotonic() - begun
    head, _, body = bytes(found).partition(b"\r\n\r\n")
    first_line, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    status = int(first_line.split()[1]) if first_line.startswith("HTTP/") else 0
    return Reply(status, headers, body, first or time.monotonic() - begun)


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection, closed in the end."""
    reader, writer = await asyncio.open_connection(HOST, port, limit=1 << 22)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def resident_mb(pid: int) -> float:
    """What a process holds in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
