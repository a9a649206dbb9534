"""vLLM's calls, as far as generate/remote.py uses them, on top of our own engine; and everything that can go wrong with them."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from trivium.generate.engine import Engine
from trivium.generate.sampling import Sampling
from trivium.nn.io.directory import load_model

PATHS = (
    "/v1/models", "/v1/completions", "/inference/v1/generate", "/collective_rpc", "/update_weight_version", "/weight_info", "/pause",
    "/resume", "/server_info",
)  # fmt: skip
Spoil = Callable[[int, dict[str, Any]], "dict[str, Any] | int | None"]  # (call number, reply) -> reply, status, or None: no answer


class FakeVLLM:
    """A server that holds the model of a folder. spoil: by path, what becomes of its replies. paths: what it says that it has.

    is_lying: it takes no weights, and says that it has.
    """

    def __init__(
        self, folder: Path, *, stop_ids: tuple[int, ...], api_key: str = "", paths: tuple[str, ...] = PATHS, context: int = 64
    ) -> None:
        self.engine = Engine(load_model(folder), stop_ids=stop_ids, kernels="torch")
        self.api_key, self.paths, self.context, self.label = api_key, paths, context, "default"
        self.spoil: dict[str, Spoil] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.is_lying, self.is_paused, self.logprobs_mode = False, False, "processed_logprobs"
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://localhost:{self._server.server_port}"

    def count(self, path: str) -> int:
        return sum(called.partition("?")[0] == path for called, _ in self.calls)

    def stop(self) -> None:
        """Be gone: connections are refused from now on."""
        self._server.shutdown()
        self._server.server_close()

    def reply(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            match path.partition("?")[0]:
                case "/openapi.json":
                    return {"paths": {name: {} for name in self.paths}}
                case "/v1/models":
                    return {"data": [{"id": "policy", "max_model_len": self.context}]}
                case "/server_info":
                    return {"vllm_config": {"model_config": {"logprobs_mode": self.logprobs_mode}}}
                case "/pause" | "/resume" as what:
                    self.is_paused = what == "/pause"
                    return {"status": what}
                case "/collective_rpc":
                    if not self.is_lying:
                        self.engine.model.load_state_dict(load_model(Path(body["kwargs"]["weights_path"])).state_dict())
                    return {"results": [None]}
                case "/update_weight_version":
                    self.label = body["new_version"]
                    return {"success": True}
                case "/weight_info":
                    return {"weight_version": self.label}
                case "/inference/v1/generate":
                    tokens, logprobs, finish = self._said(body["token_ids"], body["sampling_params"])
                    content = [{"token": token, "logprob": logprob} for token, logprob in zip(tokens, logprobs, strict=True)]
                    spans = [{"version": self.label, "start": 0, "end": len(tokens)}]
                    choice = {"index": 0, "token_ids": tokens, "logprobs": {"content": content}, "finish_reason": finish}
                    return {"request_id": f"generate-tokens-{body['request_id']}", "choices": [choice | {"weight_versions": spans}]}
                case _:
                    tokens, logprobs, finish = self._said(body["prompt"], body)
                    choice = {"token_ids": tokens, "logprobs": {"token_logprobs": logprobs}, "finish_reason": finish}
                    return {"id": "cmpl-1", "choices": [choice]}

    def _said(self, prompt: list[int], asked: dict[str, Any]) -> tuple[list[int], list[float], str]:
        names = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
        sampling = Sampling(**{name: asked[name] for name in names}, max_new_tokens=asked["max_tokens"])
        [answer] = self.engine.generate([np.array(prompt, np.int32)], sampling, seed=asked["seed"])
        logprobs = answer.columns["old_logprobs"][answer.loss_mask > 0].tolist()
        finish = "stop" if int(answer.tokens[-1]) in asked["stop_token_ids"] else "length"
        return answer.response.tolist(), logprobs, finish

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None: ...

            def do_GET(self) -> None:
                self.answer({})

            def do_POST(self) -> None:
                self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def answer(self, body: dict[str, Any]) -> None:
                path = self.path.partition("?")[0]
                fake.calls.append((self.path, body))
                if fake.api_key and path.startswith(("/v1", "/inference")) and self.headers["Authorization"] != f"Bearer {fake.api_key}":
                    self.send(401, {"error": "Unauthorized"})
                    return
                reply: dict[str, Any] | int | None = fake.reply(self.path, body)
                if path in fake.spoil:
                    reply = fake.spoil[path](fake.count(path), reply)
                if reply is not None:
                    self.send(*((reply, {}) if isinstance(reply, int) else (200, reply)))

            def send(self, status: int, reply: dict[str, Any]) -> None:
                content = json.dumps(reply).encode()
                with suppress(OSError):  # who asked may be gone
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)

        return Handler


@contextmanager
def servers(folder: Path, count: int = 1, **options: Any) -> Iterator[list[FakeVLLM]]:
    """So many of them, which end with the block."""
    made = [FakeVLLM(folder, **options) for _ in range(count)]
    try:
        yield made
    finally:
        for server in made:
            with suppress(OSError):
                server.stop()
