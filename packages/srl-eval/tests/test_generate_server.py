"""The engine over a server: a real one on loopback, and ones that fail in every way."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast, Qwen3ForCausalLM

from srl_data.command.errors import DataError
from srl_data.command.frame import execute
from srl_eval.cli import cli
from srl_eval.generate import Completion, Sampling, TransformersEngine
from srl_eval.generate.server import ServerEngine, read_completion
from srl_eval.generate.transport import Client, ServerAddress, ServerError, in_order

Json = dict[str, object]
Fault = Callable[["Handler"], None]


@dataclass
class State:
    """What the server is to do, and what it has seen."""

    engine: TransformersEngine
    faults: list[Fault] = field(default_factory=list)
    change: Callable[[Json], object] = lambda reply: reply
    requests: list[Json] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    models: object = field(
        default_factory=lambda: {"data": [{"id": "tiny", "max_model_len": 4096}]}
    )
    running: int = 0
    most: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    over: threading.Event = field(default_factory=threading.Event)


class Server(ThreadingHTTPServer):
    state: State
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Quiet: clients that go away are part of the tests."""


class Handler(BaseHTTPRequestHandler):
    """`/v1/models` and `/v1/completions`, answered by our own engine on a tiny model."""

    server: Server

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def send(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self) -> None:
        self.server.state.headers.append(dict(self.headers))
        self.send(200, json.dumps(self.server.state.models).encode())

    def do_POST(self) -> None:
        state = self.server.state
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with state.lock:
            state.headers.append(dict(self.headers))
            fault = state.faults.pop(0) if state.faults else None
            state.requests.append(body)
            state.running += 1
            state.most = max(state.most, state.running)
        try:
            if fault is not None:
                fault(self)
                return
            reply = json.dumps(state.change(answer(state, body))).encode()
        finally:
            with state.lock:
                state.running -= 1
        self.send(200, reply)


def answer(state: State, body: Json) -> Json:
    """vLLM's answer to a completion request with `return_token_ids`."""
    assert body["return_token_ids"] is True
    top_k = body["top_k"]
    sampling = Sampling(
        max_new_tokens=body["max_tokens"],
        temperature=body["temperature"],
        top_p=body["top_p"],
        top_k=0 if top_k == -1 else top_k,
        min_p=body["min_p"],
        stop_token_ids=tuple(body["stop_token_ids"]),
        stop=tuple(body.get("stop", ())),
    )
    with state.lock:
        (made,) = state.engine.generate([body["prompt"]], sampling, [body["seed"]])
    return {
        "id": "cmpl-1",
        "object": "text_completion",
        "model": body["model"],
        "choices": [
            {
                "index": 0,
                "text": "not looked at",
                "token_ids": list(made.token_ids),
                "logprobs": {"token_logprobs": list(made.logprobs), "tokens": []},
                "finish_reason": made.finish_reason,
                "stop_reason": None,
            }
        ],
        "usage": {"prompt_tokens": len(body["prompt"]), "completion_tokens": len(made.token_ids)},
    }


@pytest.fixture
def local_engine(model_folder: Path) -> TransformersEngine:
    model = Qwen3ForCausalLM.from_pretrained(model_folder)
    decoder = AutoTokenizer.from_pretrained(model_folder)
    return TransformersEngine(model, pad_token_id=1, chunk_size=1, decoder=decoder)


@pytest.fixture
def server(local_engine: TransformersEngine) -> Iterator[Server]:
    running = Server(("127.0.0.1", 0), Handler)
    running.state = State(local_engine)
    thread = threading.Thread(target=running.serve_forever, args=(0.05,))
    thread.start()
    yield running
    running.state.over.set()
    running.shutdown()
    running.server_close()
    thread.join()


def url(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}/v1"


def address(server: Server, **changes: object) -> ServerAddress:
    options = {"timeout": 20.0, "attempts": 4, "first_delay": 0.01, **changes}
    return ServerAddress(url(server), **options)  # type: ignore[arg-type]


def engine(server: Server, **changes: object) -> ServerEngine:
    return ServerEngine(address(server, **changes), "tiny", chunk_size=8, concurrency=4)


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
    server: Server, local_engine: TransformersEngine
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
    assert "stop" not in server.state.requests[0]
    written = local_engine.generate(PROMPTS, Sampling(20), seeds)[0].token_ids
    text = str(local_engine.decoder.decode(list(written[4:6]), skip_special_tokens=False))  # type: ignore[union-attr]
    until = replace(SAMPLING, stop=(text,), temperature=1.0, top_p=1.0, top_k=0, min_p=0.0)
    remote.decoder = local_engine.decoder
    got = remote.generate(PROMPTS, until, SEEDS)
    assert close_to(got, local_engine.generate(PROMPTS, until, seeds))
    assert got[0].stop_string == text
    assert server.state.requests[-1]["stop"] == [text]
    first = server.state.requests[0]
    assert (first["stream"], first["n"], first["logprobs"]) == (False, 1, 1)
    asked = {tuple(r["prompt"]): r["seed"] for r in server.state.requests[:4]}  # type: ignore[arg-type]
    assert asked[(9,) * 40] == 2**63 - 1


def test_requests_run_side_by_side_and_come_back_in_order(server: Server) -> None:
    remote = ServerEngine(address(server), "tiny", chunk_size=16, concurrency=3)
    prompts = [[2 + row] for row in range(16)]
    sampling = Sampling(4)
    together = remote.generate(prompts, sampling, list(range(16)))
    assert 2 <= server.state.most <= 3
    alone = [remote.generate([p], sampling, [row])[0] for row, p in enumerate(prompts)]
    assert close_to(together, alone)


def fail(status: int, body: bytes = b"", **headers: str) -> Fault:
    return lambda handler: handler.send(status, body, **headers)


def hang_up(handler: Handler) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)


def cut_short(handler: Handler) -> None:
    handler.send(200, b'{"choices": [', Content_Length="5000")


def hang(handler: Handler) -> None:
    handler.server.state.over.wait(30)


def drip(handler: Handler) -> None:
    handler.send(200, b" ", Content_Length="100000")
    while not handler.server.state.over.wait(0.05):
        handler.wfile.write(b" ")


@pytest.mark.parametrize(
    "fault",
    [fail(500), fail(503, b"busy"), fail(429, Retry_After="0"), hang_up, cut_short],
    ids=["500", "503", "429", "hang up", "cut short"],
)
def test_what_passes_is_tried_again(server: Server, fault: Fault) -> None:
    expected = engine(server).generate(PROMPTS, SAMPLING, SEEDS)
    server.state.faults = [fault] * 3
    assert engine(server).generate(PROMPTS, SAMPLING, SEEDS) == expected
    assert len(server.state.requests) == 4 + 4 + 3


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (fail(500, b"out of memory"), "status 500: out of memory"),
        (fail(429), "status 429"),
        (hang_up, "closed connection"),
        (cut_short, "more expected"),
        (hang, "no whole answer within 0.5 s"),
        (drip, "no whole answer within 0.5 s"),
    ],
    ids=["500", "429", "hang up", "cut short", "hang", "drip"],
)
def test_what_does_not_pass_names_the_url_and_the_way_on(
    server: Server, fault: Fault, reason: str
) -> None:
    server.state.faults = [fault] * 99
    with pytest.raises(ServerError, match=reason) as caught:
        engine(server, attempts=2, timeout=0.5).generate(PROMPTS[:1], SAMPLING, [1])
    assert f"{url(server)}/completions: " in str(caught.value)
    assert "(attempts: 2)" in str(caught.value)
    assert caught.value.exit_code == 1
    assert len(server.state.requests) == 2


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (fail(400, b'{"error": "max_tokens is too large"}'), "status 400: .*max_tokens is too"),
        (fail(401, b"no"), "set the key in SRL_EVAL_API_KEY"),
        (fail(404), "--base-url usually ends in /v1"),
        (fail(404, b"\x1b[31m\x00\xff no such route"), r"status 404: \[31m \ufffd no such route"),
        (fail(302, Location="http://elsewhere/"), "it redirects"),
        (fail(200, b"<html>"), "something else than JSON"),
        (fail(200, b"[" * 100_000), "something else than JSON"),
        (fail(200, b"[]"), "gave no completion as asked"),
        (fail(200, b"{}"), "choices: Field required"),
        (fail(200, b'{"choices": []}'), "choices: List should have at least 1 item"),
    ],
)
def test_what_no_attempt_betters_ends_at_once(server: Server, fault: Fault, reason: str) -> None:
    server.state.faults = [fault] * 99
    with pytest.raises(DataError, match=reason) as caught:
        engine(server).generate(PROMPTS[:1], SAMPLING, [1])
    assert url(server) in str(caught.value)
    assert len(server.state.requests) == 1


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
def test_an_answer_that_does_not_fit_is_refused(server: Server, reply: object, reason: str) -> None:
    server.state.change = lambda _: reply
    with pytest.raises(DataError, match=reason) as caught:
        engine(server).generate([[5]], Sampling(4, stop_token_ids=(7,)), [1])
    assert f"{url(server)}/completions" in str(caught.value)


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


def test_the_first_failure_ends_the_chunk_and_its_requests(server: Server) -> None:
    server.state.faults = [hang, hang, fail(400)]
    started = time.monotonic()
    with pytest.raises(DataError, match="status 400"):
        engine(server).generate([[5]] * 8, SAMPLING, list(range(8)))
    assert time.monotonic() - started < 10
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and any(
        thread.name == "srl-eval-request" for thread in threading.enumerate()
    ):
        time.sleep(0.02)
    assert not [t for t in threading.enumerate() if t.name == "srl-eval-request"]


def test_a_server_that_hangs_is_not_waited_for_again_and_again(server: Server) -> None:
    server.state.faults = [fail(500), hang, fail(500), hang, hang]
    with pytest.raises(ServerError, match=r"no whole answer within 0.3 s \(attempts: 4\)"):
        engine(server, attempts=9, timeout=0.3).generate([[5]], SAMPLING, [1])


def test_a_pause_asked_for_is_kept_and_a_foolish_one_is_not(server: Server) -> None:
    server.state.faults = [fail(429, Retry_After="1")]
    started = time.monotonic()
    engine(server).generate([[5]], SAMPLING, [1])
    assert time.monotonic() - started > 1
    server.state.faults = [fail(429, Retry_After="Wed, 21 Oct 2099 07:28:00 GMT")]
    started = time.monotonic()
    engine(server).generate([[5]], SAMPLING, [1])
    assert time.monotonic() - started < 30


def test_in_order_is_bounded_and_raises_the_first_error() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def task(number: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1
        if number == 13:
            raise KeyError(number)
        return number

    assert in_order([lambda n=n: task(n) for n in range(12)], 3) == list(range(12))  # type: ignore[misc]
    assert most == 3
    with pytest.raises(KeyError, match="13"):
        in_order([lambda n=n: task(n) for n in range(40)], 3)  # type: ignore[misc]
    assert in_order([], 3) == []


def problems_file(folder: Path) -> Path:
    path = folder / "aime.jsonl"
    rows = [{"id": n, "problem": f"What is {n}?", "answer": n} for n in range(3)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def arguments(tmp_path: Path, model: Path, out: str, *extra: str) -> list[str]:
    return [
        *("aime24", "--model-path", str(model), "--data-path", str(problems_file(tmp_path))),
        *("--mode", "avg2", "--output-dir", str(tmp_path / out), "--max-new-tokens", "12"),
        *("--chunk-size", "1", *extra),
    ]


@pytest.fixture
def tokenizer_folder(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, model_folder: Path
) -> Path:
    """A model's folder without its weights."""
    folder = tmp_path / "tokenizer"
    tokenizer.save_pretrained(folder)
    (folder / "config.json").write_bytes((model_folder / "config.json").read_bytes())
    return folder


def test_the_command_gives_the_same_results_through_a_server(
    tmp_path: Path,
    server: Server,
    model_folder: Path,
    tokenizer_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SRL_EVAL_API_KEY", "sk-very-secret")
    extra = ["--backend", "server", "--base-url", url(server), "--served-model", "tiny"]
    args = arguments(tmp_path, tokenizer_folder, "remote", *extra)
    server.state.faults = [fail(503)]
    assert execute(cli, "srl-eval", args) == 0
    assert execute(cli, "srl-eval", arguments(tmp_path, model_folder, "local")) == 0
    remote, local = (
        (tmp_path / name / "results.jsonl").read_bytes() for name in ("remote", "local")
    )
    # The server takes seeds of 63 bits, so the draws differ where the 64th is set.
    pairs = [
        (json.loads(a), json.loads(b))
        for a, b in zip(remote.splitlines(), local.splitlines(), strict=True)
    ]
    same = [pair for pair in pairs if pair[1]["seed"] < 2**63]
    assert same
    assert all(a == b for a, b in same)
    assert all(head["Authorization"] == "Bearer sk-very-secret" for head in server.state.headers)
    for path in (tmp_path / "remote").rglob("*"):
        assert path.is_dir() or b"sk-very-secret" not in path.read_bytes()
    identity = json.loads((tmp_path / "remote" / "run.json").read_text())["identity"]
    assert (identity["backend"], identity["served_model"]) == ("server", "tiny")
    assert "device" not in identity


def test_a_server_that_dies_leaves_a_run_that_goes_on(
    tmp_path: Path, server: Server, tokenizer_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    extra = ["--backend", "server", "--base-url", url(server), "--served-model", "tiny"]
    whole = arguments(tmp_path, tokenizer_folder, "whole", *extra)
    assert execute(cli, "srl-eval", whole) == 0
    broken = arguments(tmp_path, tokenizer_folder, "broken", *extra, "--request-attempts", "1")
    passes: list[Fault] = [lambda handler: handler.send(200, _pass(handler))] * 3
    server.state.faults = [*passes, fail(500, b"sk- \x1b[2J died")]
    assert execute(cli, "srl-eval", broken) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"{url(server)}/completions: status 500: sk- [2J died (attempts: 1)" in error
    results = tmp_path / "broken" / "results.jsonl"
    assert len(results.read_bytes().splitlines()) == 3
    assert execute(cli, "srl-eval", broken) == 0
    assert results.read_bytes() == (tmp_path / "whole" / "results.jsonl").read_bytes()


def _pass(handler: Handler) -> bytes:
    state = handler.server.state
    return json.dumps(answer(state, state.requests[-1])).encode()


def test_no_server_and_another_model_are_named(
    tmp_path: Path, server: Server, tokenizer_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        args = arguments(tmp_path, tokenizer_folder, "out", "--backend", "server")
        args += ["--request-attempts", "1"]
        assert execute(cli, "srl-eval", [*args, "--base-url", nowhere]) == 3
    error = capsys.readouterr().err
    assert f"no server answers: {nowhere}/models: [Errno 111] Connection refused" in error
    assert execute(cli, "srl-eval", [*args, "--base-url", url(server)]) == 3
    assert "does not serve '" in (error := capsys.readouterr().err)
    assert "but 'tiny'; name it with --served-model" in error
    args += ["--base-url", url(server), "--served-model", "tiny", "--overwrite"]
    server.state.models = {"data": "nonsense"}
    assert execute(cli, "srl-eval", args) == 3
    assert "/models: data: Input should be a valid list" in capsys.readouterr().err
    server.state.models = {"data": [{"id": "tiny", "max_model_len": 20}]}
    assert execute(cli, "srl-eval", args) == 3
    assert "the model takes 20: lower max_new_tokens" in capsys.readouterr().err


def test_a_key_that_cannot_be_sent_is_refused_unshown(
    tmp_path: Path,
    server: Server,
    tokenizer_folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SRL_EVAL_API_KEY", "secret\r\nX-Evil: 1")
    args = arguments(tmp_path, tokenizer_folder, "out", "--backend", "server")
    assert execute(cli, "srl-eval", [*args, "--base-url", url(server)]) == 2
    error = capsys.readouterr().err
    assert "SRL_EVAL_API_KEY holds white space" in error
    assert "secret" not in error


def test_a_servers_echo_of_the_key_is_not_shown(server: Server) -> None:
    server.state.faults = [fail(401, b"Incorrect API key provided: sk-very-secret")]
    with pytest.raises(DataError) as caught:
        engine(server, key="sk-very-secret").generate([[5]], SAMPLING, [1])
    assert "Incorrect API key provided: ***" in str(caught.value)
    assert "very-secret" not in repr(address(server, key="sk-very-secret"))


def test_a_client_is_shared_by_threads(server: Server) -> None:
    with Client(address(server)) as client, ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda _: client.call("/models"), range(12)))
    assert replies == [server.state.models] * 12
