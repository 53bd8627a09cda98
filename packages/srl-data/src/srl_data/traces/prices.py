"""What tokens cost: a price table, its off-peak factor, and exact sums.

Costs are decimal fractions, so that a sum is the sum by hand. Tables are YAML: `currency`, `as_of`
and `models`, each with `input`, `cached_input` and `output` for a million tokens.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from srl_data.chat_model import Usage
from srl_data.command.config import read_tree
from srl_data.command.errors import ConfigError, DataError
from srl_data.records import short_reason

MILLION = 1_000_000
DAY = 86_400
"""Seconds."""
TEMPLATE = 256
"""Tokens that a template puts around a question, about."""


class Price(BaseModel):
    """What a million tokens cost."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    input: Decimal = Field(ge=0)
    cached_input: Decimal | None = Field(default=None, ge=0)
    """Of tokens that the server had in its cache; None for no difference."""
    output: Decimal = Field(ge=0)
    """Reasoning included."""

    def cost(self, usage: Usage, factor: Decimal = Decimal(1)) -> Decimal:
        """What an answer costs."""
        cached = self.input if self.cached_input is None else self.cached_input
        millionths = (
            (usage.prompt_tokens - usage.cached_tokens) * self.input
            + usage.cached_tokens * cached
            + usage.completion_tokens * self.output
        )
        return millionths * factor / MILLION


class PriceTable(BaseModel):
    """Prices of models by their names at the server."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    currency: str = "USD"
    as_of: str | None = None
    """The day on which the prices were looked up."""
    models: Mapping[str, Price]


def shipped_table() -> Traversable:
    """The table that comes with the package."""
    return files("srl_data.traces") / "prices.yaml"


def read_prices(source: Traversable) -> PriceTable:
    """A price table; DataError naming the file and what is wrong in it."""
    try:
        return PriceTable.model_validate(read_tree(source))
    except ValidationError as error:
        raise DataError(
            f"{source}: {short_reason(error)}; expected `models:` with input and output for a "
            "million tokens of each model"
        ) from error


def open_prices(path: Path | None) -> PriceTable:
    """The user's table, else the shipped one."""
    if path is None:
        return read_prices(shipped_table())
    if not path.is_file():
        raise ConfigError(f"--prices {path}: no such file; give a YAML file of prices")
    return read_prices(path)


@dataclass(frozen=True)
class Window:
    """Hours of each day in UTC, possibly over midnight, in seconds of the day."""

    start: int
    end: int

    def holds(self, moment: datetime) -> bool:
        """Whether a moment lies in it; the end does not."""
        return (second_of_day(moment) - self.start) % DAY < (self.end - self.start) % DAY

    def seconds_until(self, moment: datetime) -> float:
        """Seconds until it opens; 0 within."""
        if self.holds(moment):
            return 0.0
        return (self.start - second_of_day(moment)) % DAY


def second_of_day(moment: datetime) -> float:
    """Seconds since midnight, UTC."""
    day = moment.astimezone(UTC)
    return day.hour * 3600 + day.minute * 60 + day.second + day.microsecond / 1e6


HOURS = re.compile(r"(\d{2}):(\d{2})(?::(\d{2}))?-(\d{2}):(\d{2})(?::(\d{2}))?")


def parse_window(text: str) -> Window:
    """`16:30-00:30` as a window; ValueError for anything else."""
    match = HOURS.fullmatch(text.strip())
    numbers = [int(part or 0) for part in match.groups()] if match else []
    ends = [numbers[:3], numbers[3:]]
    if not match or any(h > 23 or m > 59 or s > 59 for h, m, s in ends):
        raise ValueError(f"{text!r} are no hours; expected HH:MM-HH:MM in UTC, as 16:30-00:30")
    start, end = (h * 3600 + m * 60 + s for h, m, s in ends)
    if start == end:
        raise ValueError(f"{text!r} begins and ends at once; expected two times")
    return Window(start, end)


@dataclass(frozen=True)
class Tariff:
    """A model's price with its off-peak factor."""

    price: Price | None
    """None where nobody said what the model costs."""
    currency: str = "USD"
    as_of: str | None = None
    factor: Decimal = Decimal(1)
    window: Window = Window(0, 1)

    def cost(self, usage: Usage | None, moment: datetime) -> Decimal | None:
        """What an answer that came at a moment costs; None where that is not known."""
        if self.price is None or usage is None:
            return None
        return self.price.cost(usage, self.factor if self.window.holds(moment) else Decimal(1))

    def guess(self, prompt: str, answer: str) -> Decimal:
        """What a reply costs at most whose tokens the server did not count: one for each byte."""
        if self.price is None:
            return Decimal(0)
        sizes = (len(text.encode("utf-8", "surrogatepass")) for text in (prompt, answer))
        prompt_bytes, answer_bytes = sizes
        return self.price.cost(Usage(prompt_bytes + TEMPLATE, answer_bytes))

    def most(self, prompt_tokens: int, max_tokens: int) -> Decimal:
        """What an answer costs at most."""
        assert self.price is not None, "a budget has a price"
        return self.price.cost(Usage(prompt_tokens, max_tokens))
