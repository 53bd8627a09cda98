"""JSON over HTTP to one server: deadlines, retries with backoff, and an end that ends at once.

What a server sends is not trusted: answers have a greatest size and a time in which they must be
whole, redirects are not followed, and what is shown of an error is short, printable and without the
key. One connection a request: beside a generation its cost is nothing.
"""

import json
import queue
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import (
    HTTPConnection,
    HTTPException,
    HTTPResponse,
    HTTPSConnection,
    IncompleteRead,
)
from types import TracebackType
from typing import TypeVar
from urllib.parse import urlsplit

from srl_data.command.errors import CommandError, DataError

T = TypeVar("T")

_RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_HINTS = {
    401: "; set the key in SRL_EVAL_API_KEY",
    403: "; set the key in SRL_EVAL_API_KEY",
    404: "; --base-url usually ends in /v1",
}
_GREATEST = 256 << 20  # bytes of an answer
_BLOCK = 1 << 16
_FIRST_DELAY, _LONGEST_DELAY = 0.5, 30.0  # seconds
_CONNECT_SECONDS = 10.0
_MOST_HANGS = 2  # of one request: each may have cost half an hour


class ServerError(CommandError):
    """A server that failed to the last attempt; the evaluation can be resumed."""


class _LateError(OSError):
    """No whole answer within the time."""


class _PassingError(Exception):
    """A failure that may be over at the next attempt, after `delay` seconds at least."""

    def __init__(self, reason: str, delay: float = 0.0) -> None:
        super().__init__(reason)
        self.delay = delay


@dataclass(frozen=True)
class ServerAddress:
    """Where a server is and how it is asked; `key` is shown nowhere."""

    base_url: str
    timeout: float
    attempts: int
    key: str | None = field(default=None, repr=False)
    first_delay: float = _FIRST_DELAY


class Client:
    """Calls to one server from any number of threads; leaving the context ends those under way."""

    def __init__(self, address: ServerAddress) -> None:
        self._address = address
        parts = urlsplit(address.base_url)
        assert parts.hostname is not None, "BackendSection checks the URL"
        self._host, self._port, self._path = parts.hostname, parts.port, parts.path.rstrip("/")
        self._connection = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._over = threading.Event()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        with self._lock:
            for sock in self._open:
                _shut(sock)

    def call(self, path: str, body: Mapping[str, object] | None = None) -> object:
        """The parsed answer to a POST of `body`, or to a GET where there is none.

        Raises ServerError when every attempt failed in a way that may pass, DataError for an answer
        that no attempt would better.
        """
        url = f"{self._address.base_url.rstrip('/')}{path}"
        reason, tried, hangs = "", 0, 0
        while tried < self._address.attempts and hangs < _MOST_HANGS:
            try:
                return self._once(url, path, body)
            except _PassingError as error:
                reason = str(error)
                hangs += isinstance(error.__cause__, _LateError)
                delay = min(self._address.first_delay * 2**tried, _LONGEST_DELAY)
                tried += 1
                if tried < self._address.attempts and self._over.wait(max(delay, error.delay)):
                    break
        raise ServerError(
            f"{url}: {reason} (attempts: {tried}); see to the server and run the "
            "same command again: it goes on where it was"
        )

    def _once(self, url: str, path: str, body: Mapping[str, object] | None) -> object:
        try:
            status, after, content = self._exchange(path, body)
        except (OSError, HTTPException) as error:
            raise _PassingError(
                _shown(str(error) or type(error).__name__, self._address)
            ) from error
        if status == 200:
            try:
                answer: object = json.loads(content)
            except (ValueError, RecursionError) as error:
                raise DataError(f"{url} answered with something else than JSON: {error}") from error
            return answer
        text = _shown(content[:400].decode("utf-8", "replace"), self._address)
        reason = f"status {status}" + (f": {text}" if text else "")
        if status in _RETRIED:
            raise _PassingError(reason, _seconds(after))
        if 300 <= status < 400:
            raise DataError(f"{url}: {reason}; it redirects, give the final address as --base-url")
        raise DataError(f"{url} refused the request: {reason}{_HINTS.get(status, '')}")

    def _exchange(
        self, path: str, body: Mapping[str, object] | None
    ) -> tuple[int, str | None, bytes]:
        """Status, Retry-After and content, all of it within the address's time."""
        connection = self._connection(self._host, self._port, timeout=_CONNECT_SECONDS)
        headers = {"Accept": "application/json"}
        if self._address.key is not None:
            headers["Authorization"] = f"Bearer {self._address.key}"
        data = None
        if body is not None:
            data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        try:
            connection.connect()
            sock: socket.socket = connection.sock
            sock.settimeout(self._address.timeout)
            with self._watched(sock) as expired:
                method = "GET" if body is None else "POST"
                try:
                    connection.request(method, f"{self._path}{path}", data, headers)
                    response = connection.getresponse()
                    content = _read(response)
                except (OSError, HTTPException) as error:
                    if expired.is_set() or isinstance(error, TimeoutError):
                        limit = f"{self._address.timeout:g} s"
                        raise _LateError(f"no whole answer within {limit}") from error
                    raise
            return response.status, response.getheader("Retry-After"), content
        finally:
            connection.close()

    @contextmanager
    def _watched(self, sock: socket.socket) -> Iterator[threading.Event]:
        """A socket that is shut when its time is over, or its client's; set where it was time.

        A socket's own timeout starts again with every byte.
        """
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            _shut(sock)

        timer = threading.Timer(self._address.timeout, expire)
        timer.daemon = True
        with self._lock:
            if self._over.is_set():
                raise ConnectionAbortedError("given up")
            self._open.add(sock)
        timer.start()
        try:
            yield expired
        finally:
            timer.cancel()
            with self._lock:
                self._open.discard(sock)


def _shut(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _read(response: HTTPResponse) -> bytes:
    """The whole answer; OSError where it is too large."""
    blocks, size = [], 0
    while block := response.read(_BLOCK):
        blocks.append(block)
        size += len(block)
        if size > _GREATEST:
            raise OSError(f"an answer of more than {_GREATEST >> 20} MiB")
    if response.length:  # read(n) takes a broken connection for the end
        raise IncompleteRead(b"", response.length)
    return b"".join(blocks)


def _shown(text: str, address: ServerAddress) -> str:
    """What may be printed of a server's words."""
    if address.key:
        text = text.replace(address.key, "***")
    printable = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(printable.split())[:200]


def _seconds(retry_after: str | None) -> float:
    """The seconds of a Retry-After header, at most a minute; 0 for a date or nonsense."""
    if retry_after is None or not retry_after.strip().isdecimal():
        return 0.0
    return min(float(retry_after), 60.0)


def in_order(tasks: Sequence[Callable[[], T]], width: int) -> list[T]:
    """Results of all tasks, at most `width` of them at a time; the first error is raised at once.

    The threads are daemons, since those of `concurrent.futures` are waited for at exit: what still
    runs after an error or Ctrl-C is left to whoever owns the connections.
    """
    numbers = iter(range(len(tasks)))
    outcomes: queue.SimpleQueue[tuple[int, T | None, BaseException | None]] = queue.SimpleQueue()
    stopped = threading.Event()
    lock = threading.Lock()

    def work() -> None:
        while not stopped.is_set():
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            try:
                outcomes.put((number, tasks[number](), None))
            except BaseException as error:  # noqa: BLE001 - raised where the results are awaited
                outcomes.put((number, None, error))
                return

    for _ in range(min(width, len(tasks))):
        threading.Thread(target=work, name="srl-eval-request", daemon=True).start()
    results: dict[int, T] = {}
    try:
        while len(results) < len(tasks):
            number, value, error = outcomes.get()
            if error is not None:
                raise error
            results[number] = value  # type: ignore[assignment]
    finally:
        stopped.set()
    return [results[number] for number in range(len(tasks))]
