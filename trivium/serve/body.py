"""Bodies of requests: JSON, of bounded size, received in bounded time."""

import asyncio
from typing import Any

from starlette.requests import ClientDisconnect, Request

from trivium.core.errors import DataError
from trivium.serve.asked import RefusedError
from trivium.text.strict_json import parse

MOST_BYTES = 1 << 20
BODY_S = 10.0


async def json_body(request: Request) -> Any:
    """The JSON value that was sent. Raises RefusedError: another type, too large, too slow, or not JSON."""
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        raise RefusedError("Content-Type must be application/json", status=415)
    try:
        async with asyncio.timeout(BODY_S):
            content = await _content(request)
    except TimeoutError:
        raise RefusedError(f"the body did not come within {BODY_S:.0f} seconds", status=408) from None
    except ClientDisconnect:
        raise RefusedError("the client has gone") from None
    try:
        return parse(content.decode("utf-8"), "the body")
    except UnicodeDecodeError:
        raise RefusedError("the body: is not UTF-8") from None
    except DataError as error:
        raise RefusedError(str(error)) from None


async def _content(request: Request) -> bytes:
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > MOST_BYTES:
            raise RefusedError(f"the body is longer than {MOST_BYTES:,} bytes", status=413)
    return bytes(content)
