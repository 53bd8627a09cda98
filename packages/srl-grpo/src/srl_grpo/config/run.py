"""What the config of every stage has: the sections of a run, and what the run asks of them.

A stage's config adds its own sections and says how many steps it takes.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, TypeVar

from pydantic import Field, model_validator

from srl_data.command.config import Section
from srl_grpo.config.sections import (
    CheckpointSection,
    EngineSection,
    EvaluationSection,
    LaunchSection,
    ModelSection,
    OptimizerSection,
    PromptSection,
    TrackingSection,
)

NOTHING: Mapping[str, object] = MappingProxyType({})
"""What a stage remembers of a run that has not begun."""


class RunConfig(Section):
    """Everything that decides a run of any stage."""

    output_dir: Path | None = None
    """Run folder; default runs/<UTC time>_<git sha>."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 42
    """Base of every seed."""
    model: ModelSection = Field(default_factory=ModelSection.model_construct)
    data: PromptSection = PromptSection()
    optimizer: OptimizerSection = OptimizerSection()
    engine: EngineSection = EngineSection()
    evaluation: EvaluationSection = EvaluationSection()
    checkpoint: CheckpointSection = CheckpointSection()
    tracking: TrackingSection = TrackingSection()
    launch: LaunchSection = LaunchSection()

    @model_validator(mode="after")
    def _model_and_start(self) -> "RunConfig":
        if self.model.path is None and self.model.build is None:
            raise ValueError("a model is required: give --model, or a model.build section")
        if self.engine.offload_optimizer and not self.engine.zero_stage:
            raise ValueError("engine.offload_optimizer needs ZeRO: give --zero-stage 1, 2 or 3")
        if self.checkpoint.resume == "auto" and self.output_dir is None:
            raise ValueError("--resume auto needs --output-dir, to know where to look")
        if self.model.build is not None and self.longest > self.model.build.max_positions:
            raise ValueError(
                f"{self.lengths_told} exceeds the model's {self.model.build.max_positions} "
                f"positions; lower {self.length_flags}, or raise --max-positions"
            )
        return self

    @property
    def lengths(self) -> dict[str, int]:
        """The parts that a row of the model may have, in tokens, by their flags."""
        raise NotImplementedError  # each stage's own: no run has this class itself

    @property
    def longest(self) -> int:
        """Most tokens of a row that the run can put to its model."""
        return sum(self.lengths.values())

    @property
    def lengths_told(self) -> str:
        """The lengths in words, e.g. `max_prompt_length 128 + max_new_tokens 32`."""
        parts = [f"{flag[2:].replace('-', '_')} {size}" for flag, size in self.lengths.items()]
        return " + ".join(parts)

    @property
    def length_flags(self) -> str:
        """The flags of the lengths, e.g. `--max-prompt-length or --max-new-tokens`."""
        return " or ".join(self.lengths)

    @property
    def made(self) -> dict[str, object] | None:
        """Options of data made on the spot; None where there is none."""
        return None

    @property
    def user_code(self) -> tuple[str, ...]:
        """Code of the user's that decides what is learned, as `module:name` or `file.py:name`."""
        return ()

    @property
    def needs_updates(self) -> bool:
        """Whether a run in which no step made an update is a failure."""
        return False

    def more(self, step: int) -> str:
        """What to give for a run that is longer than `step` steps."""
        return f"--num-steps above {step}"

    def is_done(self, _examples: int, _stage_state: Mapping[str, object], /) -> bool:
        """Whether a stage has nothing left to do before the last step that the run may have.

        Of the number of training records and what the stage remembers.
        """
        return False

    def steps(self, examples: int, step: int = 0, state: Mapping[str, object] = NOTHING, /) -> int:
        """Steps of the whole run over so many training records.

        `step` of them are done, and `state` is what the stage remembers of them.
        """
        raise NotImplementedError  # each stage's own


C = TypeVar("C", bound=RunConfig)
C_co = TypeVar("C_co", bound=RunConfig, covariant=True)
"""The config of a stage."""
