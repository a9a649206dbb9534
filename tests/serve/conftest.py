"""A server of two tiny models, asked in process or over real connections."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.nn.io_models import STOPS, TOKENIZER, ours
from trivium.generate.engine import Engine
from trivium.serve.worker import Served, Worker
from trivium.stages.computing.models import Speaker
from trivium.text.chat import PLAIN

starlette = pytest.importorskip("starlette", reason="starlette is not installed, so there is no server")
uvicorn = pytest.importorskip("uvicorn", reason="uvicorn is not installed, so there is no server")

MODELS = {"one": ours("llama"), "two": ours("qwen3")}


def make_worker(*, rows: int = 4, most: int = 40, context: int = 64) -> Worker:
    return Worker(
        [
            Served(name, Speaker(model, TOKENIZER, PLAIN), Engine(model, stop_ids=STOPS, rows=rows, kernels="torch"), 0, context)
            for name, model in MODELS.items()
        ],
        most=most,
    )


@contextmanager
def client_of(worker: Worker, **options) -> Iterator:
    from starlette.testclient import TestClient

    from trivium.serve.app import make_app

    app = make_app(worker, host="127.0.0.1", **options)
    with TestClient(app, base_url="http://localhost:8000", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def client():
    with client_of(make_worker()) as made:
        yield made


@contextmanager
def listening(worker: Worker, **options) -> Iterator[int]:
    """The port of a real server in a thread."""
    from trivium.serve.app import make_app
    from trivium.serve.protocol import BoundedProtocol

    app = make_app(worker, host="127.0.0.1", **options)
    config = uvicorn.Config(app, host="127.0.0.1", port=0, http=BoundedProtocol, ws="none", log_level="critical", access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(timeout=20)


def until(is_so, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.01)
