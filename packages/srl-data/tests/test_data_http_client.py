"""The HTTP client against a real server on loopback: retries, deadlines, and a key nobody sees."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from srl_data.chat_client import chat
from srl_data.chat_model import ChatAnswer, ChatModel, Usage
from srl_data.command.errors import ConfigError
from srl_data.endpoint import (
    Endpoint,
    check_base_url,
    key_from_environment,
    key_variable_of,
)
from srl_data.http_client import JsonClient, RequestError, retry_after
from srl_data.in_flight import in_order

Server = Handler = Setting = Any  # the server's classes live in conftest.py
KEY = "sk-very-secret-0123456789"
MESSAGES = [{"role": "user", "content": "Hello"}]


def ask(url: str, **settings: Setting) -> ChatAnswer:
    """One chat, without long waits between attempts."""
    endpoint = Endpoint(url, **{"first_delay": 0.01, "timeout": 10.0, "key": KEY, **settings})

    async def once() -> ChatAnswer:
        async with JsonClient(endpoint) as client:
            return await chat(client, ChatModel("teacher", 0.5, 7), MESSAGES)

    return asyncio.run(once())


def test_a_chat_is_asked_and_read_as_openai_has_it(chat_server: Server) -> None:
    chat_server.faults = [lambda handler: handler.chat("Yes.", reasoning_content="Hm.")]
    answer = ask(chat_server.url)
    assert answer == ChatAnswer("Yes.", "Hm.", "stop", Usage(3, 5))
    (request,) = chat_server.requests
    assert request == {
        "path": "/v1/chat/completions",
        "model": "teacher",
        "messages": MESSAGES,
        "temperature": 0.5,
        "max_tokens": 7,
    }
    assert chat_server.headers[0]["Authorization"] == f"Bearer {KEY}"


def cut(handler: Handler) -> None:
    """A promise of more than is sent."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices"')
    handler.close_connection = True


def closed(handler: Handler) -> None:
    """No answer at all."""
    handler.close_connection = True
    handler.connection.close()


PASSING: dict[str, Callable[[Handler], None]] = {
    **{
        str(status): lambda handler, status=status: handler.send(status, b"busy")
        for status in (408, 409, 425, 429, 500, 502, 503, 504, 529)
    },
    "broken JSON": lambda handler: handler.send(200, b'{"choices": ['),
    "a cut answer": cut,
    "a closed connection": closed,
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_what_may_pass_is_tried_again(
    chat_server: Server, fault: Callable[[Handler], None]
) -> None:
    chat_server.faults = [fault, fault]
    assert ask(chat_server.url).content == "an answer"
    assert len(chat_server.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 301])
def test_what_cannot_pass_is_not_tried_again(chat_server: Server, status: int) -> None:
    chat_server.faults = [lambda handler: handler.send(status, b"no", Location="/elsewhere")]
    with pytest.raises(RequestError, match=f"refused: status {status}: no") as caught:
        ask(chat_server.url)
    assert not caught.value.passing
    assert len(chat_server.requests) == 1


def test_attempts_end_with_the_last_reason(chat_server: Server) -> None:
    chat_server.faults = [lambda handler: handler.send(503, b"later")] * 9
    with pytest.raises(RequestError, match=r"status 503: later \(attempts: 3\)") as caught:
        ask(chat_server.url, attempts=3)
    assert caught.value.passing
    assert len(chat_server.requests) == 3


@pytest.mark.parametrize("status", [408, 429, 500])
def test_a_server_that_asks_for_time_gets_it(chat_server: Server, status: int) -> None:
    chat_server.faults = [lambda handler: handler.send(status, b"", Retry_After="1")]
    ask(chat_server.url)
    first, second = chat_server.times
    assert second - first >= 1.0


def test_retry_after_is_seconds_or_a_date_and_bounded() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 25 < retry_after(soon) <= 30
    values = ["2.5", "1e9", "-4", "nan", "inf", "soon", None]
    assert [retry_after(value) for value in values] == [2.5, 120.0, 0, 0, 0, 0, 0]


def test_a_slow_answer_is_given_up_at_its_deadline(chat_server: Server) -> None:
    def drip(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        for _ in range(100):  # each byte comes in time, the whole does not
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.1)

    chat_server.faults = [drip]
    begun = time.monotonic()
    with pytest.raises(RequestError, match=r"no whole answer within 0\.5 s"):
        ask(chat_server.url, timeout=0.5, attempts=1)
    assert time.monotonic() - begun < 8


def test_no_server_is_an_error_in_one_line() -> None:
    with pytest.raises(RequestError, match=r"http://127\.0\.0\.1:9/v1/chat/completions"):
        ask("http://127.0.0.1:9/v1", attempts=2)


def test_an_empty_answer_may_pass_another_time(chat_server: Server) -> None:
    chat_server.faults = [lambda handler: handler.chat("  ")]
    with pytest.raises(RequestError, match="an empty answer") as caught:
        ask(chat_server.url)
    assert caught.value.passing


@pytest.mark.parametrize("content", [b"[]", b'{"choices": []}', b'{"choices": [{"text": "x"}]}'])
def test_an_answer_of_another_kind_is_refused(chat_server: Server, content: bytes) -> None:
    chat_server.faults = [lambda handler: handler.send(200, content)]
    with pytest.raises(RequestError, match="answered otherwise than asked"):
        ask(chat_server.url)


def test_the_key_is_not_shown_even_where_the_server_repeats_it(chat_server: Server) -> None:
    chat_server.faults = [lambda handler: handler.send(401, f"bad key {KEY}".encode())]
    with pytest.raises(RequestError) as caught:
        ask(chat_server.url, key_variable="DEEPSEEK_API_KEY")
    assert KEY not in str(caught.value)
    assert "bad key ***; set the key in the environment variable DEEPSEEK_API_KEY" in str(
        caught.value
    )
    assert KEY not in repr(Endpoint(chat_server.url, key=KEY))


def test_keys_are_found_by_their_host() -> None:
    hosts = {
        "https://api.deepseek.com/v1": "DEEPSEEK_API_KEY",
        "https://api.openai.com/v1": "OPENAI_API_KEY",
        "http://localhost:8000/v1": "SRL_DATA_API_KEY",
        "https://api.deepseek.com.evil.example/v1": "SRL_DATA_API_KEY",
    }
    assert {host: key_variable_of(host) for host in hosts} == hosts


def test_a_key_that_cannot_stand_in_a_header_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", f" {KEY}\n")
    assert key_from_environment("SOME_KEY") == KEY
    monkeypatch.setenv("SOME_KEY", "two words")
    with pytest.raises(ConfigError, match="SOME_KEY holds white space") as caught:
        key_from_environment("SOME_KEY")
    assert "two" not in str(caught.value)
    monkeypatch.delenv("SOME_KEY")
    assert key_from_environment("SOME_KEY") is None


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host/v1", "https://", ""])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="is no address"):
        check_base_url(url)


def test_an_address_with_a_password_is_refused_without_showing_it() -> None:
    with pytest.raises(ValueError, match="holds a user or password") as caught:
        check_base_url("https://me:hunter2@host/v1")
    assert "hunter2" not in str(caught.value)


def test_results_come_in_order_so_many_at_a_time(chat_server: Server) -> None:
    chat_server.delay = 0.02
    chat_server.answer = lambda body: json.dumps(body["messages"][0]["content"])
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(40):
            taken.append(number)
            yield number

    async def work(client: JsonClient, number: int) -> str:
        messages = [{"role": "user", "content": str(number)}]
        return (await chat(client, ChatModel("m"), messages)).content

    results = in_order(items(), work, lambda: JsonClient(Endpoint(chat_server.url)), 8)
    first = next(results)
    assert len(taken) <= 9, "no further than needed is read ahead"
    assert [json.loads(each) for each in (first, *results)] == [str(n) for n in range(40)]
    assert 2 <= chat_server.most <= 8


def test_an_error_ends_what_is_under_way(chat_server: Server) -> None:
    chat_server.faults = [lambda handler: handler.send(401, b"")]
    chat_server.delay = 0.05

    async def work(client: JsonClient, _number: int) -> str:
        return (await chat(client, ChatModel("m"), MESSAGES)).content

    results = in_order(range(10_000), work, lambda: JsonClient(Endpoint(chat_server.url)), 4)
    with pytest.raises(RequestError, match="status 401"):
        list(results)
    assert len(chat_server.requests) < 50
