"""The campaigns of `scripts/serve_load.py` and `scripts/serve_fuzz.py` in short."""

import asyncio
import os

from scripts import serve_fuzz, serve_load
from scripts.serve_fuzz import fuzz, request
from scripts.server import Reply
from tests.serve.conftest import listening, make_worker
from trivium.serve import body, protocol
from trivium.stages.use.votes import Votes


def test_a_crowd_is_answered_as_each_is_alone_and_who_is_too_many_is_told_when_to_come_back():
    found = serve_load.Found()

    async def campaign(port: int) -> None:
        expected = await serve_load.alone(port, 8)
        await serve_load.crowd(port, expected, clients=16, seconds=1.0, tokens=8, found=found)
        await serve_load.burst(port, 60, 8, found)

    with listening(make_worker(most=20)) as port:
        asyncio.run(campaign(port))
    assert not found.problems
    assert found.counts["answers"] > 16
    assert found.counts["burst 429"] > 0
    assert serve_load.resident_mb(os.getpid()) > 10


def test_half_open_connections_leave_room_for_others():
    found = serve_load.Found()
    with listening(make_worker()) as port:
        without, beside = asyncio.run(serve_load.beside_half_open(port, 100, 4, found, asks=1))
    assert without > 0
    assert beside > 0  # how much longer it takes is for the long form, on a quiet machine
    assert found.counts["half open to the end"] == 100 * serve_load.TURNS


def test_a_machine_that_is_too_busy_to_be_measured_is_told_in_time(monkeypatch):
    async def never(*_, **__) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(serve_load, "_parts", never)
    found = asyncio.run(serve_load.campaign(0, 0, clients=1, seconds=0.01, tokens=1, rest_s=0.01))
    assert found.problems == ["what is not the load was not done within 0 s: this machine is too slow, or does other work"]


def test_what_nobody_would_send_ends_in_no_error_of_the_server(tmp_path, monkeypatch):
    monkeypatch.setattr(protocol, "RECEIPT_S", 3.0)  # who leaves the line open need not be waited for as long as in earnest
    monkeypatch.setattr(body, "BODY_S", 3.0)
    with listening(make_worker(most=300), votes=Votes(tmp_path), deadline_s=5.0) as port:
        found = asyncio.run(fuzz(port, 150, seed=1))
    assert not found.problems
    assert sum(found.statuses.values()) == 150
    assert {200, 400} <= set(found.statuses)


def test_what_there_is_no_time_for_is_told(monkeypatch):
    async def told(*_) -> Reply:
        return Reply(400, {}, b"{}", 0.0)

    monkeypatch.setattr(serve_fuzz, "ask", told)
    found = asyncio.run(fuzz(0, 200, seed=1, longest_s=0.0))
    sent = found.statuses[400]
    assert sent == serve_fuzz.LANES
    assert found.problems == [f"{200 - sent} of 200 were not sent within 0 s: this machine is too slow, or does other work"]


def test_an_error_in_what_was_taken_for_a_second_request_is_seen(monkeypatch):
    async def told(*_) -> Reply:
        return Reply(400, {}, b"{}HTTP/1.1 500 Internal Server Error", 0.0)

    monkeypatch.setattr(serve_fuzz, "ask", told)
    found = serve_fuzz.Found()
    asyncio.run(serve_fuzz._one(0, b"", 7, found))
    assert [problem[:14] for problem in found.problems] == ["request 7: 400"]


def test_a_traceback_in_the_log_is_a_problem():
    told = "one: 2 threads\nTraceback (most recent call last):\n  File 'x', line 1\n    y()\nh11.LocalProtocolError: no\nstopped\n"
    assert serve_fuzz.tracebacks(told) == ["the server's log has a traceback: h11.LocalProtocolError: no"]
    assert serve_fuzz.tracebacks("one: 2 threads\nstopped\n") == []


def test_a_request_follows_from_its_number():
    assert request(1, 7) == request(1, 7)
    assert len({request(1, number) for number in range(50)}) > 45
