"""JSON over HTTP from asynchronous code: deadlines, retries, and a key that is shown nowhere.

httpx carries, tenacity retries: only what can succeed the next time (connections, timeouts, 408,
409, 425, 429, 5xx), with exponential backoff and jitter, and not before the server's `Retry-After`,
which all requests of a client keep. What a server sends is not trusted: answers have a greatest
size and a time in which they must be whole, redirects are not followed, and what is shown of an
error is short and printable.
"""

import asyncio
import json
import math
import os
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import TypeVar

import httpx
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from srl_data.command.errors import CommandError
from srl_data.endpoint import Endpoint

T = TypeVar("T")

RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
PAUSING = frozenset({429, 503, 529})
"""Statuses whose `Retry-After` is for every request, not for one."""
GREATEST = 64 << 20
"""Bytes of an answer."""


class RequestError(CommandError):
    """A request that failed for good; `passing` says that it may succeed another day."""

    def __init__(
        self, message: str, *, passing: bool, status: int | None = None, attempts: int = 1
    ) -> None:
        super().__init__(message)
        self.passing = passing
        self.status = status
        self.attempts = attempts


class PassingError(Exception):
    """A failure that may be over at the next attempt, after `delay` seconds at least."""

    def __init__(self, reason: str, delay: float = 0.0, status: int | None = None) -> None:
        super().__init__(reason)
        self.delay = delay
        self.status = status


class _LateError(PassingError):
    """No whole answer within the time."""


def retry_after(value: str | None, longest: float = Endpoint.longest_delay) -> float:
    """The seconds of a Retry-After header, a number or a date; 0 for none or nonsense."""
    if value is None:
        return 0.0
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (TypeError, ValueError):
            return 0.0
    return min(max(seconds, 0.0), longest) if math.isfinite(seconds) else 0.0


async def _at_once() -> None:
    """What stands before an attempt where there is no limit."""


class JsonClient:
    """Calls to one server, any number at a time, within one event loop.

    `gate` is awaited before each attempt: a limit of requests per minute.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        connections: int = 64,
        gate: Callable[[], Awaitable[object]] = _at_once,
    ) -> None:
        self.endpoint = endpoint
        self.retries = 0
        """Attempts beyond the first, of all calls."""
        self._gate = gate
        self._paused_until = 0.0
        headers = {"Accept": "application/json"}
        if endpoint.key is not None:
            headers["Authorization"] = f"Bearer {endpoint.key}"
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        # One deadline for the whole answer (`_attempt`); only connecting has a shorter one.
        timeout = httpx.Timeout(None, connect=min(endpoint.connect_timeout, endpoint.timeout))
        self._http = httpx.AsyncClient(headers=headers, limits=limits, timeout=timeout)

    async def __aenter__(self) -> "JsonClient":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    async def get(self, path: str) -> object:
        """The parsed answer to a GET. Raises RequestError when it failed for good."""
        return await self.read(path, None, _as_it_is)

    async def post(self, path: str, body: Mapping[str, object]) -> object:
        """The parsed answer to a POST of `body`. Raises RequestError when it failed for good."""
        return await self.read(path, body, _as_it_is)

    async def read(
        self, path: str, body: Mapping[str, object] | None, made: Callable[[object], T]
    ) -> T:
        """What `made` makes of the parsed answer; where it raises PassingError it is asked again.

        Raises RequestError when it failed for good.
        """
        url = f"{self.endpoint.base_url.rstrip('/')}{path}"
        hangs, number = 0, 0

        def over(state: RetryCallState) -> bool:
            nonlocal hangs
            error = state.outcome.exception() if state.outcome else None
            hangs += isinstance(error, _LateError)
            most = self.endpoint.most_hangs
            return state.attempt_number >= self.endpoint.attempts or (
                most is not None and hangs >= most
            )

        retrying = AsyncRetrying(
            retry=retry_if_exception_type(PassingError), stop=over, wait=self._wait, reraise=True
        )
        try:
            async for attempt in retrying:
                with attempt:
                    number = attempt.retry_state.attempt_number
                    self.retries += number > 1
                    return made(await self._attempt(url, body))
        except PassingError as error:
            reason = f"{url}: {error} (attempts: {number})"
            raise RequestError(
                reason, passing=True, status=error.status, attempts=number
            ) from error
        except RequestError as error:
            error.attempts = number
            raise
        raise AssertionError("tenacity gives a result or raises")

    def _wait(self, state: RetryCallState) -> float:
        """Seconds before the next attempt: backoff with jitter, or what the server asked for."""
        error = state.outcome.exception() if state.outcome else None
        backoff = float(self.endpoint.first_delay * 2 ** (state.attempt_number - 1))
        asked = error.delay if isinstance(error, PassingError) else 0.0
        jitter = random.uniform(0.5, 1.0)
        return max(min(backoff, self.endpoint.longest_delay) * jitter, asked)

    async def _attempt(self, url: str, body: Mapping[str, object] | None) -> object:
        await self._turn()
        try:
            async with asyncio.timeout(self.endpoint.timeout):
                method = "GET" if body is None else "POST"
                async with self._http.stream(method, url, json=body) as response:
                    content = await self._read(response)
        except TimeoutError as error:
            raise _LateError(f"no whole answer within {self.endpoint.timeout:g} s") from error
        except httpx.TransportError as error:
            raise PassingError(self._shown(_cause(error))) from error
        return self._parsed(url, response, content)

    async def _turn(self) -> None:
        """Wait for the gate, and while the server has asked for a pause."""
        while (pause := self._paused_until - time.monotonic()) > 0:
            await asyncio.sleep(pause)
        await self._gate()

    async def _read(self, response: httpx.Response) -> bytes:
        """The whole answer; one that is too large is given up."""
        blocks, size = [], 0
        async for block in response.aiter_bytes():
            size += len(block)
            if size > GREATEST:
                raise RequestError(f"an answer of more than {GREATEST >> 20} MiB", passing=False)
            blocks.append(block)
        return b"".join(blocks)

    def _parsed(self, url: str, response: httpx.Response, content: bytes) -> object:
        status = response.status_code
        if status == 200:
            return self._json(url, content)
        text = self._shown(content[:600].decode("utf-8", "replace"))
        reason = f"status {status}" + (f": {text}" if text else "")
        if status in RETRIED:
            delay = retry_after(response.headers.get("Retry-After"), self.endpoint.longest_delay)
            if status in PAUSING:
                self._paused_until = max(self._paused_until, time.monotonic() + delay)
            raise PassingError(reason, delay, status)
        hint = ""
        if status in (401, 403):
            hint = f"; set the key in the environment variable {self.endpoint.key_variable}"
        elif status == 404:
            hint = "; --base-url usually ends in /v1"
        elif 300 <= status < 400:
            hint = "; it redirects, give the final address as --base-url"
        raise RequestError(f"{url} refused: {reason}{hint}", passing=False, status=status)

    def _json(self, url: str, content: bytes) -> object:
        try:
            answer: object = json.loads(content)
        except (ValueError, RecursionError) as error:
            if self.endpoint.broken_json_passes:
                raise PassingError("something else than JSON", status=200) from error
            reason = f"{url} answered with something else than JSON: {error}"
            raise RequestError(reason, passing=False, status=200) from error
        return answer

    def _shown(self, text: str) -> str:
        """What may be printed of a server's words."""
        if self.endpoint.key:
            text = text.replace(self.endpoint.key, "***")
        printable = "".join(c if c.isprintable() else " " for c in text)
        return " ".join(printable.split())[:200]


def _as_it_is(answer: object) -> object:
    return answer


def _cause(error: BaseException) -> str:
    """The words of a failed connection: the system's own, where it has any."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and inner.errno is not None and inner.strerror:
            dialled = inner.strerror.startswith("Connect call failed")  # asyncio's words
            words = os.strerror(inner.errno) if dialled else inner.strerror
            return f"[Errno {inner.errno}] {words}"
        inner = inner.__cause__ or inner.__context__
    return str(error) or type(error).__name__
