"""The configuration of one evaluation, as sections that a suite and the trainer reuse.

Every field is a flag of `srl-eval TASK` and a key of its YAML file. Defaults that depend on others
(temperature on the mode, the token cap on the model's window) are None here and are settled by
`resolve_sampling` and by the run, which print and record what they chose.
"""

import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from srl_data.command.config import Flag, Section
from srl_data.command.errors import ConfigError
from srl_data.prompt_record import ChatSection
from srl_eval.generate.options import ModelRevision, StopStrings
from srl_eval.generate.sampling import LEAST_TEMPERATURE, Sampling, is_temperature

Backend = Literal["hf", "vllm", "server"]
Solve = Literal["auto", "whole", "stepwise"]

AVERAGE_TEMPERATURE = 0.6
AVERAGE_TOP_P = 0.95
"""What DeepSeek-R1's report and the model cards after it use for averages over samples."""

DEFAULT_MODEL = "Qwen/Qwen2.5-7B-Instruct"
"""What a command evaluates that is told no model: the one that the SRL paper trains."""


_MODE = re.compile(r"greedy|stepwise|avg[1-9][0-9]*")


class ModelSection(Section):
    """Which model answers."""

    model: Annotated[str | None, Flag(aliases=("model-id",))] = Field(default=None, min_length=1)
    """Hub id or local folder of the model; by default Qwen/Qwen2.5-7B-Instruct."""
    model_path: Path | None = None
    """Local checkpoint folder, instead of --model; its recorded prompt template is used."""
    revision: ModelRevision = None
    cache_dir: Path | None = None
    """Folder for what comes from the hub."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision of the weights; auto takes the checkpoint's on a GPU and float32 on a CPU."""
    device: str | None = None
    """Device of the hf backend, such as cuda:1; by default the first GPU, else the CPU."""

    @model_validator(mode="after")
    def _at_most_one(self) -> "ModelSection":
        if self.model is not None and self.model_path is not None:
            raise ValueError("--model and --model-path name the same thing; give one of them")
        return self

    @property
    def name(self) -> str:
        """The hub id or path, empty when neither was given."""
        return self.model or (str(self.model_path) if self.model_path else "")


class BackendSection(Section):
    """What runs the model."""

    backend: Backend = "hf"
    """hf: transformers in this process; vllm: a vLLM server at --base-url, or one on port 8000 of
    this machine that lists the model, else vLLM in this process (an extra); server: any
    OpenAI-compatible one at --base-url."""
    chunk_size: int = Field(default=32, ge=1)
    """Completions generated as one batch; also the unit of resuming."""
    gpu_memory_utilization: Annotated[float, Flag(aliases=("gpu-mem-util",))] = Field(
        default=0.9, gt=0.0, le=1.0
    )
    """Share of the GPU's memory that vLLM takes; on a CPU, of the free memory for its cache."""
    tensor_parallel_size: Annotated[int, Flag(aliases=("tp-size",))] = Field(default=1, ge=1)
    """GPUs that vLLM spreads the model over."""
    data_parallel_size: int = Field(default=1, ge=1)
    """vLLM engines in processes of their own, each with a GPU and a part of every chunk."""
    max_model_len: int | None = Field(default=None, ge=1)
    """Most tokens of prompt and answer together that vLLM makes room for; default the model's."""
    base_url: str | None = None
    """OpenAI-compatible server, http://HOST:PORT/v1; its key, if any, is SRL_EVAL_API_KEY."""
    served_model: str | None = None
    """The model's name at the server; by default as --model, which names the tokenizer too."""
    concurrency: int = Field(default=64, ge=1, le=1024)
    """Requests to the server at a time; no more than a chunk has."""
    request_timeout: float = Field(default=1800.0, gt=0.0)
    """Seconds until a request must be answered whole."""
    request_attempts: int = Field(default=10, ge=1)
    """Attempts at a request that meets 429, 5xx or a broken connection: 10 take two minutes."""

    @field_validator("base_url")
    @classmethod
    def _plain_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        _ = parts.port  # ValueError where it is none
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("expected http://HOST:PORT/v1")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("expected a URL without user, query and fragment")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _server_has_a_url(self) -> "BackendSection":
        if self.backend == "server" and self.base_url is None:
            raise ValueError("--backend server needs --base-url http://HOST:PORT/v1")
        if self.backend == "hf" and self.base_url is not None:
            raise ValueError("--base-url is for --backend server or vllm, not hf")
        if self.backend != "vllm" and (changed := self.changed_of_vllm):
            raise ValueError(f"{changed[0]} is for --backend vllm, not {self.backend}")
        if min(self.data_parallel_size, self.tensor_parallel_size) > 1:
            raise ValueError(
                f"--data-parallel-size {self.data_parallel_size} with --tensor-parallel-size "
                f"{self.tensor_parallel_size}: one of them; vLLM's server takes both, start it and "
                "give --base-url"
            )
        return self

    @property
    def changed_of_vllm(self) -> list[str]:
        """The flags, of those for a vLLM that is started here, whose values are not the default."""
        fields = type(self).model_fields
        changed = [key for key in STARTED_HERE if getattr(self, key) != fields[key].default]
        return [f"--{key.replace('_', '-')}" for key in changed]


STARTED_HERE = (
    "gpu_memory_utilization",
    "tensor_parallel_size",
    "data_parallel_size",
    "max_model_len",
)
"""Keys of a backend section that are arguments of vLLM where it is started here."""


class DecodingSection(Section):
    """How answers are drawn."""

    mode: str = "greedy"
    """greedy, avgN (N samples per problem: avg1, avg32, ...), or stepwise (greedy, in steps)."""
    temperature: float | None = Field(default=None, ge=0.0)
    """Sampling temperature; by default 0 for greedy, 0.6 for averages."""
    top_p: float | None = Field(default=None, gt=0.0, le=1.0)
    """Nucleus sampling; by default 1 for greedy, 0.95 for averages."""
    top_k: int = Field(default=0, ge=0)
    """Keep the k likeliest tokens; 0 keeps all."""
    min_p: float = Field(default=0.0, ge=0.0, le=1.0)
    """Drop tokens less likely than this share of the likeliest; 0 drops none."""
    max_new_tokens: int = Field(default=32768, ge=1)
    """Longest answer, all steps together; one completion also has to fit the model's window."""
    stop: StopStrings = ()
    """Text that ends an answer where it first appears, and is not part of it; --stop again for
    another. Stop tokens are the model's own."""
    seed: int = 0
    """Base of all seeds."""

    @field_validator("mode")
    @classmethod
    def _known_mode(cls, value: str) -> str:
        if not _MODE.fullmatch(value):
            raise ValueError("expected greedy, stepwise, or avgN with N at least 1, such as avg32")
        return value

    @field_validator("temperature")
    @classmethod
    def _can_be_sampled_at(cls, value: float | None) -> float | None:
        if value is not None and not is_temperature(value):
            raise ValueError(f"expected 0 (greedy) or at least {LEAST_TEMPERATURE:g}")
        return value

    @model_validator(mode="after")
    def _greedy_is_cold(self) -> "DecodingSection":
        if self.greedy and self.temperature:
            raise ValueError(
                f"mode {self.mode} decodes at temperature 0, not {self.temperature}; "
                "use --mode avg1 to sample one answer"
            )
        if not self.greedy and self.temperature == 0:
            raise ValueError(f"mode {self.mode} needs a temperature above 0; use --mode greedy")
        return self

    @property
    def greedy(self) -> bool:
        """Whether the mode takes the likeliest token."""
        return not self.mode.startswith("avg")

    @property
    def samples(self) -> int:
        """Answers a problem."""
        return 1 if self.greedy else int(self.mode.removeprefix("avg"))


class PromptSection(ChatSection):
    """How problems are put to the model."""

    template: str | None = None
    """Prompt template: a name of `srl-eval list`, a text file with {problem}, or module:function.
    Default: the one that the checkpoint was trained with, else boxed."""
    solve: Solve = "auto"
    """whole: one answer; stepwise: chained steps; auto: as the template was trained."""
    num_fewshot: int = Field(default=0, ge=0)
    """Worked examples before each problem, from the task's own source or --fewshot-path."""
    fewshot_path: Path | None = None
    """Local .jsonl or .json file of examples: problem, solution (or response), answer."""
    fewshot_seed: int = 0
    """Which examples are taken."""
    chain_start: int = Field(default=1, ge=1)
    """First step that the model writes of a stepwise answer; the steps before it are the expert's,
    from the data's field steps or its solution in numbered steps."""
    max_steps: int = Field(default=64, ge=1)
    """Steps after which a stepwise answer is given up."""
    max_step_tokens: int = Field(default=4096, ge=1)
    """Longest single step; bounded by half the model's window."""

    @model_validator(mode="after")
    def _examples_are_counted(self) -> "PromptSection":
        if self.fewshot_path is not None and not self.num_fewshot:
            raise ValueError("--fewshot-path does nothing without --num-fewshot K, K at least 1")
        return self


class DataSection(Section):
    """Which problems are asked."""

    data_path: Annotated[Path | None, Flag(aliases=("eval-path",))] = None
    """Local .jsonl or .json file with the problems, instead of the hub."""
    task_file: Path | None = None
    """Any file with problem and answer, for `srl-eval file`."""
    grader: str | None = None
    """Grader of the task file; by default the one its records name, else math."""
    data_revision: str | None = None
    """Revision of the data set on the hub."""
    limit: int | None = Field(default=None, ge=1)
    """Ask only the first problems; the result is marked as partial."""


class OutputSection(Section):
    """Where results go."""

    output_dir: Annotated[Path | None, Flag(aliases=("out-dir",))] = None
    """Folder for results.jsonl and metrics.json; by default results/MODEL_TASK_MODE."""
    overwrite: bool = False
    """Throw away an earlier run in the folder instead of resuming it."""
    summary: Path | None = None
    """Flat JSON file to write as well: accuracy, mean rewards for format and answer, categories as
    counts and shares."""
    bootstrap: int = Field(default=10000, ge=100)
    """Resamples behind each 95 % interval."""


class TrackingSection(Section):
    """Where results go besides the folder."""

    wandb_project: str | None = None
    """Weights & Biases project for scores and samples; needs the extra wandb. WANDB_MODE=offline
    keeps them in the folder."""
    run_name: str | None = None
    """Name of the run there; by default MODEL_TASK_MODE."""


class EvalConfig(Section):
    """Everything about one evaluation but the task."""

    model: ModelSection = ModelSection()
    backend: BackendSection = BackendSection()
    decoding: DecodingSection = DecodingSection()
    prompt: PromptSection = PromptSection()
    data: DataSection = DataSection()
    output: OutputSection = OutputSection()
    tracking: TrackingSection = TrackingSection()

    def with_model(self) -> "EvalConfig":
        """Itself where it names a model, else with the default one.

        Raises ConfigError where a server's model is named and its tokenizer isn't.
        """
        if self.model.name:
            return self
        if self.backend.served_model is not None:
            raise ConfigError(
                f"--served-model {self.backend.served_model} is the server's name for a model; "
                "name the model whose tokenizer it has with --model"
            )
        model = self.model.model_copy(update={"model": DEFAULT_MODEL})
        return self.model_copy(update={"model": model})


def resolve_sampling(
    decoding: DecodingSection, max_new_tokens: int, stop_token_ids: tuple[int, ...]
) -> Sampling:
    """The sampling of a mode: what the user gave over the mode's defaults.

    Greedy decoding ignores the filters, so they are put at rest for the record.
    """
    if decoding.greedy:
        return Sampling(max_new_tokens, 0.0, stop_token_ids=stop_token_ids, stop=decoding.stop)
    given, top_p = decoding.temperature, decoding.top_p
    return Sampling(
        max_new_tokens=max_new_tokens,
        temperature=AVERAGE_TEMPERATURE if given is None else given,
        top_p=AVERAGE_TOP_P if top_p is None else top_p,
        top_k=decoding.top_k,
        min_p=decoding.min_p,
        stop_token_ids=stop_token_ids,
        stop=decoding.stop,
    )
