"""JSON over HTTP from asynchronous code: deadlines, retries, and a key that is shown nowhere.

httpx carries, tenacity retries: only what can succeed the next time (connections, timeouts, 408,
409, 425, 429, 5xx), with exponential backoff and jitter, and not before the server's `Retry-After`.
What a server sends is not trusted: answers have a greatest size and a time in which they must be
whole, redirects are not followed, and what is shown of an error is short and printable.
"""

import asyncio
import json
import math
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType

import httpx
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt

from srl_data.command.errors import CommandError
from srl_data.endpoint import Endpoint

RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
GREATEST = 64 << 20
"""Bytes of an answer."""
LONGEST_WAIT = 120.0
"""Seconds between two attempts, whatever a server asks for."""


class RequestError(CommandError):
    """A request that failed for good; `passing` says that it may succeed another day."""

    def __init__(self, message: str, *, passing: bool, status: int | None = None) -> None:
        super().__init__(message)
        self.passing = passing
        self.status = status


class _PassingError(Exception):
    """A failure that may be over at the next attempt, after `delay` seconds at least."""

    def __init__(self, reason: str, delay: float = 0.0, status: int | None = None) -> None:
        super().__init__(reason)
        self.delay = delay
        self.status = status


def retry_after(value: str | None) -> float:
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
    return min(max(seconds, 0.0), LONGEST_WAIT) if math.isfinite(seconds) else 0.0


class JsonClient:
    """Calls to one server, any number at a time, within one event loop."""

    def __init__(self, endpoint: Endpoint, connections: int = 64) -> None:
        self.endpoint = endpoint
        self.retries = 0
        """Attempts beyond the first, of all calls."""
        headers = {"Accept": "application/json"}
        if endpoint.key is not None:
            headers["Authorization"] = f"Bearer {endpoint.key}"
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        # One deadline for the whole answer (`_attempt`); only connecting has a shorter one.
        timeout = httpx.Timeout(None, connect=min(30.0, endpoint.timeout))
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

    async def post(self, path: str, body: Mapping[str, object]) -> object:
        """The parsed answer to a POST of `body`. Raises RequestError when it failed for good."""
        url = f"{self.endpoint.base_url.rstrip('/')}{path}"
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(_PassingError),
            stop=stop_after_attempt(self.endpoint.attempts),
            wait=self._wait,
            reraise=True,
        )
        try:
            async for attempt in retrying:
                with attempt:
                    self.retries += attempt.retry_state.attempt_number > 1
                    return await self._attempt(url, body)
        except _PassingError as error:
            reason = f"{url}: {error} (attempts: {self.endpoint.attempts})"
            raise RequestError(reason, passing=True, status=error.status) from error
        raise AssertionError("tenacity gives a result or raises")

    def _wait(self, state: RetryCallState) -> float:
        """Seconds before the next attempt: backoff with jitter, or what the server asked for."""
        error = state.outcome.exception() if state.outcome else None
        backoff = float(self.endpoint.first_delay * 2 ** (state.attempt_number - 1))
        asked = error.delay if isinstance(error, _PassingError) else 0.0
        jitter = random.uniform(0.5, 1.0)
        return max(min(backoff, LONGEST_WAIT) * jitter, asked)

    async def _attempt(self, url: str, body: Mapping[str, object]) -> object:
        try:
            async with asyncio.timeout(self.endpoint.timeout):
                async with self._http.stream("POST", url, json=body) as response:
                    content = await self._read(response)
        except TimeoutError as error:
            limit = f"{self.endpoint.timeout:g} s"
            raise _PassingError(f"no whole answer within {limit}") from error
        except httpx.TransportError as error:
            raise _PassingError(self._shown(str(error) or type(error).__name__)) from error
        return self._parsed(url, response, content)

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
            try:
                answer: object = json.loads(content)
            except (ValueError, RecursionError) as error:
                raise _PassingError("an answer that is no JSON", status=status) from error
            return answer
        text = self._shown(content[:600].decode("utf-8", "replace"))
        reason = f"status {status}" + (f": {text}" if text else "")
        if status in RETRIED:
            raise _PassingError(reason, retry_after(response.headers.get("Retry-After")), status)
        hint = ""
        if status in (401, 403):
            hint = f"; set the key in the environment variable {self.endpoint.key_variable}"
        elif status == 404:
            hint = "; --base-url usually ends in /v1"
        elif 300 <= status < 400:
            hint = "; it redirects, give the final address as --base-url"
        raise RequestError(f"{url} refused: {reason}{hint}", passing=False, status=status)

    def _shown(self, text: str) -> str:
        """What may be printed of a server's words."""
        if self.endpoint.key:
            text = text.replace(self.endpoint.key, "***")
        printable = "".join(c if c.isprintable() else " " for c in text)
        return " ".join(printable.split())[:200]
