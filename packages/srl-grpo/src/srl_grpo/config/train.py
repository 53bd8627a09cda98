"""The training command's config: sections as data, nothing heavy imported.

Field docstrings are the flags' help. What a value means to the computation is told where it is
used; what it may be is checked here, before anything is loaded.
"""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from srl_data.arithmetic import Difficulty
from srl_data.command.config import Flag, Section
from srl_data.prompt_record import ChatSection
from srl_eval.generate.options import StopStrings
from srl_grpo.config.reward import RewardSection

Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class BuildSection(Section):
    """A small Qwen3 model with a character tokenizer, made on the spot."""

    hidden_size: Positive = 64
    """Width of the residual stream of a model made on the spot."""
    num_layers: Positive = 2
    """Decoder layers of a model made on the spot."""
    num_heads: Positive = 4
    """Attention heads of a model made on the spot."""
    num_kv_heads: Positive = 4
    """Key-value heads of a model made on the spot."""
    intermediate_size: Positive = 256
    """Width of the feed-forward layers of a model made on the spot."""
    max_positions: Positive = 256
    """Longest sequence of a model made on the spot, in tokens."""
    alphabet: Literal["arithmetic"] = "arithmetic"
    """Characters and marks that its tokenizer knows."""

    @model_validator(mode="after")
    def _heads_fit(self) -> "BuildSection":
        if self.hidden_size % (2 * self.num_heads) or self.num_heads % self.num_kv_heads:
            raise ValueError(
                f"model.build: hidden_size {self.hidden_size} must be a multiple of twice "
                f"num_heads {self.num_heads}, and that of num_kv_heads {self.num_kv_heads}"
            )
        return self


class ModelSection(Section):
    """Which model is trained."""

    path: Annotated[str | None, Flag("model", aliases=("sft-checkpoint",))] = Field(
        default=None, min_length=1
    )
    """Hub id or local path of the model to train."""
    revision: str | None = None
    """Hub revision of the model."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Compute type; auto is bfloat16 on a GPU and float32 on a CPU. Masters are float32."""
    attention: Annotated[
        Literal["auto", "sdpa", "eager", "flash_attention_2"],
        Flag(aliases=("attn-implementation",)),
    ] = "auto"
    """Attention implementation of transformers."""
    resize_embeddings: bool = False
    """Grow the embedding where the tokenizer has ids beyond it; without, that is an error."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass instead of keeping them."""
    build: BuildSection | None = None

    @model_validator(mode="after")
    def _one_source(self) -> "ModelSection":
        if (self.path is None) == (self.build is None):
            raise ValueError("give either a model (--model) or a model.build section, not both")
        return self


class DataSection(ChatSection):
    """What it is trained on."""

    path: Annotated[Path | None, Flag("data")] = None
    """JSON Lines of what the reward reads: SRL instances (`srl-data build`), or records with
    problem and answer."""
    val_path: Annotated[Path | None, Flag("val-data")] = None
    """Held-out records of the same kind for evaluation while training."""
    template: str | None = None
    """Prompt template: a name, a text file with {problem}, or module:function. Default: the one
    that the model was trained with, else srl for SRL instances, boxed for prompt-answer records."""
    max_prompt_length: Positive = 2048
    """Longest prompt in tokens; longer ones are left out and counted, never cut."""
    on_error: Literal["fail", "skip"] = "fail"
    """What a bad line does: end the run, or be counted and listed."""


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


class WarmStartSection(Section):
    """Supervised steps before training, so that the output format is known."""

    steps: Annotated[int, Field(ge=0), Flag("warm-start-steps")] = 0
    """Supervised steps on an endless sloppy stream; 0 for none."""
    batch_size: Annotated[int, Field(ge=1), Flag("warm-start-batch-size")] = 64
    """Pairs per supervised step."""
    learning_rate: Annotated[float, Field(gt=0), Flag("warm-start-lr")] = 4e-3
    """Peak learning rate of the supervised steps; decays linearly to 0."""
    forget_carry: Annotated[float, Field(ge=0, le=1), Flag("warm-start-forget-carry")] = 0.7
    """Chance that the stream's pairs forget a carry."""
    wrong_digit: Annotated[float, Field(ge=0, le=1), Flag("warm-start-wrong-digit")] = 0.05
    """Chance that a digit of the stream's targets is replaced."""


CHUNK_SIZE = 64
"""Completions generated in one batch where the config says nothing, as far as groups allow."""

WHEN_STARVED = "max_starved_steps (--max-starved-steps): 1 for the former fail, 0 for train"


class RolloutSection(Section):
    """How completions are sampled and which of them are kept."""

    batch_size: Positive = 4
    """Prompts in a rollout batch, over all ranks, after filtering."""
    group_size: Positive = 4
    """Completions per prompt; at least 2 where the baseline is the group."""
    max_new_tokens: Positive = 1024
    """Longest completion in tokens; one cut off is invalid."""
    temperature: Annotated[float, Field(gt=0), Flag(aliases=("sampling-temperature",))] = 1.0
    """Sampling temperature; log-probabilities are taken at it too."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Nucleus sampling; below 1 the trainer's probabilities differ from the sampler's."""
    stop: StopStrings = ()
    """Text that ends a completion where it first appears; --stop again for another. Its tokens are
    trained on, and the reward does not see it. Stop tokens are the model's own."""
    chunk_size: Positive | None = None
    """Completions generated in one batch, a multiple of the group size; default the largest up to
    64, at least one group."""
    eps_std: Annotated[float, Field(ge=0)] = 1e-4
    """Groups whose population standard deviation of rewards is below are not trained on."""
    max_rounds: Positive = 8
    """Most rounds of sampling to fill a rollout batch, which draw at most so many batches of
    prompts in all."""
    max_starved_steps: Annotated[int, Field(ge=0)] = 10
    """Steps in a row without an update after which the run stops, with a diagnosis; 0 for never."""

    former: ClassVar[dict[str, str]] = {"when_starved": WHEN_STARVED}

    @property
    def completions_per_chunk(self) -> int:
        """Completions generated in one batch."""
        whole_groups = max(self.group_size, CHUNK_SIZE // self.group_size * self.group_size)
        return self.chunk_size or whole_groups


BASE_KL = 0.02
"""The weight that `use_base_kl` gives the KL term."""


class AlgorithmSection(Section):
    """The policy-gradient loss."""

    loss: Literal["grpo"] = "grpo"
    """Loss family: the clipped objective with group-relative advantages."""
    normalisation: Literal["token-mean", "sequence-mean"] = "token-mean"
    """Whether every token or every completion of the batch weighs the same."""
    epsilon_low: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Clip range of the probability ratio, below 1. No effect at one optimizer step per batch."""
    epsilon_high: Annotated[float, Field(gt=0)] = 0.28
    """Clip range of the probability ratio, above 1. No effect at one optimizer step per batch."""
    beta: Annotated[float, Field(ge=0), Flag(aliases=("kl-penalty",))] = 0.0
    """Weight of the k3 KL term; 0 loads no reference model."""
    use_base_kl: bool = False
    """Switch the KL term on: a beta of 0.02 where none is given."""
    ppo_steps: Positive = 1
    """Passes over a rollout batch."""
    train_batch_size: Positive | None = None
    """Completions per optimizer step; default all of a rollout batch."""
    baseline: Literal["group", "none"] = "group"
    """What a reward is compared with: the other completions of its prompt, or nothing
    (REINFORCE), which trains on every completion and allows a group size of 1."""
    advantage_eps: Annotated[float, Field(gt=0)] = 1e-4
    """Added to the group's standard deviation of rewards."""
    sampler_cap: Annotated[float, Field(gt=0)] | None = None
    """Cap of the importance weight that corrects a sampler unlike the trainer; off by default."""
    max_logprob_difference: Annotated[float, Field(ge=0)] | None = None
    """Mean difference of sampler and trainer, in nats per token, that stops the run; 0 for never.
    Default: 1e-3 in float32, 0.25 in bfloat16."""

    @model_validator(mode="before")
    @classmethod
    def _base_kl_has_a_weight(cls, given: object) -> object:
        if not isinstance(given, dict) or given.get("use_base_kl") is not True:
            return given
        if given.get("beta", BASE_KL) == 0:
            raise ValueError("use_base_kl is on and beta is 0; leave one of them out")
        return {"beta": BASE_KL, **given}


class OptimizerSection(Section):
    """AdamW and its schedule."""

    learning_rate: Annotated[float, Field(gt=0), Flag(aliases=("lr",))] = 1e-6
    """Peak learning rate."""
    betas: tuple[Share, Share] = (0.9, 0.999)
    """AdamW's betas."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """AdamW's weight decay."""
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Rollout batches over which the learning rate rises linearly from 0."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """Course of the learning rate after warmup; linear and cosine end at 0."""
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    """Gradients are clipped to this global norm."""


OURS = (
    "train_batch_size",
    "train_micro_batch_size_per_gpu",
    "gradient_accumulation_steps",
    "gradient_clipping",
    "bf16",
    "fp16",
    "data_types",
    "optimizer",
    "scheduler",
)
"""DeepSpeed settings that the other fields decide."""


class EngineSection(Section):
    """DeepSpeed."""

    zero_stage: Annotated[int, Field(ge=0, le=3)] = 0
    """ZeRO stage: 1 shards optimizer state, 2 gradients too, 3 parameters too; in bfloat16 0 is
    run as 1."""
    micro_batch_tokens: Positive = 16384
    """Padded tokens per forward pass."""
    offload_optimizer: bool = False
    """Keep the optimizer's state in host memory (ZeRO 1 to 3)."""
    deepspeed: dict[str, object] = Field(default_factory=dict)
    """DeepSpeed settings laid over those made from the other fields, as YAML."""

    @model_validator(mode="after")
    def _no_second_word(self) -> "EngineSection":
        zero = self.deepspeed.get("zero_optimization", {})
        given = [key for key in self.deepspeed if key in OURS]
        if isinstance(zero, dict) and "stage" in zero:
            given.append("zero_optimization.stage")
        if given:
            raise ValueError(
                f"engine.deepspeed may not set {', '.join(given)}: these come from the config's "
                "own fields (zero_stage, micro_batch_tokens, max_grad_norm, dtype, optimizer)"
            )
        return self

    def stage_for(self, bfloat16: bool) -> int:
        """The ZeRO stage that a run takes: in bfloat16 at least 1.

        DeepSpeed's optimizer for bfloat16 without ZeRO steps on zero gradients when it is built,
        which decays the weights and counts for Adam, and it has no float32 gradients.
        """
        return max(1, self.zero_stage) if bfloat16 else self.zero_stage


class EvaluationSection(Section):
    """Held-out evaluation while training."""

    eval_every: Annotated[int, Field(ge=0), Flag(aliases=("eval-steps",))] = 0
    """Steps between evaluations on --val-data; 0 for none."""
    eval_limit: Annotated[Positive | None, Flag(aliases=("test-max-samples",))] = None
    """Most held-out instances an evaluation takes."""
    chain_start: Positive = 1
    """The first step that the model writes of a problem it solves by its own steps; the expert's
    steps before it are given. 2 where training data have no first steps (targets 2..N)."""
    before_after: bool = False
    """Evaluate before the first and after the last step and write summary.json."""


class CheckpointSection(Section):
    """What is kept."""

    checkpoint_every: Annotated[int, Field(ge=0), Flag(aliases=("saving-steps",))] = 100
    """Steps between checkpoints; the last step always makes one. 0 for only that."""
    keep_last: Positive | None = None
    """Checkpoints kept, the best one besides; default all."""
    resume: str | None = None
    """A checkpoint folder, a run folder, or "auto" for the newest in --output-dir. What flags and
    --config do not say is taken from the run's own config.yaml."""
    force: bool = False
    """Resume although data or model are not those that the run began with."""


class TrackingSection(Section):
    """Where metrics go besides metrics.jsonl."""

    tensorboard: bool = True
    """Write TensorBoard event files."""
    wandb: Literal["disabled", "online", "offline"] = "disabled"
    """Weights & Biases mode; needs the wandb extra."""
    wandb_project: str = "srl"
    """Weights & Biases project."""
    trackio: bool = False
    """Log to trackio, whose dashboard is local; needs the trackio extra."""
    trackio_project: str = "srl"
    """trackio project."""
    run_name: str | None = None
    """Name of the run where it is shown; default the output folder's name."""
    logging_steps: Positive = 1
    """Steps per line in the terminal and per row in TensorBoard, W&B and trackio; the first, the
    last and evaluated steps always. metrics.jsonl has every step."""


class LaunchSection(Section):
    """Processes, started through torchrun."""

    nproc_per_node: Positive = 1
    """Processes on this host."""
    nnodes: Positive = 1
    """Hosts; above 1 the same command is run on each."""
    node_rank: Annotated[int, Field(ge=0)] = 0
    """Number of this host, from 0."""
    rdzv_endpoint: str | None = None
    """HOST:PORT of the first host, for several hosts."""


class TrainConfig(Section):
    """Everything that decides a training run."""

    output_dir: Path | None = None
    """Run folder; default runs/<UTC time>_<git sha>."""
    num_steps: Positive = 500
    """Rollout batches in the whole run, also when resuming."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 42
    """Base of every seed."""
    model: ModelSection = Field(default_factory=ModelSection.model_construct)
    data: DataSection = DataSection()
    synthetic: SyntheticSection | None = None
    warm_start: WarmStartSection = WarmStartSection()
    rollout: RolloutSection = RolloutSection()
    reward: RewardSection = RewardSection()
    algorithm: AlgorithmSection = AlgorithmSection()
    optimizer: OptimizerSection = OptimizerSection()
    engine: EngineSection = EngineSection()
    evaluation: EvaluationSection = EvaluationSection()
    checkpoint: CheckpointSection = CheckpointSection()
    tracking: TrackingSection = TrackingSection()
    launch: LaunchSection = LaunchSection()

    @model_validator(mode="after")
    def _consistent(self) -> "TrainConfig":
        if self.model.path is None and self.model.build is None:
            raise ValueError("a model is required: give --model, or a model.build section")
        if self.data.path is None and self.synthetic is None:
            raise ValueError("training data is required: give --data, or a synthetic section")
        if self.data.path is not None and self.synthetic is not None:
            raise ValueError(
                "both --data and a synthetic section are given; take one out "
                "(a preset such as quickstart makes its own data)"
            )
        if self.warm_start.steps and self.synthetic is None:
            raise ValueError("warm_start.steps needs the synthetic section, whose stream it reads")
        if self.rollout.group_size < 2 and self.algorithm.baseline == "group":
            raise ValueError(
                f"rollout.group_size = {self.rollout.group_size}: a completion is compared with "
                "the others of its prompt; give --group-size 2 or more, or --baseline none"
            )
        chunk, group = self.rollout.completions_per_chunk, self.rollout.group_size
        if chunk % group:
            below, above = chunk // group * group, -(-chunk // group) * group
            nearest = f"{below} or {above}" if below else f"{above}"
            raise ValueError(
                f"rollout.chunk_size {chunk} must be a multiple of rollout.group_size {group}; "
                f"give --chunk-size {nearest}"
            )
        evaluates = self.evaluation.eval_every or self.evaluation.before_after
        if evaluates and not (self.data.val_path or self.synthetic):
            raise ValueError("evaluation needs held-out data: give --val-data")
        if self.engine.offload_optimizer and not self.engine.zero_stage:
            raise ValueError("engine.offload_optimizer needs ZeRO: give --zero-stage 1, 2 or 3")
        return self

    @model_validator(mode="after")
    def _resumable_and_fitting(self) -> "TrainConfig":
        if self.checkpoint.resume == "auto" and self.output_dir is None:
            raise ValueError("--resume auto needs --output-dir, to know where to look")
        if self.model.build is not None:
            prompt, new = self.data.max_prompt_length, self.rollout.max_new_tokens
            if prompt + new > self.model.build.max_positions:
                raise ValueError(
                    f"max_prompt_length {prompt} + max_new_tokens {new} exceeds the model's "
                    f"{self.model.build.max_positions} positions; lower --max-prompt-length or "
                    "--max-new-tokens, or raise --max-positions"
                )
        return self

    @property
    def train_batch_size(self) -> int:
        """Completions per optimizer step."""
        whole = self.rollout.batch_size * self.rollout.group_size
        return self.algorithm.train_batch_size or whole
