"""The campaigns of `scripts/serve_load.py` and `scripts/serve_fuzz.py` in short."""

import asyncio
import os

from scripts import serve_load
from scripts.serve_fuzz import fuzz, request
from tests.serve.conftest import listening, make_worker
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
        before, beside = asyncio.run(serve_load.beside_half_open(port, 100, 4, found, asks=4))
    assert before > 0
    assert beside > 0  # how much longer it takes is for the long form, on a quiet machine


def test_what_nobody_would_send_ends_in_no_error_of_the_server(tmp_path):
    with listening(make_worker(most=300), votes=Votes(tmp_path), deadline_s=5.0) as port:
        found = asyncio.run(fuzz(port, 150, seed=1))
    assert not found.problems
    assert sum(found.statuses.values()) == 150
    assert {200, 400} <= set(found.statuses)


def test_a_request_follows_from_its_number():
    assert request(1, 7) == request(1, 7)
    assert len({request(1, number) for number in range(50)}) > 45
