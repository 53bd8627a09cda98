"""What the configs of stages that learn from the model's own completions have in common.

Prompts from records, completions sampled in groups, rewards. Left out: what is learned from them.
"""

from typing import Annotated, Literal, TypeVar

from pydantic import Field, model_validator

from srl_data.arithmetic import Difficulty
from srl_data.command.config import Flag, Section
from srl_eval.generate.options import StopStrings
from srl_eval.generate.sampling import LEAST_TEMPERATURE
from srl_grpo.config.reward import RewardSection
from srl_grpo.config.run import RunConfig
from srl_grpo.config.sections import DataSection, EvaluationSection, Positive, SplitsSection
from srl_grpo.config.vllm import COLDEST, VllmSection


class SyntheticSection(Section):
    """Arithmetic problems made on the spot, instead of data files."""

    num_problems: Positive = 100
    """Expert problems made on the spot."""
    num_heldout: Positive = 200
    """Held-out problems made on the spot."""
    digits: tuple[Annotated[int, Field(ge=2, le=6)], Annotated[int, Field(ge=2, le=6)]] = (2, 4)
    """Fewest and most digits of the numbers to add."""

    @property
    def difficulty(self) -> Difficulty:
        """The arithmetic that is asked for."""
        return Difficulty(*self.digits)

    @model_validator(mode="after")
    def _digits_in_order(self) -> "SyntheticSection":
        if self.digits[0] > self.digits[1]:
            raise ValueError(f"synthetic.digits {list(self.digits)}: fewest first, then most")
        return self


CHUNK_SIZE = 64
"""Completions generated in one batch where the config says nothing, as far as groups allow."""


class SamplingSection(Section):
    """How completions are sampled."""

    batch_size: Positive = 4
    """Prompts in a batch, over all ranks."""
    group_size: Positive = 4
    """Completions per prompt."""
    max_new_tokens: Positive = 1024
    """Longest completion in tokens; one cut off is invalid."""
    temperature: Annotated[
        float, Field(ge=LEAST_TEMPERATURE), Flag(aliases=("sampling-temperature",))
    ] = 1.0
    """Sampling temperature; log-probabilities are taken at it too."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Nucleus sampling: of the likeliest tokens as many as make up this probability; 1 for all.
    Training renormalises over what top_k, top_p and min_p, in this order, left to draw from."""
    top_k: Annotated[int, Field(ge=0)] = 0
    """Sample from the k likeliest tokens; 0 for all."""
    min_p: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Leave out tokens less likely than this share of the likeliest; 0 for none."""
    stop: StopStrings = ()
    """Text that ends a completion where it first appears; --stop again for another. Its tokens are
    trained on, and the reward does not see it. Stop tokens are the model's own."""
    chunk_size: Positive | None = None
    """Completions generated in one batch, a multiple of the group size; default the largest up to
    64, at least one group."""
    backend: Annotated[Literal["hf", "vllm"], Flag("rollout-backend")] = "hf"
    """What samples: hf, transformers over the trained model itself; vllm, in the trainer's
    processes (an extra), brought the weights after each update."""
    use_vllm: bool | None = None
    """The same as --rollout-backend vllm."""
    vllm: VllmSection = VllmSection()

    @model_validator(mode="before")
    @classmethod
    def _vllm_is_a_backend(cls, given: object) -> object:
        """The backend that `use_vllm` means, in its place."""
        if not isinstance(given, dict) or not isinstance(given.get("use_vllm"), bool):
            return given
        rest = {key: value for key, value in given.items() if key != "use_vllm"}
        meant = "vllm" if given["use_vllm"] else "hf"
        if rest.get("backend", meant) != meant:
            raise ValueError(
                f"use_vllm {str(given['use_vllm']).lower()} and backend {rest['backend']} "
                "contradict each other; leave one of --use-vllm and --rollout-backend out"
            )
        return {**rest, "backend": meant}

    @model_validator(mode="after")
    def _vllm_can(self) -> "SamplingSection":
        if self.use_vllm is not None:
            raise ValueError("use_vllm: expected true or false")  # a number or a text meant as one
        if self.backend != "vllm" and self.vllm.changed:
            keys = ", ".join(f"rollout.vllm.{key}" for key in self.vllm.changed)
            raise ValueError(f"{keys} does nothing with backend {self.backend}: give --use-vllm")
        if self.vllm.sleep_level != 1 and not self.vllm.enable_sleep:
            raise ValueError("vllm.sleep_level does nothing without --vllm-enable-sleep")
        if self.backend == "vllm" and self.temperature < COLDEST:
            raise ValueError(
                f"temperature {self.temperature} is below {COLDEST}, the lowest that vLLM samples "
                "at; raise it, or give --rollout-backend hf"
            )
        return self

    @property
    def filters(self) -> dict[str, float]:
        """Of top_p, top_k and min_p those that leave tokens out."""
        off = {"top_p": 1.0, "top_k": 0, "min_p": 0.0}
        return {name: getattr(self, name) for name in off if getattr(self, name) != off[name]}

    @property
    def completions_per_chunk(self) -> int:
        """Completions generated in one batch."""
        whole_groups = max(self.group_size, CHUNK_SIZE // self.group_size * self.group_size)
        return self.chunk_size or whole_groups


class SampledEvaluationSection(EvaluationSection):
    """Held-out evaluation while training, on sampled completions besides greedy ones."""

    eval_samples: Positive = 1
    """Sampled completions per held-out prompt; above 1 pass@k is evaluated too."""


class SampledConfig(RunConfig):
    """A run of a stage that samples from the model it trains."""

    data: DataSection = DataSection()
    synthetic: SyntheticSection | None = None
    rollout: SamplingSection = SamplingSection()
    reward: RewardSection = RewardSection()
    evaluation: SampledEvaluationSection = SampledEvaluationSection()

    @model_validator(mode="after")
    def _one_source(self) -> "SampledConfig":
        if self.data.path is None and self.synthetic is None:
            raise ValueError("training data is required: give --data, or a synthetic section")
        if self.data.path is not None and self.synthetic is not None:
            raise ValueError(
                "both --data and a synthetic section are given; take one out "
                "(a preset such as quickstart makes its own data)"
            )
        return self

    @model_validator(mode="after")
    def _data_has_what_is_asked(self) -> "SampledConfig":
        data = self.data
        if self.synthetic is not None:
            keys = ("problem_field", "answer_field", *SplitsSection.model_fields)
            given = [f"data.{key}" for key in keys if getattr(data, key) is not None]
            if given:
                raise ValueError(
                    f"{', '.join(given)}: for data that is read, and a synthetic section makes its "
                    "own; take one out"
                )
        if data.problem_field and data.problem_field == data.answer_field:
            raise ValueError(
                f"--problem-field and --answer-field are both {data.problem_field!r}; name two "
                "columns"
            )
        return self

    @model_validator(mode="after")
    def _chunks_hold_groups(self) -> "SampledConfig":
        chunk, group = self.rollout.completions_per_chunk, self.rollout.group_size
        if chunk % group:
            below, above = chunk // group * group, -(-chunk // group) * group
            nearest = f"{below} or {above}" if below else f"{above}"
            raise ValueError(
                f"rollout.chunk_size {chunk} must be a multiple of rollout.group_size {group}; "
                f"give --chunk-size {nearest}"
            )
        return self

    @property
    def lengths(self) -> dict[str, int]:
        """See `RunConfig.lengths`."""
        return {
            "--max-prompt-length": self.data.max_prompt_length,
            "--max-new-tokens": self.rollout.max_new_tokens,
        }

    @property
    def made(self) -> dict[str, object] | None:
        """See `RunConfig.made`."""
        section = self.synthetic
        return None if section is None else section.model_dump(mode="json") | {"seed": self.seed}

    @property
    def user_code(self) -> tuple[str, ...]:
        """The user's own rewards."""
        return tuple(spec for spec in self.reward.reward if ":" in spec)


Q = TypeVar("Q", bound=SampledConfig)
"""The config of a stage that samples."""
