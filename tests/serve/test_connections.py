"""Real connections: clients that go, are slow, or never ask."""

import json
import logging
import socket
import threading
from contextlib import ExitStack, suppress

import pytest

from tests.serve.conftest import listening, make_worker, until
from trivium.serve import app, body, protocol, told

LONG = {"model": "one", "prompt": "the king", "max_tokens": 50, "seed": 1, "n": 2, "stream": True}


def request(content: dict, path: str = "/v1/completions") -> bytes:
    text = json.dumps(content).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
    return head.encode() + text


@pytest.fixture
def connected():
    """Makes connections to a port; they are closed in the end."""
    with ExitStack() as made:

        def connect(port: int) -> socket.socket:
            connection = made.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            connection.settimeout(10)
            return connection

        yield connect


def everything(connection: socket.socket) -> bytes:
    found = b""
    with suppress(ConnectionResetError):
        while chunk := connection.recv(1 << 16):
            found += chunk
    return found


def held_at(worker, number: int) -> tuple[threading.Event, list[int]]:
    """Lets the models say so many tokens, then wait until told. Every step is counted."""
    go_on, steps = threading.Event(), []
    for job in worker._jobs.values():
        step = job.step

        def counted(step=step) -> None:
            if len(steps) >= number:
                go_on.wait(10)
            steps.append(1)
            step()

        job.step = counted
    return go_on, steps


def test_who_goes_is_not_answered_on(connected):
    for is_streamed in (True, False):
        worker = make_worker()
        go_on, steps = held_at(worker, 4)
        with listening(worker) as port:
            connection = connected(port)
            connection.sendall(request(LONG | {"stream": is_streamed, "max_tokens": 60}))
            until(lambda: worker.open == 2 and len(steps) == 4)  # noqa: B023
            connection.close()
            requests = [row.request for row in worker._jobs["one"].going.values()]
            until(lambda: all(each.is_cancelled for each in requests))  # noqa: B023
            go_on.set()
            until(lambda: worker.open == 0 and not worker._jobs["one"].is_busy)  # noqa: B023
            assert len(steps) <= 6


def test_half_open_connections_are_closed_and_good_ones_served(monkeypatch, connected):
    monkeypatch.setattr(protocol, "RECEIPT_S", 0.3)
    with listening(make_worker()) as port:
        half = [connected(port) for _ in range(40)]
        for number, connection in enumerate(half):
            connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "[:number])
        good = connected(port)
        good.sendall(request(LONG | {"stream": False, "max_tokens": 2}))
        answer = everything(good)  # to the end: it asks nothing more, so it is closed too
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.count(b"HTTP/1.1") == 1
        assert all(b"200" not in everything(connection) for connection in half)


def test_a_body_that_does_not_come_is_given_up(monkeypatch, connected):
    monkeypatch.setattr(body, "BODY_S", 0.2)
    with listening(make_worker()) as port:
        connection = connected(port)
        connection.sendall(request(LONG)[:-5])
        assert everything(connection).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize(
    "head",
    ["HEAD / HTTP/1.1\r\nHost: 127.0.0.1", "POST /v1/completions HTTP/1.1\r\nHost: evil.example", "GET / HTTP/1.1\r\nHost: 127.0.0.1"],
)
def test_a_body_that_is_no_http_is_refused_once_and_leaves_no_traceback(connected, caplog, head):
    with listening(make_worker()) as port:
        for name in ("uvicorn.error", "asyncio"):
            caplog.set_level("ERROR", name)
            logging.getLogger(name).addHandler(caplog.handler)
        connection = connected(port)
        connection.sendall(f"{head}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n\r\n".encode())
        answer = everything(connection)
        again = connected(port)
        again.sendall(request(LONG | {"stream": False, "max_tokens": 2}))
        assert everything(again).startswith(b"HTTP/1.1 200")
        for name in ("uvicorn.error", "asyncio"):
            logging.getLogger(name).removeHandler(caplog.handler)
    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.count(b"HTTP/1.1") == 1
    assert [record.getMessage() for record in caplog.records] == []


def test_an_endless_body_is_refused_at_its_limit(connected):
    with listening(make_worker()) as port:
        connection = connected(port)
        connection.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        with suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(40):
                connection.sendall(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
        found = everything(connection)
        assert found == b"" or found.startswith(b"HTTP/1.1 413")


def test_who_does_not_read_is_dropped(monkeypatch, connected):
    monkeypatch.setattr(protocol, "READER_S", 0.2)
    monkeypatch.setattr(told, "event", lambda _: b"data: " + b"x" * (1 << 20) + b"\n\n")
    monkeypatch.setattr(app, "event", told.event)
    worker = make_worker()
    with listening(worker) as port:
        connection = connected(port)
        connection.sendall(request(LONG | {"n": 8}))
        until(lambda: worker.open == 8)
        until(lambda: worker.open == 0)
        assert b"[DONE]" not in everything(connection)[-100:]


def test_who_reads_slowly_holds_a_place_no_longer_than_the_deadline(monkeypatch, connected):
    monkeypatch.setattr(app, "LATE_S", 0.2)
    monkeypatch.setattr(app, "event", lambda _: b"data: " + b"x" * (1 << 20) + b"\n\n")
    worker = make_worker()
    with listening(worker, deadline_s=0.2) as port:
        connection = connected(port)
        connection.sendall(request(LONG | {"n": 8}))
        until(lambda: worker.open == 8)
        assert connection.recv(1 << 10)  # a little now and then, so that no buffer stays full
        until(lambda: worker.open == 0)
