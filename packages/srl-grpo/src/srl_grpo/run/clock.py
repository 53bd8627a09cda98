"""Seconds by phase of a training step."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic


class Stopwatch:
    """Adds up the time of named phases; what belongs to none is `other`."""

    def __init__(self, entered: Callable[[str], None] = lambda _: None) -> None:
        self._entered = entered
        self._began = monotonic()
        self._spent: dict[str, float] = {}

    def restart(self, entered: Callable[[str], None]) -> None:
        """Count from now on; `entered` hears of each phase."""
        self._entered, self._began, self._spent = entered, monotonic(), {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time a block as part of phase `name`; phases do not nest."""
        self._entered(name)
        start = monotonic()
        try:
            yield
        finally:
            self._spent[name] = self._spent.get(name, 0.0) + monotonic() - start

    def metrics(self) -> dict[str, float]:
        """`step_time` and `time/<phase>`, in seconds since the last call, and start afresh."""
        now = monotonic()
        whole = now - self._began
        result = {f"time/{name}": seconds for name, seconds in self._spent.items()}
        result["time/other"] = whole - sum(self._spent.values())
        self._began, self._spent = now, {}
        return {"step_time": whole, **result}
