"""The config of `srl-grpo expert-iteration`: rounds of sampling and training on what was right.

Field docstrings are the flags' help. What a right completion is, is told here; how it is found, in
`srl_grpo.rollout.correct`.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from srl_data.command.config import Flag, Section
from srl_grpo.config.reward import RewardSection, one_as_several
from srl_grpo.config.run import NOTHING
from srl_grpo.config.sampled import SampledConfig, SampledEvaluationSection, SamplingSection
from srl_grpo.config.sections import CheckpointSection, Positive
from srl_grpo.config.sft import SftOptimizerSection

ANSWER = "{answer}"
"""Where a hint shows the answer."""


class QuestionsSection(SamplingSection):
    """What the model is asked in a round."""

    batch_size: Positive = 512
    """Questions per round, over all ranks; all of them where the data has fewer."""
    group_size: Annotated[Positive, Flag("num-rollouts", aliases=("group-size",))] = 4
    """Completions per question."""


class AnswerRewardSection(RewardSection):
    """Which completions are right."""

    reward: Annotated[tuple[str, ...], BeforeValidator(one_as_several), Field(min_length=1)] = (
        "answer",
    )
    """answer, r1_zero, exact, aime, gsm8k, math, format, boxed_think, step; or your own function as
    module:name or file.py:name. --reward again for another: all that judge have to be content."""


class SelectionSection(Section):
    """Which completions are trained on, of those that end by themselves."""

    min_reward: float | None = None
    """Keep completions of at least this reward. Default: those that every reward calls right, which
    a function of your own cannot say."""
    deduplicate: bool = True
    """Keep only one of a question's completions with the same text."""
    max_per_question: Positive | None = None
    """Most completions that a round keeps of one question, the first ones; default all."""
    when_none_right: Literal["stop", "continue"] = "stop"
    """What becomes of a run in whose round no completion was right: it stops, with a diagnosis and
    a checkpoint, or goes on with other questions and the same weights."""
    rationalise: bool = False
    """Ask questions that were never solved a second time, with the answer as a hint, and keep what
    is right; trained on without the hint, and marked in kept/."""
    hint: str = "\n\nThe answer is {answer}. Explain how to reach it."
    """What stands behind such a question; {answer} is its answer."""

    @model_validator(mode="after")
    def _hint_shows_the_answer(self) -> "SelectionSection":
        if ANSWER not in self.hint:
            raise ValueError(
                f"hint = {self.hint!r}: expected a text with {ANSWER}, which shows the answer "
                "(--hint)"
            )
        return self


class RoundSection(Section):
    """How a round trains on what it kept."""

    epochs: Annotated[Positive, Flag("sft-epochs")] = 1
    """Passes over a round's kept completions."""
    batch_size: Annotated[Positive, Flag("sft-batch-size")] = 16
    """Completions per optimizer step, over all ranks."""
    start_from: Literal["last", "base"] = "last"
    """Which weights a round trains: the last round's, or those that the run began with (STaR).
    Either way the last round's do the sampling."""
    optimizer_state: Literal["carried", "fresh"] | None = None
    """Whether the optimizer's state is that of the last round or begins anew; default carried with
    --start-from last, fresh with base."""

    @model_validator(mode="after")
    def _state_fits_the_weights(self) -> "RoundSection":
        if self.start_from == "base" and self.optimizer_state == "carried":
            raise ValueError(
                "sft.optimizer_state carried with sft.start_from base: the state belongs to other "
                "weights; leave --optimizer-state out, or give --start-from last"
            )
        return self

    @property
    def carries(self) -> bool:
        """Whether the optimizer's state goes from round to round."""
        return self.start_from == "last" and self.optimizer_state != "fresh"


class RoundEvaluationSection(SampledEvaluationSection):
    """Held-out evaluation between rounds."""

    eval_every: Annotated[int, Field(ge=0), Flag(aliases=("eval-steps",))] = 1
    """Rounds between evaluations on held-out data, where there are any; 0 for none."""


class RoundCheckpointSection(CheckpointSection):
    """What is kept."""

    checkpoint_every: Annotated[int, Field(ge=0), Flag(aliases=("saving-steps",))] = 1
    """Rounds between checkpoints; the last one always makes one. 0 for only that."""
    save_final_only: bool = False
    """Keep no ei_step_N/ beside final/; while the run goes, one is kept to resume from."""


class ExpertConfig(SampledConfig):
    """Everything that decides a run of expert iteration."""

    n_ei_steps: Positive = 5
    """Rounds in the whole run, also when resuming."""
    rollout: QuestionsSection = QuestionsSection()
    reward: AnswerRewardSection = AnswerRewardSection()
    selection: SelectionSection = SelectionSection()
    sft: RoundSection = RoundSection()
    optimizer: SftOptimizerSection = SftOptimizerSection()
    evaluation: RoundEvaluationSection = RoundEvaluationSection()
    checkpoint: RoundCheckpointSection = RoundCheckpointSection()

    @property
    def needs_updates(self) -> bool:
        """See `RunConfig.needs_updates`."""
        return True

    def more(self, step: int) -> str:
        """See `RunConfig.more`."""
        return f"--n-ei-steps above {step}"

    def steps(
        self, _examples: int, _step: int = 0, _state: Mapping[str, object] = NOTHING, /
    ) -> int:
        """See `RunConfig.steps`."""
        return self.n_ei_steps
