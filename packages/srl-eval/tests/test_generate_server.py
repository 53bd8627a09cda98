"""The engine over a server: a real one on loopback, and ones that fail in every way."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srl_data.command.errors import DataError
from srl_data.endpoint import Endpoint
from srl_data.loopback import (
    Fault,
    LoopbackServer,
    cut_short,
    drip,
    failing,
    hang,
    hang_up,
)
from srl_eval.generate import Completion, Sampling, TransformersEngine
from srl_eval.generate.server import ServerEngine, ServerError, read_completion, server_endpoint

Json = dict[str, object]


def endpoint(server: LoopbackServer, **changes: object) -> Endpoint:
    made = server_endpoint(server.url, timeout=20.0, attempts=4)
    return replace(made, first_delay=0.01, **changes)


def engine(server: LoopbackServer, **changes: object) -> ServerEngine:
    return ServerEngine(endpoint(server, **changes), "tiny", chunk_size=8, concurrency=4)


PROMPTS = [[5, 6, 7], [5, 6, 7], [9] * 40, [200, 3]]
SEEDS = [1, 2, 2**64 - 1, 2**63]
SAMPLING = Sampling(20, temperature=1.3, top_p=0.9, top_k=50, min_p=0.01, stop_token_ids=(0, 7))


def close_to(left: list[Completion], right: list[Completion]) -> bool:
    """Equal, but for the last bits of log-probabilities."""
    return all(
        (a.token_ids, a.finish_reason) == (b.token_ids, b.finish_reason)
        and a.logprobs == pytest.approx(b.logprobs)
        for a, b in zip(left, right, strict=True)
    )


def test_the_servers_completions_are_the_engines_own(
    server: LoopbackServer, local_engine: TransformersEngine
) -> None:
    remote = engine(server)
    seeds = [seed % 2**63 for seed in SEEDS]
    assert close_to(
        remote.generate(PROMPTS, SAMPLING, SEEDS), local_engine.generate(PROMPTS, SAMPLING, seeds)
    )
    greedy = Sampling(6, 0.0, stop_token_ids=(0,))
    assert close_to(
        remote.generate(PROMPTS, greedy, SEEDS), local_engine.generate(PROMPTS, greedy, seeds)
    )
    assert "stop" not in server.requests[0]
    written = local_engine.generate(PROMPTS, Sampling(20), seeds)[0].token_ids
    text = str(local_engine.decoder.decode(list(written[4:6]), skip_special_tokens=False))  # type: ignore[union-attr]
    until = replace(SAMPLING, stop=(text,), temperature=1.0, top_p=1.0, top_k=0, min_p=0.0)
    remote.decoder = local_engine.decoder
    got = remote.generate(PROMPTS, until, SEEDS)
    assert close_to(got, local_engine.generate(PROMPTS, until, seeds))
    assert got[0].stop_string == text
    assert server.requests[-1]["stop"] == [text]
    first = server.requests[0]
    assert (first["stream"], first["n"], first["logprobs"]) == (False, 1, 1)
    asked = {tuple(r["prompt"]): r["seed"] for r in server.requests[:4]}  # type: ignore[arg-type]
    assert asked[(9,) * 40] == 2**63 - 1


def test_requests_run_side_by_side_and_come_back_in_order(server: LoopbackServer) -> None:
    remote = ServerEngine(endpoint(server), "tiny", chunk_size=16, concurrency=3)
    prompts = [[2 + row] for row in range(16)]
    sampling = Sampling(4)
    together = remote.generate(prompts, sampling, list(range(16)))
    assert 2 <= server.most <= 3
    alone = [remote.generate([p], sampling, [row])[0] for row, p in enumerate(prompts)]
    assert close_to(together, alone)


@pytest.mark.parametrize(
    "fault",
    [failing(500), failing(503, b"busy"), failing(429, Retry_After="0"), hang_up, cut_short],
    ids=["500", "503", "429", "hang up", "cut short"],
)
def test_what_passes_is_tried_again(server: LoopbackServer, fault: Fault) -> None:
    expected = engine(server).generate(PROMPTS, SAMPLING, SEEDS)
    server.faults = [fault] * 3
    assert engine(server).generate(PROMPTS, SAMPLING, SEEDS) == expected
    assert len(server.requests) == 4 + 4 + 3


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (failing(500, b"out of memory"), "status 500: out of memory"),
        (failing(429), "status 429"),
        (hang_up, "disconnected"),
        (cut_short, "without sending complete message body"),
        (hang, "no whole answer within 0.5 s"),
        (drip, "no whole answer within 0.5 s"),
    ],
    ids=["500", "429", "hang up", "cut short", "hang", "drip"],
)
def test_what_does_not_pass_names_the_url_and_the_way_on(
    server: LoopbackServer, fault: Fault, reason: str
) -> None:
    server.faults = [fault] * 99
    with pytest.raises(ServerError, match=reason) as caught:
        engine(server, attempts=2, timeout=0.5).generate(PROMPTS[:1], SAMPLING, [1])
    assert f"{server.url}/completions: " in str(caught.value)
    assert "(attempts: 2)" in str(caught.value)
    assert caught.value.exit_code == 1
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (failing(400, b'{"error": "max_tokens is too large"}'), "status 400: .*max_tokens is too"),
        (failing(401, b"no"), "set the key in the environment variable SRL_EVAL_API_KEY"),
        (failing(404), "--base-url usually ends in /v1"),
        (
            failing(404, b"\x1b[31m\x00\xff no such route"),
            r"status 404: \[31m \ufffd no such route",
        ),
        (failing(302, Location="http://elsewhere/"), "it redirects"),
        (failing(200, b"<html>"), "something else than JSON"),
        (failing(200, b"[" * 100_000), "something else than JSON"),
        (failing(200, b"[]"), "gave no completion as asked"),
        (failing(200, b"{}"), "choices: Field required"),
        (failing(200, b'{"choices": []}'), "choices: List should have at least 1 item"),
    ],
)
def test_what_no_attempt_betters_ends_at_once(
    server: LoopbackServer, fault: Fault, reason: str
) -> None:
    server.faults = [fault] * 99
    with pytest.raises(DataError, match=reason) as caught:
        engine(server).generate(PROMPTS[:1], SAMPLING, [1])
    assert server.url in str(caught.value)
    assert len(server.requests) == 1


def choice(**changes: object) -> Json:
    fields: Json = {
        "token_ids": [5, 6, 7],
        "logprobs": {"token_logprobs": [-1.0, -2.0, -0.5]},
        "finish_reason": "stop",
        **changes,
    }
    return {"choices": [{name: value for name, value in fields.items() if value is not ...}]}


def test_a_whole_answer_is_read() -> None:
    sampling = Sampling(4, stop_token_ids=(7,))
    assert read_completion(choice(), sampling, 3) == Completion(
        (5, 6, 7), (-1.0, -2.0, -0.5), "stop", 3
    )
    past = choice(token_ids=[5, 7, 6], finish_reason="length")
    assert read_completion(past, sampling, 0) == Completion((5, 7), (-1.0, -2.0), "stop", 0)
    full = choice(finish_reason="length")
    assert read_completion(full, Sampling(3), 0).finish_reason == "length"


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (choice(token_ids=...), "token_ids: Field required"),
        (choice(token_ids=None), "token_ids: Input should be a valid list"),
        (choice(token_ids=["5", "6", "7"]), "token_ids.0: Input should be a valid integer"),
        (choice(token_ids=[5, -6, 7]), "token_ids.1: Input should be greater than or equal to 0"),
        (choice(token_ids=[5, 2**40, 7]), "token_ids.1: Input should be less than"),
        (choice(token_ids=[5, True, 7]), "token_ids.1: Input should be a valid integer"),
        (choice(token_ids=[]), "0 token_ids and 3 token_logprobs"),
        (choice(token_ids=[], logprobs={"token_logprobs": []}), "0 token_ids, expected 1 to 4"),
        (choice(logprobs=None), "logprobs: Input should be"),
        (choice(logprobs={"token_logprobs": [-1.0]}), "3 token_ids and 1 token_logprobs"),
        (choice(logprobs={"token_logprobs": [-1.0, None, 0.0]}), "token_logprobs.1: Input should"),
        (choice(logprobs={"token_logprobs": [-1.0, 3.0, 0.0]}), "a log-probability of 3.0"),
        (
            choice(logprobs={"token_logprobs": [-1.0, float("nan"), 0.0]}),
            "a log-probability of nan",
        ),
        (choice(finish_reason=None), "finish_reason: Input should be a valid string"),
        ({**choice(), "usage": {"completion_tokens": 9}}, "3 token_ids, usage says 9"),
        (choice(token_ids=[5, 6, 8]), r"it ended \('stop'\) after 3 of 4 tokens at token 8"),
        (choice(token_ids=[5, 6, 8], finish_reason="length"), "after 3 of 4 tokens"),
        (choice(token_ids=[5, 6, 8], finish_reason="abort"), r"it ended \('abort'\)"),
        ({"choices": choice()["choices"] * 2}, "choices: List should have at most 1 item"),  # type: ignore[operator]
    ],
)
def test_an_answer_that_does_not_fit_is_refused(
    server: LoopbackServer, reply: object, reason: str
) -> None:
    server.answer = lambda _: reply
    with pytest.raises(DataError, match=reason) as caught:
        engine(server).generate([[5]], Sampling(4, stop_token_ids=(7,)), [1])
    assert f"{server.url}/completions" in str(caught.value)


def test_more_tokens_than_asked_for_are_refused() -> None:
    with pytest.raises(ValueError, match="3 token_ids, expected 1 to 2"):
        read_completion(choice(), Sampling(2, stop_token_ids=(7,)), 0)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "token_ids", "logprobs", "token_logprobs", "finish_reason", "usage"]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


@given(_JSON)
def test_any_json_is_a_completion_or_a_value_error(reply: object) -> None:
    try:
        made = read_completion(reply, SAMPLING, 0)
    except ValueError:
        return
    assert len(made.token_ids) == len(made.logprobs) > 0


def test_the_first_failure_ends_the_chunk_and_its_requests(server: LoopbackServer) -> None:
    server.faults = [hang, hang, failing(400)]
    started = time.monotonic()
    with pytest.raises(DataError, match="status 400"):
        engine(server).generate([[5]] * 8, SAMPLING, list(range(8)))
    assert time.monotonic() - started < 10


def test_a_server_that_hangs_is_not_waited_for_again_and_again(server: LoopbackServer) -> None:
    server.faults = [failing(500), hang, failing(500), hang, hang]
    with pytest.raises(ServerError, match=r"no whole answer within 0.3 s \(attempts: 4\)"):
        engine(server, attempts=9, timeout=0.3).generate([[5]], SAMPLING, [1])


def test_a_pause_asked_for_is_kept_and_a_foolish_one_is_not(server: LoopbackServer) -> None:
    server.faults = [failing(429, Retry_After="1")]
    started = time.monotonic()
    engine(server).generate([[5]], SAMPLING, [1])
    assert time.monotonic() - started > 1
    server.faults = [failing(429, Retry_After="Wed, 21 Oct 2099 07:28:00 GMT")]
    started = time.monotonic()
    engine(server, longest_delay=0.5).generate([[5]], SAMPLING, [1])
    assert time.monotonic() - started < 30


def test_a_servers_echo_of_the_key_is_not_shown(server: LoopbackServer) -> None:
    server.faults = [failing(401, b"Incorrect API key provided: sk-very-secret")]
    with pytest.raises(DataError) as caught:
        engine(server, key="sk-very-secret").generate([[5]], SAMPLING, [1])
    assert "Incorrect API key provided: ***" in str(caught.value)
    assert "very-secret" not in repr(endpoint(server, key="sk-very-secret"))


def test_an_engine_is_asked_from_several_threads(server: LoopbackServer) -> None:
    remote = engine(server)

    def one(prompt: list[int], seed: int) -> list[Completion]:
        return remote.generate([prompt], SAMPLING, [seed])

    alone = [one(prompt, seed) for prompt, seed in zip(PROMPTS, SEEDS, strict=True)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(one, PROMPTS, SEEDS)) == alone


def test_an_engine_is_asked_where_an_event_loop_runs_as_in_a_notebook(
    server: LoopbackServer,
) -> None:
    async def cell() -> list[Completion]:
        return engine(server).generate(PROMPTS, SAMPLING, SEEDS)

    assert asyncio.run(cell()) == engine(server).generate(PROMPTS, SAMPLING, SEEDS)
    server.faults = [failing(400)]
    with pytest.raises(DataError, match="status 400"):
        asyncio.run(cell())
