"""A chat endpoint on 127.0.0.1 that answers as a test says, faults among the answers."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[BaseHTTPRequestHandler, str], None]


@contextmanager
def serving(*answers: Answer) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Its address, and what it was asked. The first request gets the first answer; when there are no more, the last one is given again."""
    asked: list[dict[str, Any]] = []
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                answer = answers[min(len(asked), len(answers) - 1)]
                asked.append({"path": self.path, "body": body, "key": self.headers["Authorization"]})
            try:
                answer(self, body["messages"][0]["content"])
            except OSError:  # who asked has gone
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://localhost:{server.server_port}/v1", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def sends(content: bytes, status: int = 200) -> Answer:
    """These bytes."""

    def answer(handler: BaseHTTPRequestHandler, text: str) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def says(template: str) -> Answer:
    """A chat answer; {nonce} in it is the nonce of the question."""

    def answer(handler: BaseHTTPRequestHandler, text: str) -> None:
        nonce = re.search(r"VERDICT (\w+) VALUE", text)
        said = template.replace("{nonce}", nonce[1] if nonce else "")
        sends(json.dumps({"choices": [{"message": {"role": "assistant", "content": said}}]}).encode())(handler, text)

    return answer


def drips(handler: BaseHTTPRequestHandler, text: str) -> None:
    """A byte now and then, without an end: no single byte is late."""
    handler.send_response(200)
    handler.end_headers()
    for _ in range(500):
        handler.wfile.write(b" ")
        time.sleep(0.02)
