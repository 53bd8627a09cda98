"""A budget that is not overdrawn: what a request may cost is set aside before it is sent."""

import asyncio
from decimal import Decimal


class Purse:
    """Money spent and set aside, within one event loop; `limit` None lets everything through."""

    def __init__(
        self,
        limit: Decimal | None,
        spent: Decimal = Decimal(0),
        largest: Decimal | None = None,
    ) -> None:
        self.limit = limit
        self.spent = spent
        self.largest = largest
        """The dearest reply so far, the estimate where nothing bounds an answer."""
        self._aside = Decimal(0)
        self._settled = asyncio.Condition()

    async def set_aside(self, most: Decimal | None) -> Decimal | None:
        """The amount set aside for a request of at most `most`; None where it is too much.

        Waits while requests under way could leave enough. Without a bound the dearest reply so far
        is taken for it, and before there is one all that is left: one request at first.
        """
        if self.limit is None:
            return Decimal(0)
        async with self._settled:
            while True:
                left = self.limit - self.spent - self._aside
                amount = self._estimate(left) if most is None else most
                if amount is not None and amount <= left:
                    self._aside += amount
                    return amount
                if not self._aside:
                    return None
                await self._settled.wait()

    def _estimate(self, left: Decimal) -> Decimal | None:
        if left <= 0:
            return None
        return self.largest if self.largest is not None else left

    def pay(self, cost: Decimal) -> None:
        """Book what a reply cost."""
        self.spent += cost
        self.largest = max(cost, self.largest or Decimal(0))

    async def settle(self, amount: Decimal) -> None:
        """Give back what was set aside for a request that has ended."""
        async with self._settled:
            self._aside -= amount
            self._settled.notify_all()

    @property
    def overdrawn(self) -> bool:
        """Whether nothing is left."""
        return self.limit is not None and self.spent >= self.limit
