"""From a command line to a running server: check everything, load the models, listen."""

import ipaddress
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trivium.core.errors import ConfigError
from trivium.core.world import environment_value
from trivium.stages.use.chat import ROUTER, named, opened
from trivium.stages.use.deciding import Decider

if TYPE_CHECKING:  # starlette may not be installed, and torch is loaded only when a model is
    from trivium.nn.native.packed import Precision
    from trivium.serve.worker import Served

_LEAST_KEY = 16


@dataclass(frozen=True)
class Place:
    """Where to listen, and what a server may hold.

    key_env: the environment variable with the key that clients bring. rows: answers that are made at once, of each model. waiting: more
    that may wait. context: positions of prompt and answer together at most; memory grows with it. votes: a folder for votes on the page.
    precision: of the weights, see Engine.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    key_env: str = ""
    rows: int = 16
    waiting: int = 64
    context: int = 2048
    deadline_s: float = 300.0
    votes: Path | None = None
    precision: "Precision" = "float32"


def serve(models: Sequence[str], place: Place, log: Callable[[str], None], router: Callable[[], Decider | None] = lambda: None) -> None:
    """Serve until the process is told to end. router: opens what chooses among the models, if anything does.

    Raises ConfigError: no server installed, no key where one is needed, no such model, a router that knows other models.
    """
    key = _key(place)
    folders = named(models)
    decider = router()
    if decider is not None:
        decider.check_among(folders)
    try:
        import starlette  # noqa: F401
        import uvicorn
    except ModuleNotFoundError as error:
        raise ConfigError(f"serve needs {error.name}, which is not installed: pip install 'trivium[serve]'") from None
    from trivium.serve.app import make_app
    from trivium.serve.protocol import BoundedProtocol
    from trivium.serve.worker import Worker
    from trivium.stages.use.votes import Votes

    listening = _listening(place)
    votes = None if place.votes is None else Votes(place.votes)
    served = [_loaded(name, folder, place, log) for name, folder in folders.items()]
    worker = Worker(served, most=place.rows * len(served) + place.waiting, log=log)
    app = make_app(worker, host=place.host, key=key, votes=votes, router=decider, deadline_s=place.deadline_s)
    names = ", ".join([*folders, *([ROUTER] if decider else [])])
    log(f"http://{f'[{place.host}]' if ':' in place.host else place.host}:{place.port} serves {names}; Ctrl-C ends it")
    config = uvicorn.Config(
        app, host=place.host, port=place.port, http=BoundedProtocol, ws="none", log_level="error", access_log=False,
        server_header=False, proxy_headers=False, timeout_keep_alive=10, timeout_graceful_shutdown=5, lifespan="on",
    )  # fmt: skip
    uvicorn.Server(config).run(sockets=[listening])


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine reach the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _listening(place: Place) -> socket.socket:
    """The socket, before the models are loaded. Raises ConfigError if the address cannot be had."""
    try:
        family, *_ = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)[0]
        return socket.create_server((place.host, place.port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigError(f"cannot listen on {place.host}, port {place.port}: {error.strerror or error}; try another --port") from None


def _key(place: Place) -> str | None:
    """The key; None if none is asked for. Raises ConfigError where one is needed."""
    if not place.key_env:
        if not is_loopback(place.host):
            raise ConfigError(
                f"host is {place.host}, which other machines can reach, so a key is needed: put one into an environment variable and "
                "name it with --key-env, or leave --host out"
            )
        return None
    key = environment_value(place.key_env)
    if key is None or len(key) < _LEAST_KEY or not (key.isascii() and key.isprintable() and " " not in key):
        raise ConfigError(f"--key-env: the variable {place.key_env} must hold a key of at least {_LEAST_KEY} ASCII characters, no spaces")
    return key


def _loaded(name: str, folder: Path, place: Place, log: Callable[[str], None]) -> "Served":
    from trivium.serve.worker import Served
    from trivium.stages.computing.models import one_chat
    from trivium.stages.computing.subjects import first_id

    speaker, engine = opened(folder, lambda line: log(f"{name}: {line}"), rows=place.rows, precision=place.precision)
    context = min(place.context, *(model.config.max_seq_len for model in engine.models))
    return Served(name, one_chat(speaker), engine, first_id(speaker), context)
