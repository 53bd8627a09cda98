"""A server on this machine with OpenAI's API, for tests and for rehearsals that cost nothing.

    python -m srl_data.loopback solutions.jsonl --port 8123

answers each question of the file with its solution, after `--delay` seconds, and fails a share of
the requests (`--faults 0.2`) in the ways in which servers fail. A test gives `answer` and `faults`
of its own. Left out: models. What it says is what it was told.
"""

import argparse
import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from srl_data.command.errors import CommandError, DataError

Json = dict[str, object]
Fault = Callable[["LoopbackHandler"], None]
"""What a request meets in place of an answer."""


def chat_reply(content: str | None, usage: Mapping[str, int] | None = None, **message: str) -> Json:
    """A chat's answer as OpenAI's API gives it; `reasoning_content` is a part of the message."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content, **message}}
    counted = {"prompt_tokens": 3, "completion_tokens": 5} if usage is None else dict(usage)
    return {"choices": [{**choice, "finish_reason": "stop"}], "usage": counted}


@dataclass(eq=False)
class LoopbackServer(ThreadingHTTPServer):
    """Answers on a port of 127.0.0.1; `running()` serves it in a thread."""

    answer: Callable[[Json], object] = lambda _: "an answer"
    """From a request's body to the content of a chat, or to a whole reply."""
    faults: list[Fault] = field(default_factory=list)
    """What the first requests meet."""
    fault_of: Callable[[Json], Fault | None] = lambda _: None
    """What a request meets, by its body."""
    delay: float = 0.0
    """Seconds before anything is said."""
    models: object = field(default_factory=lambda: {"data": [{"id": "m"}]})
    """What `/models` says."""
    port: int = 0
    requests: list[Json] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    underway: int = 0
    most: int = 0
    """Requests that were under way together."""

    daemon_threads = True
    request_queue_size = 1024

    def __post_init__(self) -> None:
        self.lock = threading.Lock()
        self.over = threading.Event()
        super().__init__(("127.0.0.1", self.port), LoopbackHandler)

    def handle_error(self, *_: object) -> None:
        """Quiet: clients go away."""

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    @contextmanager
    def running(self) -> "Iterator[LoopbackServer]":
        """Serve until the block ends."""
        thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.over.set()
            self.shutdown()
            self.server_close()
            thread.join()

    def met(self, path: str, body: Json, headers: Mapping[str, str]) -> Fault | None:
        """Note a request; the fault that it meets."""
        with self.lock:
            self.requests.append({"path": path, **body})
            self.headers.append(dict(headers))
            self.times.append(time.monotonic())
            self.underway += 1
            self.most = max(self.most, self.underway)
            return self.faults.pop(0) if self.faults else self.fault_of(body)

    def left(self) -> None:
        """A request is over."""
        with self.lock:
            self.underway -= 1


class LoopbackHandler(BaseHTTPRequestHandler):
    """`/v1/models` and POST to anything else."""

    server: LoopbackServer
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

    def reply(self, answer: object) -> None:
        """An answer as JSON."""
        self.send(200, json.dumps(answer).encode(), Content_Type="application/json")

    def chat(self, content: str | None, **message: str) -> None:
        """A chat's answer."""
        self.reply(chat_reply(content, None, **message))

    def do_GET(self) -> None:
        """The models."""
        with self.server.lock:
            self.server.headers.append(dict(self.headers))
        self.reply(self.server.models)

    def do_POST(self) -> None:
        """Count, wait, answer."""
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        fault = server.met(self.path, body, dict(self.headers))
        try:
            server.over.wait(server.delay)
            if fault is not None:
                fault(self)
                return
            answer = server.answer(body)
        finally:
            server.left()
        self.reply(chat_reply(answer) if isinstance(answer, str) else answer)


def failing(status: int, content: bytes = b"", **headers: str) -> Fault:
    """A fault that is a status."""
    return lambda handler: handler.send(status, content, **headers)


def cut_short(handler: LoopbackHandler) -> None:
    """A promise of more than is sent."""
    handler.send(200, b'{"choices": [', Content_Length="5000")
    handler.close_connection = True


def hang_up(handler: LoopbackHandler) -> None:
    """No answer at all."""
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


def hang(handler: LoopbackHandler) -> None:
    """Nothing for half a minute."""
    handler.server.over.wait(30)
    handler.close_connection = True


def drip(handler: LoopbackHandler) -> None:
    """Each byte in time, the whole never."""
    handler.send(200, b" ", Content_Length="100000")
    handler.close_connection = True
    while not handler.server.over.wait(0.05):
        handler.wfile.write(b" ")


USUAL_FAULTS: tuple[Fault, ...] = (
    failing(429, b'{"error": "slow down"}', Retry_After="0.05"),
    failing(500, b"out of memory"),
    failing(503, b"busy"),
    failing(200, b'{"choices": ['),
    cut_short,
    hang_up,
    lambda handler: handler.chat(""),
)
"""The ways in which servers fail."""


def solutions_of(path: Path) -> dict[str, str]:
    """Each question's solution, of a file of rows."""
    from srl_data.splits import open_source

    found = {}
    for _, row in open_source(str(path)).read("fail", lambda _: None):
        problem = row.get("problem", row.get("question"))
        solution = row.get("solution", row.get("answer"))
        if isinstance(problem, str) and isinstance(solution, str):
            found[problem] = solution
    if not found:
        raise DataError(f"{path} has no rows with problem and solution (or question and answer)")
    return found


def answering(solutions: Mapping[str, str]) -> Callable[[Json], object]:
    """Answers a chat with the solution of the question that its last message holds."""

    def answer(body: Json) -> object:
        asked = str(body["messages"][-1]["content"])  # type: ignore[index]  # JSON
        problem = max((each for each in solutions if each in asked), key=len, default=None)
        solution = "I do not know." if problem is None else solutions[problem]
        usage = {"prompt_tokens": len(asked) // 4, "completion_tokens": len(solution) // 4}
        return chat_reply(solution, usage, reasoning_content=f"Let me see. {solution}")

    return answer


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="srl_data.loopback", description=__doc__.splitlines()[0])
    parser.add_argument("solutions", type=Path, help="rows with problem and solution")
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before an answer")
    parser.add_argument("--faults", type=float, default=0.0, help="share of requests that fail")
    options = parser.parse_args()
    chance = random.Random(0)

    def fault_of(_body: Json) -> Fault | None:
        return chance.choice(USUAL_FAULTS) if chance.random() < options.faults else None

    try:
        server = LoopbackServer(
            answering(solutions_of(options.solutions)),
            fault_of=fault_of,
            delay=options.delay,
            port=options.port,
        )
    except (CommandError, OSError) as error:
        parser.exit(3, f"srl_data.loopback: error: {error}\n")
    with server.running():
        print(f"answering at {server.url}; Ctrl-C ends it", flush=True)  # noqa: T201 - what the command says
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
