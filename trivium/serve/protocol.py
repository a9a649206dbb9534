"""HTTP connections with an end: uvicorn waits for a request line and for a slow reader for ever."""

import asyncio
from collections.abc import Callable

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

RECEIPT_S = 10.0  # from the connection, or from the last response, to the end of the next request's headers
READER_S = 20.0  # that a client may leave what was sent to it unread, once the buffers are full
MOST_CONNECTIONS = 1024


class BoundedProtocol(H11Protocol):
    """uvicorn's own, which drops connections that are too slow, and those that are too many."""

    _receipt: asyncio.TimerHandle | None = None
    _reader: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Refuse it if there are too many."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
            return
        self._receipt = self._after(RECEIPT_S, self._drop_unasked)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        for timer in (self._receipt, self._reader):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Once its headers are here a request is the app's, which has its own deadline for the body."""
        super().data_received(data)
        if self._receipt is not None and self._is_asked():
            self._receipt.cancel()
            self._receipt = None

    def on_response_complete(self) -> None:
        """The next request has its own time."""
        super().on_response_complete()
        if self._receipt is None and not self.transport.is_closing() and not self._is_asked():
            self._receipt = self._after(RECEIPT_S, self._drop_unasked)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP. If its headers were a request, the app's own answer to it is not sent any more.

        uvicorn lets both be sent, which fails, as does its text in answer to HEAD.
        """
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        try:
            super().send_400_response(msg)
        except h11.LocalProtocolError:  # nothing more may be said: it is HEAD, or an answer has begun
            self.transport.close()

    def pause_writing(self) -> None:
        """The buffers are full."""
        super().pause_writing()
        self._reader = self._after(READER_S, self.transport.abort)

    def resume_writing(self) -> None:
        """They are read again."""
        super().resume_writing()
        if self._reader is not None:
            self._reader.cancel()
            self._reader = None

    def _is_asked(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _drop_unasked(self) -> None:
        self._receipt = None
        if not self._is_asked():
            self.transport.abort()

    def _after(self, seconds: float, call: Callable[[], None]) -> asyncio.TimerHandle:
        return self.loop.call_later(seconds, call)
