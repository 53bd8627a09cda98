"""The config of `srl-grpo sft`: supervised fine-tuning on pairs or on expert steps.

Field docstrings are the flags' help. What a batch is, is told here; what records are, in
`srl_grpo.config.sft_data`.
"""

import math
from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, model_validator

from srl_data.command.config import Flag, Section
from srl_eval.generate.options import StopStrings
from srl_eval.generate.sampling import LEAST_TEMPERATURE
from srl_grpo.config.run import NOTHING, RunConfig
from srl_grpo.config.sections import CheckpointSection, OptimizerSection, Positive
from srl_grpo.config.sft_data import SftDataSection

ACCUMULATION = 4
"""Gradient accumulation steps where neither they nor a token budget are given."""


class SftOptimizerSection(OptimizerSection):
    """AdamW and its schedule, with defaults for supervised training."""

    learning_rate: Annotated[float, Field(gt=0), Flag(aliases=("lr",))] = 1e-5
    """Peak learning rate."""


class SftCheckpointSection(CheckpointSection):
    """What is kept: final/ alone, unless asked otherwise."""

    save_final_only: bool = True
    """Keep no step_N/ beside final/; while the run goes, one is kept to resume from."""


class GenerationSection(Section):
    """How held-out answers are written, where an evaluation needs them."""

    max_new_tokens: Positive = 512
    """Longest held-out answer in tokens."""
    temperature: Annotated[
        float, Field(ge=LEAST_TEMPERATURE), Flag(aliases=("sampling-temperature",))
    ] = 1.0
    """Of sampled held-out steps (SRL instances); everything else is greedy."""
    stop: StopStrings = ()
    """Text that ends an answer where it first appears; --stop again for another."""
    chunk_size: Positive = 64
    """Held-out answers generated in one batch."""


class SftConfig(RunConfig):
    """Everything that decides a run of supervised fine-tuning."""

    num_epochs: Positive | None = None
    """Full passes over the training examples; default 1 where --num-steps is not given."""
    num_steps: Positive | None = None
    """Optimizer steps in the whole run, also when resuming; instead of --num-epochs."""
    batch_size: Positive = 4
    """Examples per forward pass over all ranks; a step takes batch size x gradient accumulation
    steps of them."""
    data: SftDataSection = SftDataSection()
    optimizer: SftOptimizerSection = SftOptimizerSection()
    checkpoint: SftCheckpointSection = SftCheckpointSection()
    generation: GenerationSection = GenerationSection()

    @model_validator(mode="after")
    def _consistent(self) -> "SftConfig":
        if self.data.path is None:
            raise ValueError("training data is required: give --data")
        if self.num_epochs is not None and self.num_steps is not None:
            raise ValueError(
                f"num_epochs {self.num_epochs} and num_steps {self.num_steps} both say how long "
                "to train; leave one of them out"
            )
        return self

    @property
    def accumulation(self) -> int:
        """Micro-batches of an optimizer step; 1 where a token budget cuts it."""
        given = self.engine.gradient_accumulation_steps
        return given or (1 if self.engine.micro_batch_tokens else ACCUMULATION)

    @property
    def micro_batches(self) -> int | None:
        """Micro-batches per rank and optimizer step; None where a token budget decides."""
        return None if self.engine.micro_batch_tokens else self.accumulation

    @property
    def examples_per_step(self) -> int:
        """Examples of an optimizer step, over all ranks."""
        return self.batch_size * self.accumulation

    @property
    def lengths(self) -> dict[str, int]:
        """See `RunConfig.lengths`."""
        return {"--max-seq-len": self.data.max_seq_len}

    def more(self, step: int) -> str:
        """See `RunConfig.more`."""
        return (
            super().more(step) if self.num_steps else f"--num-epochs above {self.num_epochs or 1}"
        )

    def examples_in_all(self, examples: int) -> int:
        """Examples that the whole run trains on, repeats counted."""
        if self.num_steps is not None:
            return self.num_steps * self.examples_per_step
        return (self.num_epochs or 1) * examples

    def steps(self, examples: int, step: int = 0, state: Mapping[str, object] = NOTHING, /) -> int:
        """See `RunConfig.steps`; the last one of some epochs may be a smaller batch."""
        position = state.get("position", 0)
        assert isinstance(position, int)
        left = max(0, self.examples_in_all(examples) - position)
        return step + math.ceil(left / self.examples_per_step)
