"""What traces cost: prices, exact sums, off-peak hours, and a budget that is not exceeded."""

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from srl_data.chat_model import Usage
from srl_data.cli import cli
from srl_data.command.errors import DataError
from srl_data.command.frame import execute
from srl_data.loopback import LoopbackServer, chat_reply
from srl_data.traces.config import MoneySection
from srl_data.traces.prices import Price, Window, open_prices, parse_window
from srl_data.traces.purse import Purse

PRICED = ["--price-input", "1", "--price-output", "10"]
USAGE = {"prompt_tokens": 100, "completion_tokens": 1000}
COST = Decimal("0.0101")
"""Of one answer: 100 tokens at 1 and 1000 at 10 for a million."""


@pytest.fixture
def teacher(chat_server: LoopbackServer) -> LoopbackServer:
    """Every answer costs the same."""
    chat_server.answer = lambda _: chat_reply("Yes.", USAGE)
    return chat_server


def ask(server: LoopbackServer, tmp_path: Path, count: int, *more: str) -> int:
    """The exit code of a run over so many questions."""
    path = tmp_path / "questions.jsonl"
    rows = [{"id": f"q{n}", "problem": f"What is {n}+1?"} for n in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    words = ["traces", "--source", str(path), "--output", str(tmp_path / "out.jsonl")]
    words += ["--model", "teacher", "--base-url", server.url, "--retry-delay", "0.01"]
    return execute(cli, "srl-data", [*words, *more])


def costs(tmp_path: Path) -> list[Any]:
    """The costs in the file."""
    lines = (tmp_path / "out.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["cost"] for line in lines]


def test_a_cost_is_tokens_times_prices() -> None:
    price = Price(input=Decimal("0.28"), cached_input=Decimal("0.028"), output=Decimal("0.42"))
    assert price.cost(Usage(1000, 2000, 400, 1500)) == (
        Decimal("0.000168") + Decimal("0.0000112") + Decimal("0.00084")
    )
    assert price.cost(Usage(0, 1), Decimal("0.25")) == Decimal("0.000000105")
    assert Price(input=Decimal(3), output=Decimal(0)).cost(Usage(1, 9, 1)) == Decimal("0.000003")


def test_sums_are_exact_over_all_runs(
    tmp_path: Path, teacher: LoopbackServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(teacher, tmp_path, 3, *PRICED) == 0
    assert f"cost: {3 * COST} USD" in capsys.readouterr().out
    assert ask(teacher, tmp_path, 30, *PRICED) == 0
    assert f"cost: {30 * COST} USD" in capsys.readouterr().out
    manifest = json.loads((tmp_path / "out.manifest.json").read_text())
    assert manifest["counts"]["cost_in_millionths"] == 303_000
    assert manifest["counts"]["completion_tokens"] == 30_000


@pytest.mark.parametrize("bounded", [True, False])
def test_a_budget_stops_the_run_before_it_is_exceeded_and_a_larger_one_goes_on(
    tmp_path: Path, teacher: LoopbackServer, capsys: pytest.CaptureFixture[str], bounded: bool
) -> None:
    teacher.delay = 0.02
    more = [*PRICED, *(["--max-tokens", "1000"] if bounded else []), "--concurrency", "8"]
    assert ask(teacher, tmp_path, 40, *more, "--budget", "0.1") == 4
    first = costs(tmp_path)
    assert sum(map(Decimal, map(str, first))) <= Decimal("0.1")
    assert len(first) == 9, "as many as it pays for"
    assert len(teacher.requests) == 9
    error = capsys.readouterr().err
    assert "the budget of 0.1 USD is used up: 0.090900 spent" in error
    assert "31 answers are missing; run the same command again" in error
    assert ask(teacher, tmp_path, 40, *more, "--budget", "0.1") == 4
    assert len(teacher.requests) == 9, "the budget is for all runs"
    assert ask(teacher, tmp_path, 40, *more, "--budget", "1") == 0
    assert len(teacher.requests) == 40


def test_empty_replies_count_against_the_budget(tmp_path: Path, teacher: LoopbackServer) -> None:
    teacher.answer = lambda _: chat_reply("", USAGE)
    more = [*PRICED, "--max-tokens", "1000", "--max-retries", "99", "--budget", "0.05"]
    assert ask(teacher, tmp_path, 3, *more, "--concurrency", "1") in (1, 4)
    assert len(teacher.requests) <= 6


def test_a_server_that_does_not_count_is_charged_the_most_it_may_cost(
    tmp_path: Path, teacher: LoopbackServer, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher.answer = lambda _: {**chat_reply("x" * 1000), "usage": None}
    assert ask(teacher, tmp_path, 50, *PRICED, "--budget", "0.05", "--concurrency", "1") == 4
    assert 2 <= len(teacher.requests) <= 5
    assert set(costs(tmp_path)) == {None}
    assert "replies of unknown cost" in capsys.readouterr().out
    before = len(teacher.requests)
    assert ask(teacher, tmp_path, 50, *PRICED, "--budget", "0.05", "--concurrency", "1") == 4
    assert len(teacher.requests) <= before + 1, "what was charged before is charged again"


@pytest.mark.parametrize(
    ("words", "code", "fault"),
    [
        (["--budget", "1"], 2, "has no price for 'teacher' but for deepseek-chat"),
        (["--prices", "none.yaml"], 2, "no such file"),
        (["--price-input", "1"], 2, "give --price-input and --price-output together"),
        (["--budget", "0"], 2, "greater than 0"),
        (["--offpeak", "25"], 2, "less than or equal to 1"),
        (["--offpeak-hours", "16-24"], 2, "expected HH:MM-HH:MM in UTC"),
        (["--offpeak-hours", "25:00-01:00"], 2, "expected HH:MM-HH:MM in UTC"),
        (["--offpeak-hours", "16:30-16:30"], 2, "begins and ends at once"),
        (["--samples", "4", "--temperature", "0"], 2, "are one answer, asked for again"),
        (["--extra", "{api_key: x}"], 2, "a key is given in the environment alone"),
        (["--extra", "{n: 4}"], 2, "which the command sets itself"),
        (["--output", "out.parquet"], 2, "expected a name that ends in .jsonl"),
        (["--rpm", "0"], 2, "greater than 0"),
        (["--api-key-env", "sk-123"], 2, "should match pattern"),
        (["--base-url", "http://h/v1?key=hunter2"], 2, "holds a query or fragment"),
    ],
)
def test_what_cannot_be_reckoned_is_refused_before_anything_is_asked(
    tmp_path: Path,
    teacher: LoopbackServer,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    fault: str,
) -> None:
    assert ask(teacher, tmp_path, 2, *words) == code
    assert fault in capsys.readouterr().err
    assert teacher.requests == []


def test_a_table_of_prices_names_what_is_wrong_in_it(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text("models:\n  m: {input: -1, output: 2}\n")
    with pytest.raises(DataError, match=r"prices\.yaml: models\.m\.input: Input should be greater"):
        open_prices(path)
    path.write_text("currency: EUR\nmodels:\n  m: {input: 0.1, output: 2}\n")
    tariff = MoneySection(prices=path).tariff("m")
    assert (tariff.currency, tariff.price) == (
        "EUR",
        Price(input=Decimal("0.1"), output=Decimal(2)),
    )
    assert MoneySection().tariff("deepseek-reasoner").price is not None
    assert MoneySection().tariff("unknown").price is None


def at(text: str) -> datetime:
    """A time of some day, UTC."""
    return datetime.fromisoformat(f"2026-03-01T{text}+00:00")


def test_hours_may_lie_over_midnight() -> None:
    night, day = parse_window("16:30-00:30"), parse_window("01:00-02:00:30")
    assert night == Window(59_400, 1_800)
    held = {
        text: night.holds(at(text)) for text in ("16:29:59", "16:30", "23:59", "00:29", "00:30")
    }
    assert list(held.values()) == [False, True, True, True, False]
    assert night.seconds_until(at("00:30")) == 16 * 3600
    assert night.seconds_until(at("20:00")) == 0
    assert day.seconds_until(at("03:00")) == 22 * 3600
    assert [day.holds(at(text)) for text in ("02:00:29", "02:00:30")] == [True, False]


def hours(start: float, end: float) -> str:
    """Hours in seconds from now."""
    now = datetime.now(UTC)
    return "-".join(f"{now + timedelta(seconds=each):%H:%M:%S}" for each in (start, end))


def test_answers_in_the_off_peak_hours_cost_less(tmp_path: Path, teacher: LoopbackServer) -> None:
    more = [*PRICED, "--offpeak", "0.25"]
    assert ask(teacher, tmp_path, 1, *more, "--offpeak-hours", hours(-60, 3600)) == 0
    assert ask(teacher, tmp_path, 2, *more, "--offpeak-hours", hours(3600, 7200)) == 0
    assert costs(tmp_path) == [0.002525, 0.0101]


def test_off_peak_hours_are_waited_for_where_that_is_asked(
    tmp_path: Path, teacher: LoopbackServer
) -> None:
    begun = time.monotonic()
    more = [*PRICED, "--offpeak", "0.25", "--wait-offpeak", "--offpeak-hours", hours(2, 3600)]
    assert ask(teacher, tmp_path, 3, *more) == 0
    assert teacher.times[0] - begun >= 0.9, "the second of the day is cut off"
    assert costs(tmp_path) == [0.002525] * 3


def test_a_purse_lets_one_request_through_until_it_knows_what_they_cost() -> None:
    async def asked() -> list[Decimal | None]:
        purse = Purse(Decimal(1))
        first = await purse.set_aside(None)
        assert first == 1
        purse.pay(Decimal("0.3"))
        await purse.settle(first)
        second, third = await purse.set_aside(None), await purse.set_aside(None)
        waiting = asyncio.ensure_future(purse.set_aside(None))
        await asyncio.sleep(0)
        assert not waiting.done(), "those under way may leave enough"
        for amount in (second, third):
            assert amount is not None
            purse.pay(amount)
            await purse.settle(amount)
        return [second, third, await waiting]

    assert asyncio.run(asked()) == [Decimal("0.3"), Decimal("0.3"), None]
