"""Who may ask: requests that name this server, come from no other site, and bring the key if there is one."""

import hmac
import ipaddress
from collections.abc import Mapping
from hashlib import sha256
from urllib.parse import urlsplit

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trivium.serve.asked import RefusedError
from trivium.serve.told import refusal

HEADERS = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
OPEN_PATHS = ("/",)  # the page holds nothing secret; whoever opened it types the key


class Guard:
    """Stands before the app, and adds headers to every response. host: the address or name that the server was started on."""

    def __init__(self, app: ASGIApp, *, host: str, key: str | None) -> None:
        self.app, self.host = app, host.lower()
        self._key = None if key is None else sha256(key.encode()).digest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *((name.encode(), value.encode()) for name, value in HEADERS.items() if name.encode() not in given),
                ]
            await send(message)

        refused = self._refused(scope)
        if refused is None:
            await self.app(scope, receive, guarded)
            return
        more = {"connection": "close"} | ({"www-authenticate": "Bearer"} if refused.status == 401 else {})
        await JSONResponse(refusal(refused), refused.status, more)(scope, receive, guarded)

    def _refused(self, scope: Scope) -> RefusedError | None:
        names = [name for name, _ in scope["headers"]]
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if names.count(b"host") != 1 or names.count(b"origin") > 1 or names.count(b"authorization") > 1:
            return RefusedError("one Host is needed, and at most one Origin and one Authorization", status=400)
        if not self._is_ours(headers["host"]):
            return RefusedError("this Host is not served here; use the address that the server was started on", status=403)
        if _is_foreign(headers):
            return RefusedError("pages of other sites may not ask here", status=403)
        if self._key is not None and scope["path"] not in OPEN_PATHS and not self._has_key(headers.get("authorization", "")):
            return RefusedError("a key is needed: 'Authorization: Bearer KEY'", status=401, code="invalid_api_key")
        return None

    def _is_ours(self, host: str) -> bool:
        """Whether it is an address, localhost, or the name given at the start: a page that rebinds DNS comes under a name of its own."""
        name = _name(host)
        if name is None:
            return False
        if name in ("localhost", self.host):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _has_key(self, authorization: str) -> bool:
        scheme, _, given = authorization.partition(" ")
        digest = sha256(given.strip().encode("utf-8", "replace")).digest()
        return hmac.compare_digest(digest, self._key or b"") and scheme.lower() == "bearer"


def _name(host: str) -> str | None:
    """A Host without its port; None if it is none."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # raises if it is no number
    except ValueError:
        return None
    return parts.hostname if parts.netloc == host and not parts.path and "@" not in host else None


def _is_foreign(headers: Mapping[str, str]) -> bool:
    """Whether a browser says that a page of another origin asks."""
    origin = headers.get("origin")
    if origin is not None and origin.lower() not in (f"http://{headers['host'].lower()}", f"https://{headers['host'].lower()}"):
        return True
    return headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
