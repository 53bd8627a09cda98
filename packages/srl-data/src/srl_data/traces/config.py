"""Config of `srl-data traces`."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, field_validator, model_validator

from srl_data.chat_model import ChatModel
from srl_data.command.config import Flag, Section
from srl_data.command.errors import ConfigError
from srl_data.endpoint import (
    OTHER_KEY,
    Endpoint,
    check_base_url,
    key_from_environment,
    key_variable_of,
)
from srl_data.records import OnError
from srl_data.traces.prices import Price, Tariff, open_prices, parse_window

OTHER_FORMATS = frozenset({".json", ".csv", ".tsv", ".parquet", ".arrow", ".gz", ".zst"})
KEY_FIELDS = frozenset({"api_key", "apikey", "api-key", "authorization", "key"})


def check_hours(text: str) -> str:
    """Hours of the day; ValueError where they are none."""
    parse_window(text)
    return text


class SamplingSection(Section):
    """How the teacher answers; what is not given is the server's."""

    samples: int = Field(default=1, ge=1)
    """Answers per question."""
    temperature: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Default: the server's."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Default: the server's."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Tokens of an answer, its reasoning included, at most. Default: the server's."""
    seed: int | None = Field(default=None, ge=0)
    """Sent with each request, another number for each question and sample. Default: none."""
    extra: dict[str, object] = Field(default_factory=dict)
    """Further fields of each request as YAML, e.g. {reasoning_effort: high}."""

    @field_validator("extra")
    @classmethod
    def _no_key(cls, extra: dict[str, object]) -> dict[str, object]:
        for name in extra:
            if name.lower() in KEY_FIELDS:
                raise ValueError(f"holds {name!r}; a key is given in the environment alone")
            if name in ("model", "messages", "stream", "n"):
                raise ValueError(f"holds {name!r}, which the command sets itself")
        try:
            json.dumps(extra, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"holds what JSON lacks ({error}); expected texts, numbers") from error
        return extra


class PaceSection(Section):
    """How hard the server is worked."""

    concurrency: Annotated[int, Flag(aliases=("workers",))] = Field(default=16, ge=1, le=4096)
    """Requests at a time."""
    requests_per_minute: Annotated[float | None, Flag(aliases=("rpm",))] = Field(default=None, gt=0)
    """At most, retries included. Default: no limit."""
    tokens_per_minute: Annotated[float | None, Flag(aliases=("tpm",))] = Field(default=None, ge=1)
    """At most, of prompts and answers; estimated from the answers so far, corrected by each.
    Default: no limit."""
    max_retries: int = Field(default=5, ge=0)
    """Retries of a request that failed and may succeed the next time, after the server's
    Retry-After, else after a delay that doubles."""
    retry_delay: float = Field(default=1.0, gt=0)
    """Seconds before the first retry, about; doubled for each further one."""
    timeout: float = Field(default=1800, gt=0)
    """Seconds in which an answer must be whole; reasoning takes minutes."""
    connect_timeout: float = Field(default=30, gt=0)
    """Seconds in which a connection must stand."""
    max_failures: int = Field(default=100, ge=1)
    """Questions in a row without an answer after which the run stops."""


class MoneySection(Section):
    """What it may cost."""

    budget: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """What all runs for this output may cost together; the run stops before it is exceeded.
    Default: no limit."""
    prices: Path | None = None
    """A YAML file of prices. Default: a shipped table that knows DeepSeek's models."""
    price_input: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Price of a million prompt tokens, in place of the table's."""
    price_cached: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Price of a million prompt tokens that the server had in its cache. Default: as others."""
    price_output: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Price of a million answer tokens, in place of the table's."""
    offpeak: float = Field(default=1.0, gt=0, le=1)
    """Factor of all prices for answers that come in the off-peak hours, e.g. 0.25."""
    offpeak_hours: Annotated[str, AfterValidator(check_hours)] = "16:30-00:30"
    """Off-peak hours in UTC."""
    wait_offpeak: bool = False
    """Send requests in the off-peak hours only, and wait for them."""

    @model_validator(mode="after")
    def _both_prices(self) -> "MoneySection":
        given = [self.price_input, self.price_output]
        if (None in given and given != [None, None]) or (self.price_cached and None in given):
            raise ValueError("give --price-input and --price-output together, or neither")
        return self

    def tariff(self, model: str) -> Tariff:
        """What a model costs; ConfigError for a budget without a price."""
        window, factor = parse_window(self.offpeak_hours), Decimal(str(self.offpeak))
        if self.price_input is not None and self.price_output is not None:
            cached = None if self.price_cached is None else Decimal(str(self.price_cached))
            price = Price(
                input=Decimal(str(self.price_input)),
                cached_input=cached,
                output=Decimal(str(self.price_output)),
            )
            return Tariff(price, factor=factor, window=window)
        table = open_prices(self.prices)
        found = table.models.get(model)
        if found is None and (self.budget is not None or self.prices is not None):
            where = self.prices or "the shipped table"
            raise ConfigError(
                f"{where} has no price for {model!r} but for {', '.join(table.models)}; give "
                "--price-input and --price-output, or --prices FILE"
            )
        return Tariff(found, table.currency, table.as_of, factor, window)


class TracesConfig(Section):
    """Config of `srl-data traces`."""

    source: Annotated[str, Flag(aliases=("infile",))]
    """The questions: a file, a folder, or a data set on the hub, of which the split train is read.
    With shards, formats and splits as for every command."""
    output: Annotated[Path, Flag(aliases=("outfile",))]
    """Where answers are appended; failures go to NAME.failures.jsonl beside it."""
    model: str = Field(min_length=1)
    """The teacher's name at the server, e.g. deepseek-reasoner."""
    base_url: Annotated[str, AfterValidator(check_base_url)] = "https://api.deepseek.com/v1"
    """The address of an OpenAI-compatible server."""
    api_key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """The environment variable that holds the key. Default: DEEPSEEK_API_KEY, OPENAI_API_KEY and
    their like for those hosts, else SRL_DATA_API_KEY (on this machine also DEEPSEEK_API_KEY)."""
    revision: str | None = None
    """Commit, branch or tag of a hub data set."""
    problem_field: str | None = None
    """The column with the question. Default: problem, question, prompt or instruction, else the
    turns of messages before the answer."""
    answer_field: str | None = None
    """The column with the known answer, which each record keeps. Default: answer, where there is
    one."""
    id_field: str | None = None
    """The column that names the question. Default: id, else the file's name and the row."""
    keep: tuple[str, ...] = ()
    """A further column that records keep in their meta; give it once for each."""
    template: str = "boxed"
    """How a question is put: boxed asks for a final answer in a box, chat is the question alone; or
    the path of a text file, or module:function."""
    system: str | None = Field(default=None, min_length=1)
    """A system message before each question."""
    limit: int | None = Field(default=None, ge=1)
    """Ask only the first so many questions."""
    on_error: OnError = "fail"
    sampling: SamplingSection = SamplingSection()
    pace: PaceSection = PaceSection()
    money: MoneySection = MoneySection()

    @field_validator("output")
    @classmethod
    def _lines(cls, output: Path) -> Path:
        if output.suffix.lower() in OTHER_FORMATS:
            raise ValueError(
                "answers are appended as JSON Lines; expected a name that ends in .jsonl"
            )
        return output

    @model_validator(mode="after")
    def _samples_differ(self) -> "TracesConfig":
        if self.sampling.samples > 1 and self.sampling.temperature == 0:
            raise ValueError(
                f"samples {self.sampling.samples} at temperature 0 are one answer, asked for again "
                "and again; raise --temperature"
            )
        return self

    def key_variable(self) -> str:
        """Where the key is looked for."""
        return self.api_key_env or key_variable_of(self.base_url)

    def endpoint(self) -> Endpoint:
        """The server with its key; ConfigError where one is needed and not there."""
        variable = self.key_variable()
        key = key_from_environment(variable)
        if key is None and (self.api_key_env or variable != OTHER_KEY):
            raise ConfigError(
                f"{self.base_url} asks for a key; set it in the environment variable {variable}"
            )
        return Endpoint(
            self.base_url,
            timeout=self.pace.timeout,
            connect_timeout=self.pace.connect_timeout,
            attempts=self.pace.max_retries + 1,
            first_delay=self.pace.retry_delay,
            key=key,
            key_variable=variable,
        )

    def teacher(self, seed: int | None) -> ChatModel:
        """The model that is asked."""
        given = self.sampling
        return ChatModel(
            self.model, given.temperature, given.max_tokens, given.top_p, seed, given.extra
        )
