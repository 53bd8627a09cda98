"""Sections that the configs of all stages share.

Field docstrings are the flags' help. What evaluation configures too is said once, for both: the
chat template (`ChatSection`), a model's revision, stop strings; with other commands: what a bad
record does, W&B's modes.
"""

# Sections of `srl_eval.config` have the same names and differ on purpose. Model: training keeps
# float32 masters and so has no float16, its `auto` is bfloat16 on a GPU where evaluation takes the
# checkpoint's type, and a model may be made on the spot; evaluation chooses a device. Data: records
# to train on and to hold out, against a benchmark's problems. Tracking: a run is sent to several
# dashboards step by step and is called as its folder; an evaluation is sent once, at its end, where
# a project is named.

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from srl_data.command.config import Flag, Section
from srl_data.command.wandb import WandbMode
from srl_data.prompt_record import ChatSection
from srl_data.records import OnError
from srl_eval.generate.options import ModelRevision

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
    initializer_range: Annotated[float, Field(gt=0)] = 0.02
    """Standard deviation of the weights of a model made on the spot; narrow ones learn faster from
    a larger one."""
    alphabet: Literal["arithmetic", "chain"] = "arithmetic"
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
    revision: ModelRevision = None
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


Column = Annotated[str | None, Field(min_length=1)]


class SplitsSection(Section):
    """Which parts of the data are trained on and held out."""

    revision: Annotated[str | None, Flag("data-revision")] = None
    """Commit, branch or tag of data on the hub."""
    subset: Annotated[str | None, Flag("data-subset")] = None
    """Which of several configurations of data on the hub, such as main."""
    train_split: Column = None
    """The split to train on; default train."""
    eval_split: Column = None
    """The held-out split; default test, else validation or val."""
    train_max_samples: Positive | None = None
    """Train on the first so many records."""


class PromptSection(SplitsSection, ChatSection):
    """Where records come from and how they are put to the model: what every stage's data has."""

    path: Path | str | None = None
    """Records to train on."""
    val_path: Path | str | None = None
    """Held-out records."""
    template: str | None = None
    """Prompt template."""


class DataSection(PromptSection):
    """What it is trained on."""

    path: Annotated[Path | None, Flag("data")] = None
    """What the reward reads: SRL instances (`srl-data build`), or problems with answers. A file
    (.jsonl, .json, .parquet), a folder with a file for each split (train.jsonl, test.jsonl) or
    saved by `datasets`, or OWNER/NAME on the hub."""
    val_path: Annotated[Path | None, Flag("val-data")] = None
    """Held-out records of the same kind for evaluation while training. Default: the held-out split
    of --data, where it has one."""
    problem_field: Column = None
    """The column with the problem, where rows are problems with answers in columns of their own.
    Every row has to have it, as a text."""
    answer_field: Column = None
    """The column with the answer, likewise; a number is read as a text."""
    template: str | None = None
    """Prompt template: a name, a text file with {problem}, or module:function. Default: the one
    that the model was trained with, else srl for SRL instances, boxed for prompt-answer records."""
    max_prompt_length: Positive = 2048
    """Longest prompt in tokens; longer ones are left out and counted, never cut."""
    on_error: OnError = "fail"


class OptimizerSection(Section):
    """AdamW and its schedule."""

    learning_rate: Annotated[float, Field(gt=0), Flag(aliases=("lr",))] = 1e-6
    """Peak learning rate."""
    betas: tuple[Share, Share] = (0.9, 0.999)
    """AdamW's betas."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """AdamW's weight decay."""
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Steps over which the learning rate rises linearly from 0."""
    warmup_ratio: Share | None = None
    """The same as a share of all steps, rounded up; instead of --warmup-steps."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """Course of the learning rate after warmup; linear and cosine end at 0."""
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    """Gradients are clipped to this global norm."""

    @model_validator(mode="after")
    def _one_warmup(self) -> "OptimizerSection":
        if self.warmup_steps and self.warmup_ratio is not None:
            raise ValueError(
                f"optimizer: warmup_steps {self.warmup_steps} and warmup_ratio "
                f"{self.warmup_ratio} say the same thing; leave one of them out"
            )
        return self


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


TOKEN_BUDGET = 16384
"""Padded tokens per forward pass where the config says nothing."""


class EngineSection(Section):
    """DeepSpeed."""

    zero_stage: Annotated[int, Field(ge=0, le=3)] = 0
    """ZeRO stage: 1 shards optimizer state, 2 gradients too, 3 parameters too; in bfloat16 0 is
    run as 1."""
    micro_batch_tokens: Positive | None = None
    """Tokens per forward pass, padding included; default 16384. Or give
    gradient_accumulation_steps."""
    gradient_accumulation_steps: Annotated[
        Positive | None,
        Flag("grad-accumulation-steps", aliases=("gradient-accumulation-steps",)),
    ] = None
    """Forward passes per optimizer step and process, whatever their tokens: its completions are
    cut into so many micro-batches. `sft` takes batch_size times as many examples per step."""
    packing: bool = False
    """Put several examples into a row of tokens, kept apart by their mask, instead of padding."""
    shared_prompts: Literal["auto", "always", "never"] = "auto"
    """Compute a beginning that completions have in common once, instead of with each of them; auto
    on a CPU, where the model can and it pays. Takes the place of packing."""
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
                "own fields (zero_stage, gradient_accumulation_steps, micro_batch_tokens, "
                "max_grad_norm, dtype, optimizer)"
            )
        return self

    @model_validator(mode="after")
    def _one_size_of_micro_batch(self) -> "EngineSection":
        steps, tokens = self.gradient_accumulation_steps, self.micro_batch_tokens
        if steps is not None and tokens is not None:
            raise ValueError(
                f"engine.gradient_accumulation_steps is {steps} and engine.micro_batch_tokens "
                f"{tokens}: either says where a micro-batch ends; give one of "
                "--gradient-accumulation-steps and --micro-batch-tokens, in the file or as a flag"
            )
        return self

    @property
    def token_budget(self) -> int:
        """Padded tokens per forward pass, where accumulation does not decide."""
        return self.micro_batch_tokens or TOKEN_BUDGET

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
    save_final_only: bool = False
    """Keep no step_N/ beside final/; while the run goes, one is kept to resume from."""
    resume: str | None = None
    """A checkpoint folder, a run folder, or "auto" for the newest in --output-dir. What flags and
    --config do not say is taken from the run's own config.yaml."""
    force: bool = False
    """Resume although data or model are not those that the run began with."""


class TrackingSection(Section):
    """Where metrics go besides metrics.jsonl."""

    tensorboard: bool = True
    """Write TensorBoard event files."""
    wandb: WandbMode = "disabled"
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
