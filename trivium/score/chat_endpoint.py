"""A model behind an OpenAI-compatible chat endpoint of the user's choice: one question, one answer.

Nothing is asked unless the user configured a URL. What comes back is bounded in time and size, and strict JSON.
"""

import json
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any

from trivium.core.endpoint import Endpoint
from trivium.core.errors import ConfigError, DataError, ResourceError
from trivium.text.strict_json import parse

MAX_BYTES = 1 << 20  # of an answer
_PASSING = {408, 409, 425, 429}  # and all from 500: asking later may help


@dataclass(frozen=True, slots=True)
class ChatEndpoint:
    """url: up to and without `/chat/completions`. key: sent as a bearer token, never said; "": none. timeout_s: from first to last byte."""

    url: str
    model: str
    key: str = field(default="", repr=False)
    timeout_s: float = 60.0

    def __post_init__(self) -> None:
        self._endpoint()

    def ask(self, text: str, max_tokens: int) -> str:
        """The answer to one user turn at temperature 0.

        Raises ResourceError if asking again may help (no connection, too late, busy), DataError for an answer that is none, ConfigError
        where it is refused.
        """
        body = {"model": self.model, "messages": [{"role": "user", "content": text}], "temperature": 0, "max_tokens": max_tokens}
        try:
            status, reason, content = self._endpoint().ask("/chat/completions", json.dumps(body).encode(), most_bytes=MAX_BYTES)
        except (OSError, HTTPException, ValueError) as error:  # ValueError: of a connection that was cut while it was read
            raise ResourceError(f"{self.url}: no answer within {self.timeout_s:g} s ({type(error).__name__}: {error})") from None
        if status in _PASSING or status >= 500:
            raise ResourceError(f"{self.url}: answered {status} {reason}")
        if status != 200:
            raise ConfigError(f"{self.url}: answered {status} {reason}; look at the address, the model {self.model!r} and the key")
        return self._said(content)

    def _endpoint(self) -> Endpoint:
        return Endpoint(self.url, self.key, self.timeout_s)

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
