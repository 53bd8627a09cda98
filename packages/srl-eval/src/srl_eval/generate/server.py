"""The engine over a server with OpenAI's completions: vLLM's or sglang's `/v1/completions`.

Token ids go out and come back (`return_token_ids`), one request a row with a seed of its own. What
comes back is checked against what was asked, since it comes from elsewhere. Rows are batched by the
server's scheduler: equal seeds give equal draws up to near-ties of logits, and only from a server
that honours `seed`. Log-probabilities are the server's own: those that `Completion` promises where
vLLM was started with `--logprobs-mode processed_logprobs`. Weights are the server's affair.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from srl_data.command.errors import CommandError, DataError
from srl_data.endpoint import Endpoint, key_from_environment
from srl_data.http_client import JsonClient, RequestError
from srl_data.in_flight import as_done
from srl_data.records import short_reason
from srl_eval.generate.engine import ChunkedEngine, Prompt
from srl_eval.generate.options import ServerOptions
from srl_eval.generate.sampling import Completion, FinishReason, Sampling
from srl_eval.generate.stop_text import ended
from srl_eval.generate.text import Decoder

KEY_VARIABLE = "SRL_EVAL_API_KEY"
_SIGNED = 1 << 63
_FIRST_SECONDS, _FIRST_ATTEMPTS = 30.0, 3
_EXPECTED = (
    "expected an OpenAI-compatible server that knows return_token_ids: vLLM 0.10.2 or later, or a "
    "recent sglang"
)

TokenId = Annotated[int, Field(ge=0, lt=1 << 31)]


class ServerError(CommandError):
    """A server that failed to the last attempt; the evaluation can be resumed."""


class _Reply(BaseModel):
    """A part of an answer; fields that are not used here may be anything."""

    model_config = ConfigDict(extra="ignore", strict=True)


class _Logprobs(_Reply):
    token_logprobs: list[float]


class _Choice(_Reply):
    token_ids: list[TokenId]
    logprobs: _Logprobs
    finish_reason: str


class _Usage(_Reply):
    completion_tokens: int


class _CompletionReply(_Reply):
    choices: list[_Choice] = Field(min_length=1, max_length=1)
    usage: _Usage | None = None


class ServedModel(_Reply):
    """A model that a server lists."""

    id: str
    max_model_len: int | None = None


class _ModelsReply(_Reply):
    data: list[ServedModel]


def server_endpoint(
    base_url: str, timeout: float, attempts: int, key: str | None = None
) -> Endpoint:
    """A server as generations ask it: the first pause is short, a hang is met twice at most.

    An attempt that hangs may have cost half an hour. What answers with something else than JSON is
    not the server that was meant.
    """
    return Endpoint(
        base_url,
        timeout=timeout,
        connect_timeout=10.0,
        attempts=attempts,
        first_delay=0.5,
        longest_delay=60.0,
        most_hangs=2,
        broken_json_passes=False,
        key=key,
        key_variable=KEY_VARIABLE,
    )


def start_server(options: ServerOptions, decoder: Decoder | None = None) -> "ServerEngine":
    """The engine over the server that the options name, which must serve the model.

    Raises DataError where no server answers, or it serves other models.
    """
    endpoint = server_endpoint(options.base_url, options.timeout, options.attempts, api_key())
    # A wrong address should show at once; only requests under way are worth long waiting.
    first = replace(
        endpoint,
        timeout=min(endpoint.timeout, _FIRST_SECONDS),
        attempts=min(endpoint.attempts, _FIRST_ATTEMPTS),
    )
    served = served_models(first)
    found = find_served(served, options.model, options.base_url)
    return ServerEngine(
        endpoint,
        found.id,
        chunk_size=options.chunk_size,
        concurrency=options.concurrency,
        max_length=found.max_model_len,
        decoder=decoder,
    )


async def ask(client: JsonClient, path: str, body: Mapping[str, object] | None = None) -> object:
    """The parsed answer to a POST of `body`, or to a GET where there is none.

    Raises ServerError when every attempt failed in a way that may pass, DataError for an answer
    that no attempt would better.
    """
    try:
        return await (client.get(path) if body is None else client.post(path, body))
    except RequestError as error:
        if not error.passing:
            raise DataError(str(error)) from error
        raise ServerError(
            f"{error}; see to the server and run the same command again: it goes on where it was"
        ) from error


def served_models(endpoint: Endpoint) -> list[ServedModel]:
    """The models that a server lists; DataError where none answers, or without such a list."""
    try:
        ((_, reply),) = as_done(["/models"], ask, lambda: JsonClient(endpoint), 1)
        return _ModelsReply.model_validate(reply).data
    except ServerError as error:
        raise DataError(f"no server answers: {error}") from error
    except ValidationError as error:
        raise DataError(
            f"{endpoint.base_url}/models: {short_reason(error)}; {_EXPECTED}"
        ) from error


def find_served(served: Sequence[ServedModel], model: str, base_url: str) -> ServedModel:
    """The model of that name; DataError naming those that there are."""
    found = next((each for each in served if each.id == model), None)
    if found is None:
        names = ", ".join(repr(each.id[:100]) for each in served[:10]) or "none"
        raise DataError(
            f"{base_url} does not serve {model!r} but {names}; name it with --served-model"
        )
    return found


def api_key() -> str | None:
    """The key in the environment, None for none; ConfigError where it cannot stand in a header."""
    return key_from_environment(KEY_VARIABLE)


class ServerEngine(ChunkedEngine):
    """Completions from a server, `concurrency` requests at a time."""

    def __init__(
        self,
        endpoint: Endpoint,
        model: str,
        *,
        chunk_size: int = 256,
        concurrency: int = 64,
        max_length: int | None = None,
        decoder: Decoder | None = None,
    ) -> None:
        super().__init__(chunk_size, decoder)
        self._endpoint, self._model, self._concurrency = endpoint, model, concurrency
        self._max_length = max_length

    @property
    def max_length(self) -> int | None:
        """What the server says of its window, None where it says nothing."""
        return self._max_length

    def run_chunk(
        self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]
    ) -> list[Completion]:
        """One request a row; the first failure ends the chunk, and the requests under way."""

        async def work(client: JsonClient, row: tuple[Prompt, int]) -> Completion:
            return await self._complete(client, row[0], sampling, row[1])

        rows = zip(prompts, seeds, strict=True)
        found = dict(as_done(rows, work, self._client, self._concurrency))
        return [found[place] for place in range(len(prompts))]

    def _client(self) -> JsonClient:
        return JsonClient(self._endpoint, self._concurrency)

    async def _complete(
        self, client: JsonClient, prompt: Prompt, sampling: Sampling, seed: int
    ) -> Completion:
        answer = await ask(client, "/completions", self._request(prompt, sampling, seed))
        try:
            return read_completion(answer, sampling, self.weights_version, self.decoder)
        except ValueError as error:
            reason = short_reason(error) if isinstance(error, ValidationError) else str(error)
            url = f"{self._endpoint.base_url}/completions"
            raise DataError(f"{url} gave no completion as asked: {reason}; {_EXPECTED}") from error

    def _request(self, prompt: Prompt, sampling: Sampling, seed: int) -> dict[str, object]:
        return {
            "model": self._model,
            "prompt": list(prompt),
            "max_tokens": sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k or -1,
            "min_p": sampling.min_p,
            "seed": seed % _SIGNED,
            "stop_token_ids": list(sampling.stop_token_ids),
            **({"stop": list(sampling.stop)} if sampling.stop else {}),
            "skip_special_tokens": False,
            "return_token_ids": True,
            "logprobs": 1,
            "n": 1,
            "stream": False,
        }


def read_completion(
    answer: object, sampling: Sampling, weights_version: int, decoder: Decoder | None = None
) -> Completion:
    """A server's answer as a completion; ValueError where it is not what was asked for.

    Tokens after the first stop token, or after the one that completes a stop string, are cut off:
    sglang and vLLM differ in when they stop.
    """
    reply = _CompletionReply.model_validate(answer)
    (choice,) = reply.choices
    tokens, logprobs = choice.token_ids, choice.logprobs.token_logprobs
    if len(tokens) != len(logprobs):
        raise ValueError(f"{len(tokens)} token_ids and {len(logprobs)} token_logprobs")
    if reply.usage is not None and reply.usage.completion_tokens != len(tokens):
        raise ValueError(f"{len(tokens)} token_ids, usage says {reply.usage.completion_tokens}")
    if not 1 <= len(tokens) <= sampling.max_new_tokens:
        raise ValueError(f"{len(tokens)} token_ids, expected 1 to {sampling.max_new_tokens}")
    bad = next((value for value in logprobs if not math.isfinite(value) or value > 1e-3), None)
    if bad is not None:
        raise ValueError(f"a log-probability of {bad}")
    end, text = ended(tokens, sampling, decoder)
    length = len(tokens) if end is None else end
    reason: FinishReason = "length" if end is None else "stop"
    if end is None and (choice.finish_reason != "length" or length != sampling.max_new_tokens):
        raise ValueError(
            f"it ended ({choice.finish_reason[:40]!r}) after {length} of "
            f"{sampling.max_new_tokens} tokens at token {tokens[-1]}, which is not a stop token"
        )
    return Completion(
        tuple(tokens[:length]), tuple(logprobs[:length]), reason, weights_version, text
    )
