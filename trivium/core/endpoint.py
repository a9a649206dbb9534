"""A server that is asked over HTTP, by the standard library alone: no redirects, no proxies, bounded in time and size."""

import socket
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPSConnection
from threading import Event, Timer
from urllib.parse import urlsplit

from trivium.core.errors import ConfigError

_LOCAL = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """url: what paths are put behind. key: sent as a bearer token, never said; "": none. timeout_s: from first to last byte.

    Raises ConfigError for an address that is none, and for a key that would be sent where anyone can read it.
    """

    url: str
    key: str = field(default="", repr=False)
    timeout_s: float = 60.0

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query or parts.fragment:
            raise ConfigError(f"url is {self.url!r}; an address such as https://host/v1 is expected, without name, key or query")
        if not all("!" <= letter <= "~" for letter in self.key):  # it would be refused later, by an error that says it
            raise ConfigError(f"{self.url}: the key holds white space or letters that no key has")
        if self.key and parts.scheme == "http" and parts.hostname not in _LOCAL:
            raise ConfigError(f"{self.url}: the key would be sent where anyone can read it; use https")

    def ask(self, path: str, body: bytes | None, *, most_bytes: int) -> tuple[int, str, bytes]:
        """Status, reason and content, which may be one byte more than `most_bytes`. Without a body it is a GET, else a POST of JSON.

        Raises OSError, HTTPException or ValueError, the last of a connection that was cut while it was read.
        """
        parts = urlsplit(self.url)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        connection = kind(str(parts.hostname), parts.port, timeout=self.timeout_s)
        headers = {"Content-Type": "application/json", "Connection": "close"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        connection.connect()
        is_late = Event()
        cut = Timer(self.timeout_s, _cut, (connection.sock, is_late))  # the timeout above is for each byte
        cut.daemon = True
        cut.start()
        try:
            connection.request("GET" if body is None else "POST", f"{parts.path.rstrip('/')}{path}", body, headers)
            with connection.getresponse() as response:
                content = response.read(most_bytes + 1)
            if is_late.is_set():  # what was read may be a part
                raise TimeoutError("cut off")
            return response.status, response.reason[:60], content
        finally:
            cut.cancel()
            connection.close()


def _cut(connection: socket.socket, is_late: Event) -> None:
    is_late.set()
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
