"""So many requests, or tokens, in any minute: a window that slides, not one that begins anew.

A leaky bucket lets through twice its rate in its first minute, which servers that count by the
minute refuse; here no minute holds more than the limit.
"""

import asyncio
import time
from collections import deque
from dataclasses import dataclass

MINUTE = 60.0
"""Seconds of a window, where none are given."""


@dataclass
class Share:
    """What was taken of a limit, and when."""

    taken: float
    amount: float


class WindowLimit:
    """At most `limit` in any `seconds`; those who wait are let through in their order."""

    def __init__(self, limit: float, seconds: float | None = None) -> None:
        self.limit = limit
        self.seconds = MINUTE if seconds is None else seconds
        self._shares: deque[Share] = deque()
        self._used = 0.0
        self._turn = asyncio.Lock()

    async def take(self, amount: float = 1.0) -> Share:
        """Wait until `amount` fits; one that is larger than the limit waits for an empty window."""
        async with self._turn:
            while (wait := self._wait(amount)) > 0:
                await asyncio.sleep(wait)
            share = Share(time.monotonic(), amount)
            self._shares.append(share)
            self._used += amount
            return share

    def correct(self, share: Share, amount: float) -> None:
        """What an estimate came to; of use while it stands in the window."""
        if any(share is each for each in self._shares):
            self._used += amount - share.amount
            share.amount = amount

    def _wait(self, amount: float) -> float:
        """Seconds until it is worth looking again; 0 where it fits."""
        now = time.monotonic()
        while self._shares and self._shares[0].taken + self.seconds <= now:
            self._used -= self._shares.popleft().amount
        if not self._shares or self._used + amount <= self.limit:
            return 0.0
        return max(self._shares[0].taken + self.seconds - now, 1e-3)
