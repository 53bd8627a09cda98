"""Asynchronous work over a stream: so many at a time, results in the order of the items.

`in_order` is read from ordinary code: the event loop runs while a result is waited for. At most
`width` items are taken ahead, so that a stream of any length needs bounded memory.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
C = TypeVar("C")


def in_order(
    items: Iterable[T],
    work: Callable[[C, T], Awaitable[R]],
    opened: Callable[[], AbstractAsyncContextManager[C]],
    width: int,
) -> Iterator[R]:
    """Results of `work(context, item)`, at most `width` at a time; an error ends the others.

    `opened` gives the context that the work shares, such as a client; it lives in the loop.
    """
    with asyncio.Runner() as runner:
        results = _results(iter(items), work, opened, width)
        try:
            while True:
                try:
                    yield runner.run(_next(results))
                except StopAsyncIteration:
                    return
        finally:
            runner.run(results.aclose())


async def _next(results: AsyncIterator[R]) -> R:
    return await anext(results)


async def _results(
    items: Iterator[T],
    work: Callable[[C, T], Awaitable[R]],
    opened: Callable[[], AbstractAsyncContextManager[C]],
    width: int,
) -> AsyncGenerator[R, None]:
    async with opened() as context:
        running: deque[asyncio.Task[R]] = deque()
        try:
            for item in items:
                running.append(asyncio.ensure_future(_called(work, context, item)))
                if len(running) >= width:
                    yield await running.popleft()
            while running:
                yield await running.popleft()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)


async def _called(work: Callable[[C, T], Awaitable[R]], context: C, item: T) -> R:
    return await work(context, item)
