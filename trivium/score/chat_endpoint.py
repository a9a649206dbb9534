"""A model behind an OpenAI-compatible chat endpoint of the user's choice: one question, one answer, by the standard library alone.

Nothing is asked unless the user configured a URL. No redirects, no proxies; what comes back is bounded in time and size, and strict JSON.
"""

import json
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from threading import Event, Timer
from typing import Any
from urllib.parse import urlsplit

from trivium.core.errors import ConfigError, DataError, ResourceError
from trivium.text.strict_json import parse

MAX_BYTES = 1 << 20  # of an answer
_PASSING = {408, 409, 425, 429}  # and all from 500: asking later may help
_LOCAL = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True, slots=True)
class ChatEndpoint:
    """url: up to and without `/chat/completions`. key: sent as a bearer token, never said; "": none. timeout_s: from first to last byte."""

    url: str
    model: str
    key: str = field(default="", repr=False)
    timeout_s: float = 60.0

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query or parts.fragment:
            raise ConfigError(f"url is {self.url!r}; an address such as https://host/v1 is expected, without name, key or query")
        if self.key and parts.scheme == "http" and parts.hostname not in _LOCAL:
            raise ConfigError(f"{self.url}: the key would be sent where anyone can read it; use https")

    def ask(self, text: str, max_tokens: int) -> str:
        """The answer to one user turn at temperature 0.

        Raises ResourceError if asking again may help (no connection, too late, busy), DataError for an answer that is none, ConfigError
        where it is refused.
        """
        body = {"model": self.model, "messages": [{"role": "user", "content": text}], "temperature": 0, "max_tokens": max_tokens}
        try:
            status, reason, content = self._post(json.dumps(body).encode())
        except (OSError, HTTPException, ValueError) as error:  # ValueError: of a connection that was cut while it was read
            raise ResourceError(f"{self.url}: no answer within {self.timeout_s:g} s ({type(error).__name__}: {error})") from None
        if status in _PASSING or status >= 500:
            raise ResourceError(f"{self.url}: answered {status} {reason}")
        if status != 200:
            raise ConfigError(f"{self.url}: answered {status} {reason}; look at the address, the model {self.model!r} and the key")
        return self._said(content)

    def _post(self, body: bytes) -> tuple[int, str, bytes]:
        parts = urlsplit(self.url)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        connection = kind(str(parts.hostname), parts.port, timeout=self.timeout_s)
        headers = {"Content-Type": "application/json", "Connection": "close"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        connection.connect()
        is_late = Event()
        cut = Timer(self.timeout_s, _cut, (connection.sock, is_late))  # the timeout above is for each byte
        cut.start()
        try:
            connection.request("POST", f"{parts.path.rstrip('/')}/chat/completions", body, headers)
            with connection.getresponse() as response:
                content = response.read(MAX_BYTES + 1)
            if is_late.is_set():  # what was read may be a part
                raise TimeoutError("cut off")
            return response.status, response.reason[:60], content
        finally:
            cut.cancel()
            connection.close()

    def _said(self, content: bytes) -> str:
        if len(content) > MAX_BYTES:
            raise DataError(f"{self.url}: the answer is longer than {MAX_BYTES:,} bytes")
        answer: Any = parse(content.decode(errors="replace"), self.url)
        try:
            said = answer["choices"][0]["message"]["content"]
        except (LookupError, TypeError):
            said = None
        if not isinstance(said, str):
            raise DataError(f"{self.url}: the answer has no text in choices[0].message.content")
        return said


def _cut(connection: socket.socket, is_late: Event) -> None:
    is_late.set()
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
