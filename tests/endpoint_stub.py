"""A small OpenAI-compatible server whose answers, and faults, a test chooses."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, bytes, dict[str, str]]  # status, body, headers


def said(text: str) -> Answer:
    """An answer of the model."""
    choice = {"index": 0, "finish_reason": "stop"}
    choice["message"] = {"role": "assistant", "content": text}
    body = {"id": "1", "object": "chat.completion", "created": 0, "model": "m"}
    body |= {"choices": [choice], "usage": {"total_tokens": 10}}
    return 200, json.dumps(body).encode(), {}


class EndpointStub(ThreadingHTTPServer):
    """The server; `answer` gets the request's body and how many came before it."""

    daemon_threads = True

    def __init__(self, answer: Callable[[dict[str, Any], int], Answer]):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.open = self.most_open = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


@contextmanager
def endpoint_stub(answer: Callable[[dict[str, Any], int], Answer]) -> Iterator[EndpointStub]:
    """Serves for the time of the block."""
    server = EndpointStub(answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: EndpointStub

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            number = len(server.requests)
            server.requests.append(body)
            server.keys.append(self.headers["Authorization"])
            server.open += 1
            server.most_open = max(server.most_open, server.open)
        try:
            time.sleep(0.01)
            status, content, headers = server.answer(body, number)
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        except OSError:
            pass  # the client did not wait
        finally:
            with server.lock:
                server.open -= 1

    def log_message(self, *args: Any) -> None:
        pass
