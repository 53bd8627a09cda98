"""So many items under way: bounded, in order or as they are done, and ended whole."""

import asyncio
import os
import random
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from srl_data.in_flight import as_done, in_order
from srl_data.pace import WindowLimit


@asynccontextmanager
async def nothing() -> AsyncIterator[None]:
    """A context that is none."""
    yield None


def test_results_come_as_they_are_done_and_a_slow_one_holds_back_none() -> None:
    running = most = ended = 0

    async def work(_: None, number: int) -> int:
        nonlocal running, most, ended
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        while number == 0 and ended < 39:  # until all others are done
            await asyncio.sleep(0.001)
        running -= 1
        ended += 1
        return number * number

    found = list(as_done(range(40), work, nothing, 4))
    assert (0, 0) in found[-4:], "the slow one comes with the last"
    assert sorted(found) == [(number, number * number) for number in range(40)]
    assert most == 4


@pytest.mark.parametrize("results", [in_order, as_done])
def test_an_error_ends_the_others_and_what_is_taken_ahead_is_bounded(
    results: Callable[..., Iterator[object]],
) -> None:
    ended: list[int] = []
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    async def work(_: None, number: int) -> int:
        try:
            await asyncio.sleep(0.01 if number < 7 else 30)
        except asyncio.CancelledError:
            ended.append(number)
            raise
        if number == 6:
            raise KeyError(number)
        return number

    begun = time.monotonic()
    with pytest.raises(KeyError, match="6"):
        list(results(items(), work, nothing, 5))
    assert time.monotonic() - begun < 25
    assert ended
    assert len(taken) <= 6 + 6
    assert list(results([], work, nothing, 5)) == []


@pytest.mark.parametrize("results", [in_order, as_done])
def test_a_reader_that_goes_away_ends_the_work(results: Callable[..., Iterator[object]]) -> None:
    ended: list[int] = []

    async def work(_: None, number: int) -> int:
        try:
            await asyncio.sleep(30 if number else 0)
        except asyncio.CancelledError:
            ended.append(number)
            raise
        return number

    reader = results(range(10), work, nothing, 3)
    next(reader)
    reader.close()  # type: ignore[attr-defined]
    assert {1, 2} <= set(ended)


@pytest.mark.parametrize("results", [in_order, as_done])
def test_an_interrupt_at_any_moment_is_just_that(
    results: Callable[..., Iterator[object]],
) -> None:
    begun = threading.Event()

    async def work(_: None, number: int) -> int:
        begun.set()
        await asyncio.sleep(0.0005)
        return number

    def interrupt() -> None:
        begun.wait()
        time.sleep(random.uniform(0, 0.02))
        os.kill(os.getpid(), signal.SIGINT)

    for _ in range(30):
        begun.clear()
        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            list(results(iter(int, 1), work, nothing, 3))
        thread.join()


def test_no_window_holds_more_than_its_limit() -> None:
    limit = WindowLimit(5, seconds=0.3)
    taken: list[float] = []

    async def take() -> None:
        taken.append((await limit.take()).taken)

    async def all_of_them() -> None:
        await asyncio.gather(*[take() for _ in range(17)])

    asyncio.run(all_of_them())
    assert len(taken) == 17
    for place, moment in enumerate(taken):
        assert sum(moment - 0.3 < each <= moment for each in taken) <= 5, place
    assert taken[-1] - taken[0] < 3 * 0.3 + 5, "no slower than need be, on a busy machine"


def test_an_estimate_is_corrected_and_what_is_too_large_waits_for_an_empty_window() -> None:
    limit = WindowLimit(100, seconds=1.5)

    async def moments() -> list[float]:
        first = await limit.take(90)
        limit.correct(first, 20)
        return [(await limit.take(amount)).taken - first.taken for amount in (80, 500, 1)]

    soon, next_window, last = asyncio.run(moments())
    assert soon < 1.4
    assert next_window >= soon + 1.5
    assert last >= next_window + 1.5
