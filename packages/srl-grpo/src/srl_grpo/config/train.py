"""The training command's config: sections as data, nothing heavy imported.

Field docstrings are the flags' help. What a value means to the computation is told where it is
used; what it may be is checked here, before anything is loaded.
"""

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from srl_data.command.config import ConfigTree, Flag, Section
from srl_data.splits import may_have_splits
from srl_grpo.config.algorithm import AlgorithmSection, former_loss
from srl_grpo.config.run import NOTHING
from srl_grpo.config.sampled import SampledConfig, SamplingSection
from srl_grpo.config.sections import Positive


class WarmStartSection(Section):
    """A supervised stage before training, in sft/ of the run: it teaches the output format."""

    steps: Annotated[int, Field(ge=0), Flag("warm-start-steps")] = 0
    """Supervised steps on sloppy pairs that are made on the spot; 0 for none."""
    num_pairs: Annotated[Positive | None, Flag("warm-start-pairs")] = None
    """Pairs that are made, in passes over which the steps go; default a new one each time."""
    batch_size: Annotated[int, Field(ge=1), Flag("warm-start-batch-size")] = 64
    """Pairs per supervised step."""
    learning_rate: Annotated[float, Field(gt=0), Flag("warm-start-lr")] = 4e-3
    """Peak learning rate of the supervised steps; decays linearly to 0."""
    forget_carry: Annotated[float, Field(ge=0, le=1), Flag("warm-start-forget-carry")] = 0.7
    """Chance that the stream's pairs forget a carry."""
    wrong_digit: Annotated[float, Field(ge=0, le=1), Flag("warm-start-wrong-digit")] = 0.05
    """Chance that a digit of the stream's targets is replaced."""

    @property
    def pairs(self) -> int:
        """Pairs that are made."""
        return self.num_pairs or self.steps * self.batch_size


WHEN_STARVED = "max_starved_steps (--max-starved-steps): 1 for the former fail, 0 for train"


class RolloutSection(SamplingSection):
    """How completions are sampled and which of them are kept."""

    batch_size: Positive = 4
    """Prompts in a rollout batch, over all ranks, after filtering."""
    group_size: Positive = 4
    """Completions per prompt; at least 2 where the baseline is the group."""
    rollout_batch_size: Positive | None = None
    """Completions in a rollout batch: batch size x group size, of which it may give the first."""
    eps_std: Annotated[float, Field(ge=0)] = 1e-4
    """Groups whose population standard deviation of rewards is below are not trained on."""
    max_rounds: Positive = 8
    """Most rounds of sampling to fill a rollout batch, which draw at most so many batches of
    prompts in all."""
    max_starved_steps: Annotated[int, Field(ge=0)] = 10
    """Steps in a row without an update after which the run stops, with a diagnosis; 0 for never."""

    former: ClassVar[dict[str, str]] = {"when_starved": WHEN_STARVED}

    @model_validator(mode="before")
    @classmethod
    def _responses(cls, given: object) -> object:
        """The number of prompts, where the config gives that of completions instead."""
        if not isinstance(given, dict) or given.get("rollout_batch_size") is None:
            return given
        whole, group = given["rollout_batch_size"], given.get("group_size", 4)
        if not isinstance(whole, int) or not isinstance(group, int) or group < 1:
            return given  # each is refused by itself
        if whole % group:
            raise ValueError(
                f"rollout_batch_size {whole} is not a multiple of group_size {group}; the nearest "
                f"are {whole // group * group} and {-(-whole // group) * group}"
            )
        return {"batch_size": whole // group, **given}

    @model_validator(mode="after")
    def _something_to_draw(self) -> "RolloutSection":
        if self.top_k == 1:
            raise ValueError(
                "top_k 1 leaves a single token to draw: a prompt's completions would be alike, and "
                "nothing learned; give 2 or more, or 0 for all tokens"
            )
        return self

    @model_validator(mode="after")
    def _what_is_left_is_told(self) -> "RolloutSection":
        """Training renormalises over the tokens that the filters left, which vLLM does not tell."""
        if self.backend == "vllm" and self.filters:
            given = ", ".join(f"{name} {value:g}" for name, value in self.filters.items())
            raise ValueError(
                f"{given} with backend vllm: it does not tell which tokens that leaves to draw "
                "from, and training needs to know; leave it out, or give --rollout-backend hf"
            )
        return self

    @model_validator(mode="after")
    def _no_contradiction(self) -> "RolloutSection":
        whole = self.batch_size * self.group_size
        if self.rollout_batch_size not in (None, whole):
            raise ValueError(
                f"rollout_batch_size {self.rollout_batch_size} is not batch_size "
                f"{self.batch_size} x group_size {self.group_size} = {whole}; leave one of the "
                "three out"
            )
        return self


NUM_STEPS = 500
"""Rollout batches of a run that says nothing of its length."""


class TrainConfig(SampledConfig):
    """Everything that decides a training run."""

    config_version: Annotated[Literal[2], Flag(hidden=True)] = 2
    """What the words of a config file mean; a file that says `loss: grpo` must say it too."""
    num_steps: Positive | None = None
    """Rollout batches in the whole run, also when resuming; default 500 without --num-epochs."""
    num_epochs: Positive | None = None
    """Passes over the training prompts, those of refills counted, instead of --num-steps."""
    warm_start: WarmStartSection = WarmStartSection()
    rollout: RolloutSection = RolloutSection()
    algorithm: AlgorithmSection = AlgorithmSection()

    @model_validator(mode="before")
    @classmethod
    def _length(cls, given: object) -> object:
        if isinstance(given, dict) and given.get("num_steps") is given.get("num_epochs") is None:
            return {**given, "num_steps": NUM_STEPS}
        return given

    @model_validator(mode="after")
    def _consistent(self) -> "TrainConfig":
        if self.num_steps is not None and self.num_epochs is not None:
            raise ValueError(
                f"num_steps {self.num_steps} and num_epochs {self.num_epochs} both say how long "
                "to train; leave one of them out"
            )
        steps, size = self.engine.gradient_accumulation_steps, self.train_batch_size
        if steps is not None and size % steps:
            raise ValueError(
                f"an optimizer step's {size} completions cannot be cut into "
                f"{steps} micro-batches of one size; give --gradient-accumulation-steps or "
                "--train-batch-size so that it divides"
            )
        if self.warm_start.steps and self.synthetic is None:
            raise ValueError("warm_start.steps needs the synthetic section, whose stream it reads")
        if self.rollout.group_size < 2 and self.algorithm.compares_with == "group":
            raise ValueError(
                f"rollout.group_size = {self.rollout.group_size}: a completion is compared with "
                "the others of its prompt; give --group-size 2 or more, or --baseline none"
            )
        self.algorithm.check_aggregation(self.reward.reward)
        longest, buffer = self.overlong_length, self.algorithm.overlong_buffer
        if buffer is not None and not buffer <= longest <= self.rollout.max_new_tokens:
            raise ValueError(
                f"algorithm.overlong_length {longest} must lie between overlong_buffer {buffer} "
                f"and max_new_tokens {self.rollout.max_new_tokens}, the longest that a completion "
                "can be"
            )
        evaluates = self.evaluation.eval_every or self.evaluation.before_after
        divided = self.data.path is not None and may_have_splits(self.data.path)
        if evaluates and not (self.data.val_path or divided or self.synthetic):
            raise ValueError("evaluation needs held-out data: give --val-data")
        return self

    @property
    def overlong_length(self) -> int:
        """The completion length at which the penalty by length is whole."""
        return self.algorithm.overlong_length or self.rollout.max_new_tokens

    @property
    def needs_updates(self) -> bool:
        """See `RunConfig.needs_updates`."""
        return self.rollout.max_starved_steps > 0

    def steps(
        self, examples: int, _step: int = 0, _state: Mapping[str, object] = NOTHING, /
    ) -> int:
        """See `RunConfig.steps`; of epochs the most there can be: refills draw prompts too."""
        if self.num_steps is not None:
            return self.num_steps
        return math.ceil((self.num_epochs or 1) * examples / self.rollout.batch_size)

    def is_done(self, examples: int, stage_state: Mapping[str, object], /) -> bool:
        """See `RunConfig.is_done`: whether the prompts of all epochs are drawn."""
        position = stage_state.get("position")
        if self.num_epochs is None or not isinstance(position, int):
            return False
        return position >= self.num_epochs * examples

    def more(self, step: int) -> str:
        """See `RunConfig.more`."""
        epochs = self.num_epochs
        return super().more(step) if epochs is None else f"--num-epochs above {epochs}"

    @classmethod
    def former_file(cls, tree: ConfigTree) -> str | None:
        """See `Section`; `loss: grpo` was another loss once."""
        return former_loss(tree)

    @property
    def train_batch_size(self) -> int:
        """Completions per optimizer step."""
        whole = self.rollout.batch_size * self.rollout.group_size
        return self.algorithm.train_batch_size or whole
