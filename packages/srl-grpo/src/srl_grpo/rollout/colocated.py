"""vLLM beside the trainer: how it is started, and how weights come to it.

Each rank has its engine, or several neighbours share one. It starts with random weights from the
model's configuration and tokenizer alone, and is brought the policy's before it samples: so that
neither a resumed run nor a model made on the spot is a case of its own. Left out: the engine
(`srl_eval.generate.vllm`), where it stands (`placement.py`), and what is sent to other processes
(`transfer.py`).
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from transformers import PreTrainedConfig

from srl_data.command.errors import CommandError
from srl_eval.generate import Engine
from srl_eval.generate.architectures import load_config, window
from srl_eval.generate.engine import Completer
from srl_eval.generate.folders import ModelSource
from srl_eval.generate.options import VllmOptions
from srl_eval.generate.vllm import VllmEngine, check_vllm, require_vllm, start_vllm
from srl_eval.generate.vllm_separate import SeparateVllmEngine, start_separate_vllm
from srl_grpo.config.sampled import SampledConfig
from srl_grpo.config.sections import ModelSection
from srl_grpo.learner.distributed import World
from srl_grpo.learner.engine import TrainingEngine
from srl_grpo.learner.model import compute_dtype, source_of
from srl_grpo.learner.updater import Metrics
from srl_grpo.rollout.checkpoint_weights import checkpoint_weights
from srl_grpo.rollout.engines import PolicyRollout
from srl_grpo.rollout.parity import Parity
from srl_grpo.rollout.placement import Placement, Transfer, place_engine, place_on_main
from srl_grpo.rollout.transfer import FollowerEngine, open_transfer
from srl_grpo.run.prompted_model import MADE, PromptedModel, check_lengths
from srl_grpo.toy.model import build_model

DIFFERENCE = "sampling/sync_difference"


class SleepableSampler(Completer, Protocol):
    """A sampler with weights of its own, that may give their memory back."""

    def sleep(self, level: int) -> None:
        """Give memory back: 1 keeps the weights, 2 does not."""

    def wake_weights(self) -> None:
        """Take memory for the weights again."""

    def wake_cache(self) -> None:
        """Take memory for the cache again."""


@dataclass
class ReloadedWeights:
    """Brings the policy's weights to a sampler that may sleep while the policy is trained."""

    sampler: SleepableSampler
    bring: Callable[[], None]
    """Replaces all of the sampler's weights and forgets what the old ones cached. Collective."""
    parity: Parity
    barrier: Callable[[], None]
    """Waits for all ranks: those that one engine serves train in the memory it gives back."""
    sleep_level: int = 0
    """0 for a sampler that stays awake."""
    asleep: bool = False
    metrics: Metrics = field(default_factory=dict)

    def rest(self) -> None:
        """Let the sampler sleep until the next sync, if it may. Collective."""
        if self.sleep_level and not self.asleep:
            self.sampler.sleep(self.sleep_level)
            self.barrier()
            self.asleep = True

    def __call__(self, engine: Engine) -> None:
        """Replace the sampler's weights, see that it samples from them, count the version.

        Of a sampler that sleeps the weights wake first and the cache last, so that memory holds no
        cache while weights are on their way. Collective.
        """
        if self.asleep:
            self.sampler.wake_weights()
        self.bring()
        if self.asleep:
            self.sampler.wake_cache()
            self.asleep = False
        self.metrics[DIFFERENCE] = self.parity.check(self.sampler)
        engine.weights_version += 1


def options_of(
    config: SampledConfig, dtype: torch.dtype, world: World, transfer: Transfer = "in_process"
) -> VllmOptions:
    """How vLLM is set up for a run; in the trainer's processes it joins the group they have."""
    section = config.rollout.vllm
    extra: dict[str, object] = {"load_format": "dummy"}
    if transfer != "in_process":
        extra["weight_transfer_config"] = {"backend": transfer}
    elif world.size > 1:
        extra["distributed_executor_backend"] = "external_launcher"
    return VllmOptions(
        dtype=str(dtype).removeprefix("torch."),
        chunk_size=config.rollout.completions_per_chunk,
        gpu_memory_utilization=section.gpu_memory_utilization,
        tensor_parallel_size=section.tensor_parallel_size,
        max_model_len=config.longest,
        in_process=True,
        enable_sleep=section.enable_sleep,
        extra=extra,
    )


def check_backend(config: SampledConfig, section: ModelSection, world: World) -> None:
    """Raise, before a weight is loaded, where a config asks for a vLLM that cannot be had.

    On rank 0. `section` is the model's that the run starts from. ConfigError for the config or
    what is installed, DataError for the model.
    """
    if config.rollout.backend != "vllm":
        return
    transfer, _ = place_on_main(config.rollout.vllm, world)
    require_vllm()
    options = options_of(config, compute_dtype(section.dtype, world.device), world, transfer)
    source = ModelSource(MADE) if section.build else source_of(section)
    found = config_of_model(section)
    check_lengths(config, window(found))
    check_vllm(source, found, options)


def config_of_model(section: ModelSection) -> PreTrainedConfig:
    """The configuration of a model that is not loaded yet."""
    if section.build is not None:
        return build_model(section.build, 0)[0].config
    return load_config(source_of(section))


@contextmanager
def vllm_rollout(
    training: TrainingEngine, model: PromptedModel, config: SampledConfig, limit: float | None
) -> Iterator[PolicyRollout]:
    """A vLLM engine for the policy, not yet with its weights; ended at the end. Collective."""
    section = config.rollout.vllm
    placement = place_engine(section, training.world)
    options = options_of(config, training.dtype, training.world, placement.transfer)
    with tempfile.TemporaryDirectory(prefix="srl-vllm-") as scratch:
        save_without_weights(Path(scratch), model)
        try:
            engine = start_engine(ModelSource(scratch, local=True), options, placement, model)
        except CommandError as error:  # it knows the model by that folder's name
            raise type(error)(str(error).replace(scratch, model.name)) from error
    with closing(engine), weight_transfer(engine, training, placement) as bring:
        level = section.sleep_level if section.enable_sleep else 0
        parity = Parity(training, config.longest, limit, placement)
        sync = ReloadedWeights(engine, bring, parity, training.world.barrier, level)
        yield PolicyRollout(
            engine, sync, placement.ranks, placement.leads, sync.rest, metrics=sync.metrics
        )


StartedEngine = VllmEngine | SeparateVllmEngine | FollowerEngine


def start_engine(
    source: ModelSource, options: VllmOptions, placement: Placement, model: PromptedModel
) -> StartedEngine:
    """The engine at its place, as this rank has it."""
    if placement.transfer == "in_process":
        return start_vllm(source, options, model.tokenizer)
    if placement.leads:
        return start_separate_vllm(source, options, placement.gpus, model.tokenizer)
    return FollowerEngine(options.chunk_size)


@contextmanager
def weight_transfer(
    engine: StartedEngine, training: TrainingEngine, placement: Placement
) -> Iterator[Callable[[], None]]:
    """What brings the policy's weights to an engine. Collective, as what it gives."""
    if placement.transfer == "in_process":
        assert isinstance(engine, VllmEngine)
        yield lambda: engine.load_weights(checkpoint_weights(training))
        return
    client = None if isinstance(engine, FollowerEngine) else engine
    sender = open_transfer(training, placement, client)
    try:
        yield sender.send_weights
    finally:
        sender.shutdown()


def save_without_weights(folder: Path, model: PromptedModel) -> None:
    """What vLLM reads of a model besides its weights; on every rank, whatever rank it is."""
    model.model.config.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
