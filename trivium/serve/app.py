"""The routes: what is asked goes to the models' thread, what comes back is told whole or in chunks."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from trivium.core.errors import ConfigError, DataError, ResourceError
from trivium.core.types import Message
from trivium.serve.asked import ChatAsked, RefusedError, TextAsked, checked
from trivium.serve.body import json_body
from trivium.serve.guard import Guard
from trivium.serve.page import page
from trivium.serve.told import Told, event, refusal
from trivium.serve.votes import Vote
from trivium.serve.worker import Answers, FullError, Served, Worker
from trivium.stages.use.chat import ROUTER
from trivium.stages.use.deciding import Decider
from trivium.stages.use.votes import Votes

Endpoint = Callable[[Request], Awaitable[Response]]
LATE_S = 20.0  # after its deadline, in which a client may read what was answered until then


def make_app(
    worker: Worker, *, host: str, key: str | None = None, votes: Votes | None = None, router: Decider | None = None,
    deadline_s: float = 300.0,
) -> ASGIApp:  # fmt: skip
    """The server as an ASGI app, which starts and stops the worker.

    router: stands behind the model ROUTER. deadline_s: after which an answer ends where it is.
    """
    routes = _Routes(worker, votes, router, deadline_s)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        worker.start()
        yield
        worker.stop()

    app = Starlette(
        routes=[
            Route("/", routes.page, methods=["GET"]),
            Route("/v1/models", routes.models, methods=["GET"]),
            Route("/v1/models/{name}", routes.model, methods=["GET"]),
            Route("/v1/chat/completions", _refusing(routes.chat), methods=["POST"]),
            Route("/v1/completions", _refusing(routes.text), methods=["POST"]),
            Route("/votes", _refusing(routes.vote), methods=["POST"]),
        ],
        exception_handlers={HTTPException: _no_route},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return Guard(app, host=host, key=key)


class _Routes:
    def __init__(self, worker: Worker, votes: Votes | None, router: Decider | None, deadline_s: float) -> None:
        self.worker, self.votes, self.router, self.deadline_s, self.started = worker, votes, router, deadline_s, int(time.time())
        self.names = [*worker.models, *([ROUTER] if router else [])]
        self.html, self.policy = page(votes is not None)

    async def page(self, _: Request) -> Response:
        """The chat page."""
        return HTMLResponse(self.html, headers={"content-security-policy": self.policy})

    async def models(self, _: Request) -> Response:
        """All models."""
        return JSONResponse({"object": "list", "data": [self._named(name) for name in self.names]})

    async def model(self, request: Request) -> Response:
        """One model."""
        name = request.path_params["name"]
        if name not in self.names:
            return _refuse(_unknown_model())
        return JSONResponse(self._named(name))

    async def chat(self, request: Request) -> Response:
        """An answer to a chat."""
        asked = checked(ChatAsked, await json_body(request))
        turns = tuple(turn.message() for turn in asked.messages)
        served = None if self.router and asked.model == ROUTER else self._served(asked.model)
        with self.worker.holding(asked.n):
            served = served or self._served(await self._routed(turns))
            prompt = await run_in_threadpool(served.speaker.prompt, turns)
        return await self._answered(request, asked, served, [prompt])

    async def text(self, request: Request) -> Response:
        """How texts go on."""
        asked = checked(TextAsked, await json_body(request))
        if self.router and asked.model == ROUTER:
            raise RefusedError(f"'model': '{ROUTER}' reads chats; ask it at /v1/chat/completions", "model")
        served = self._served(asked.model)
        first = np.array([served.first_id], np.int32)
        with self.worker.holding(asked.n * len(asked.prompts)):
            texts = await run_in_threadpool(served.speaker.tokenizer.encode_batch, asked.prompts)
        prompts = [np.concatenate([first, ids]) for ids in texts]
        return await self._answered(request, asked, served, prompts)

    async def vote(self, request: Request) -> Response:
        """Write down which of two answers was better."""
        if self.votes is None:
            raise RefusedError("votes are not collected here; start the server with --votes FOLDER", status=404)
        match = checked(Vote, await json_body(request)).match(self.worker.models)
        try:
            await run_in_threadpool(self.votes.add, match)
        except ResourceError as error:
            self.worker.log(str(error))
            raise RefusedError("the vote could not be kept; the server's own log says why", status=503) from None
        return JSONResponse({"object": "vote"}, 201)

    async def _answered(self, request: Request, asked: ChatAsked | TextAsked, served: Served, prompts: list[np.ndarray]) -> Response:
        is_chat = isinstance(asked, ChatAsked)
        sampling = asked.sampling(asked.most(served.context))
        told = Told(
            is_chat=is_chat, model=served.name, tokenizer=served.speaker.tokenizer, has_logprobs=asked.alternatives is not None
        )  # fmt: skip
        answers = self.worker.ask(
            served.name, prompts, sampling, seed=asked.seeded(), copies=asked.n, stop=asked.stops, alternatives=asked.alternatives
        )
        if asked.stream:
            return _Streamed(answers, told, has_usage=asked.has_usage, deadline_s=self.deadline_s)
        with _ended(answers, request.receive, self.deadline_s):
            words = [words async for words in answers]
            return _refuse(_failed()) if answers.has_failed else JSONResponse(told.whole(answers, words))

    async def _routed(self, turns: tuple[Message, ...]) -> str:
        """The name of the model that this chat goes to."""
        assert self.router is not None
        [decided] = await run_in_threadpool(list, self.router([turns]))
        return decided.model

    def _served(self, name: str) -> Served:
        if name not in self.worker.models:
            raise _unknown_model()
        return self.worker.models[name]

    def _named(self, name: str) -> dict[str, str | int]:
        return {"id": name, "object": "model", "created": self.started, "owned_by": "trivium"}


class _Streamed(Response):
    """Server-sent events, while the answers are made."""

    media_type = "text/event-stream"

    def __init__(self, answers: Answers, told: Told, *, has_usage: bool, deadline_s: float) -> None:
        self.status_code = 200
        self.answers, self.told, self.has_usage, self.deadline_s = answers, told, has_usage, deadline_s
        self.init_headers({"cache-control": "no-store"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send each chunk as it comes; a client that reads slowly does not hold its place for ever."""
        with _ended(self.answers, receive, self.deadline_s), suppress(TimeoutError):
            async with asyncio.timeout(self.deadline_s + LATE_S):
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                async for chunk in self._events():
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _events(self) -> AsyncIterator[bytes]:
        if self.told.is_chat:
            for choice in range(len(self.answers.requests)):
                yield event(self.told.opening(choice))
        async for words in self.answers:
            for chunk in self.told.chunks(words):
                yield event(chunk)
        if self.answers.has_failed:
            yield event(refusal(_failed()))
            return
        if self.has_usage:
            yield event(self.told.closing(self.answers))
        yield event("[DONE]")


@contextmanager
def _ended(answers: Answers, receive: Receive, deadline_s: float) -> Iterator[None]:
    """Inside, the answers end when the client goes or the deadline is over; after it they are closed."""

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        answers.cancel()

    loop = asyncio.get_running_loop()
    watching, timer = loop.create_task(watch()), loop.call_later(deadline_s, answers.cancel)
    try:
        yield
    finally:
        watching.cancel()
        timer.cancel()
        answers.close()


def _refusing(endpoint: Endpoint) -> Endpoint:
    """The same, whose refusals are answered."""

    async def refusing(request: Request) -> Response:
        try:
            return await endpoint(request)
        except RefusedError as error:
            return _refuse(error)
        except FullError:
            return _refuse(RefusedError("too many answers are being made; try again", status=429), {"retry-after": "1"})
        except (DataError, ConfigError) as error:
            return _refuse(RefusedError(str(error)))

    return refusing


def _refuse(error: RefusedError, headers: dict[str, str] | None = None) -> Response:
    closing = {"connection": "close"} if error.status in (408, 413, 415) else {}  # the rest of the body is not wanted
    return JSONResponse(refusal(error), error.status, {**closing, **(headers or {})})


async def _no_route(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    allowed = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    return _refuse(RefusedError("there is nothing here" if status == 404 else "this method is not allowed here", status=status), allowed)


def _failed() -> RefusedError:
    return RefusedError("the model failed; the server's own log says how", status=500)


def _unknown_model() -> RefusedError:
    return RefusedError("'model': is none of those that are served here; GET /v1/models lists them", "model", 404, "model_not_found")
