"""Asynchronous work over a stream: so many at a time, read from ordinary code.

`in_order` gives results in the order of the items, `as_done` as they come. The event loop runs
while a result is waited for. At most `width` items are taken ahead, so that a stream of any length
needs bounded memory.
"""

import asyncio
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
)
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")
C = TypeVar("C")


class Run(Protocol):
    """Runs a coroutine of one event loop to its end."""

    def __call__(self, work: Coroutine[object, object, R], /) -> R:
        """What it returns."""


def in_order(
    items: Iterable[T],
    work: Callable[[C, T], Awaitable[R]],
    opened: Callable[[], AbstractAsyncContextManager[C]],
    width: int,
) -> Iterator[R]:
    """Results of `work(context, item)`, at most `width` at a time; an error ends the others.

    `opened` gives the context that the work shares, such as a client; it lives in the loop. A slow
    item holds back those after it: at most `width` are begun.
    """
    return _driven(_in_order(iter(items), work, opened, width))


def as_done(
    items: Iterable[T],
    work: Callable[[C, T], Awaitable[R]],
    opened: Callable[[], AbstractAsyncContextManager[C]],
    width: int,
) -> Iterator[tuple[int, R]]:
    """As `in_order`, each result with its item's place and as soon as it is there.

    `width` items are always under way, however slow one of them is.
    """
    return _driven(_as_done(enumerate(items), work, opened, width))


def _driven(results: AsyncGenerator[R, None]) -> Iterator[R]:
    with _loop() as (run, settle):
        try:
            while True:
                try:
                    yield run(_next(results))
                except StopAsyncIteration:
                    return
        finally:
            settle()
            run(_closed(results))


@contextmanager
def _loop() -> Iterator[tuple[Run, Callable[[], None]]]:
    """A new event loop: in a thread of its own where one is running here, as in a notebook.

    With it what settles the loop before its last work. An interrupt that comes just as work ends
    leaves behind the order to stop, which the next work would take for its own.
    """
    with asyncio.Runner() as runner:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            loop = runner.get_loop()

            def settle() -> None:
                loop.call_soon(loop.stop)
                loop.run_forever()

            try:
                yield runner.run, settle
            finally:
                settle()
            return
        with ThreadPoolExecutor(1) as thread:

            def run(work: Coroutine[object, object, R]) -> R:
                return thread.submit(runner.run, work).result()

            try:
                yield run, lambda: None  # no interrupt comes to another thread
            finally:
                thread.submit(runner.close).result()


async def _next(results: AsyncIterator[R]) -> R:
    return await anext(results)


async def _closed(results: AsyncGenerator[R, None]) -> None:
    """End the work, and whatever waits for it: an interrupt may leave a `_next` behind."""
    here = asyncio.current_task()
    await _ended(task for task in asyncio.all_tasks() if task is not here)
    await results.aclose()


async def _in_order(
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
            await _ended(running)


async def _as_done(
    items: Iterator[tuple[int, T]],
    work: Callable[[C, T], Awaitable[R]],
    opened: Callable[[], AbstractAsyncContextManager[C]],
    width: int,
) -> AsyncGenerator[tuple[int, R], None]:
    async with opened() as context:
        running: set[asyncio.Task[R]] = set()
        places: dict[asyncio.Task[R], int] = {}
        try:
            while True:
                while len(running) < width and (given := next(items, None)) is not None:
                    task = asyncio.ensure_future(_called(work, context, given[1]))
                    places[task] = given[0]
                    running.add(task)
                if not running:
                    return
                done, running = await asyncio.wait(running, return_when="FIRST_COMPLETED")
                for task in sorted(done, key=places.__getitem__):
                    yield places.pop(task), task.result()
        finally:
            await _ended(places)


async def _ended(tasks: Iterable[asyncio.Task[R]]) -> None:
    """Cancel what still runs, and take what any of it raised."""
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _called(work: Callable[[C, T], Awaitable[R]], context: C, item: T) -> R:
    return await work(context, item)
