"""Hypothesis without deadlines on shared machines, and a chat server on loopback."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")


@dataclass(eq=False)
class ChatServer(ThreadingHTTPServer):
    """An OpenAI-compatible server on loopback, whose answers a test writes."""

    answer: Callable[[dict[str, Any]], str] = lambda _: "an answer"
    """From a request's body to the content."""
    faults: list[Callable[["ChatHandler"], None]] = field(default_factory=list)
    """What the first requests meet instead."""
    delay: float = 0.0
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    running: int = 0
    most: int = 0

    def __post_init__(self) -> None:
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), ChatHandler)

    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Quiet: clients that go away are part of the tests."""

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class ChatHandler(BaseHTTPRequestHandler):
    """`/v1/chat/completions`."""

    server: ChatServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def send(self, status: int, content: bytes, **headers: str) -> None:
        """A whole answer."""
        self.send_response(status)
        for name, value in {"Content_Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def chat(self, content: str | None, **message: str) -> None:
        """An answer as OpenAI's API gives it."""
        choice = {"message": {"content": content, **message}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 3, "completion_tokens": 5}
        self.send(200, json.dumps({"choices": [choice], "usage": usage}).encode())

    def do_POST(self) -> None:
        """Count, wait, answer."""
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.requests.append({"path": self.path, **body})
            server.headers.append(dict(self.headers))
            server.times.append(time.monotonic())
            fault = server.faults.pop(0) if server.faults else None
            server.running += 1
            server.most = max(server.most, server.running)
        try:
            time.sleep(server.delay)
            if fault is not None:
                fault(self)
            else:
                self.chat(server.answer(body))
        finally:
            with server.lock:
                server.running -= 1


@pytest.fixture
def chat_server() -> Iterator[ChatServer]:
    """A server that answers until the test ends."""
    server = ChatServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()
