"""The DeepSpeed engine, seen as what a trainer needs: a forward, sums of losses, a step.

Losses passed in are shares of a global batch (they add up to its loss over micro-batches and
ranks); what DeepSpeed does to them on the way is undone here. Left out: what the loss is, the
learning rate's course, where checkpoints lie (`srl_grpo.run.checkpoint`).
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn

from srl_data.command.errors import DataError
from srl_grpo.config.sections import EngineSection, OptimizerSection
from srl_grpo.learner.batch import MicroBatch
from srl_grpo.learner.distributed import World
from srl_grpo.learner.policy import Policy

STATE_TAG = "zero"
QUIET = 10**9


def prepare_deepspeed() -> None:
    """Import DeepSpeed without its noise and without compiling its shared-memory op on a CPU.

    That op wants a C++ compiler and a minute at the first `initialize`; gloo does its work here.
    """
    import logging

    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # else it warns that it found no GPU
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import deepspeed.ops
        from deepspeed.runtime import bf16_optimizer
        from deepspeed.utils import logger

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    bf16_optimizer.see_memory_usage = lambda *_, **__: None  # it prints, whatever the log level
    logger.setLevel(logging.ERROR)
    silence_upstream()


UPSTREAM_WARNINGS = (
    # DeepSpeed 0.19 calls collectives by names that torch 2.13 has replaced.
    (FutureWarning, r"`torch\.distributed\.\w+` is deprecated"),
    # With ZeRO it imports torch's compiler, whose own modules still script a method.
    (DeprecationWarning, r"`torch\.jit\.script_method` is deprecated"),
)
"""What torch says of DeepSpeed's own habits, by name; nothing a user could mend."""


def silence_upstream() -> None:
    """Ignore `UPSTREAM_WARNINGS` in this process."""
    for category, message in UPSTREAM_WARNINGS:
        warnings.filterwarnings("ignore", message=message, category=category)


def deepspeed_settings(
    options: EngineSection, optimizer: OptimizerSection, bfloat16: bool
) -> dict[str, object]:
    """The DeepSpeed config: ours, with `engine.deepspeed` laid over it section by section."""
    stage = options.stage_for(bfloat16)
    zero: dict[str, object] = {"stage": stage}
    if options.offload_optimizer:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": torch.cuda.is_available()}
    settings: dict[str, object] = {
        # Micro-batches are counted here, not there: `set_gradient_accumulation_boundary` rules.
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        # Whole gradients are clipped here, by the norm that is reported: one pass, not two.
        "gradient_clipping": optimizer.max_grad_norm if stage else 0.0,
        "zero_optimization": zero,
        "bf16": {"enabled": bfloat16},
        # Gradients of many micro-batches are summed in float32 also where each is bfloat16.
        "data_types": {"grad_accum_dtype": "fp32"} if bfloat16 else {},
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": QUIET,
    }
    for key, value in options.deepspeed.items():
        ours = settings.get(key)
        if isinstance(ours, dict) and isinstance(value, dict):
            settings[key] = {**ours, **value}
        else:
            settings[key] = value
    return settings


def make_optimizer(parameters: list[nn.Parameter], options: OptimizerSection) -> torch.optim.AdamW:
    """AdamW over all parameters; the learning rate is set before every step."""
    return torch.optim.AdamW(
        parameters,
        lr=options.learning_rate,
        betas=options.betas,
        weight_decay=options.weight_decay,
        fused=True,
    )


class TrainingEngine:
    """A policy, its optimizer and their DeepSpeed engine."""

    def __init__(
        self, policy: Policy, options: EngineSection, optimizer: OptimizerSection, world: World
    ) -> None:
        prepare_deepspeed()
        import deepspeed

        self.world = world
        self._last: tuple[MicroBatch, float] | None = None
        self._max_grad_norm = optimizer.max_grad_norm
        self.dtype = next(policy.parameters()).dtype
        bfloat16 = self.dtype == torch.bfloat16
        self.zero_stage = options.stage_for(bfloat16)
        policy.train()  # a loaded model is in eval mode, where gradient checkpointing sleeps
        trained = [parameter for parameter in policy.parameters() if parameter.requires_grad]
        self._engine, self._optimizer, _, _ = deepspeed.initialize(
            model=policy,
            optimizer=make_optimizer(trained, optimizer),
            config=deepspeed_settings(options, optimizer, bfloat16),
            dist_init_required=False,
        )

    @property
    def policy(self) -> Policy:
        """The trained module; under ZeRO-3 its parameters are empty outside `gathered`."""
        policy = self._engine.module
        assert isinstance(policy, Policy)
        return policy

    def forward(self, batch: MicroBatch, temperature: float) -> tuple[Tensor, Tensor]:
        """Log-probabilities and entropies of the batch's completion tokens; see `Policy`."""
        self._last = batch, temperature
        result: tuple[Tensor, Tensor] = self._engine(batch, temperature)
        return result

    @torch.no_grad()
    def last_outputs_are_finite(self) -> bool:
        """Whether the last micro-batch's log-probabilities are finite under the present weights.

        Of this rank's micro-batch, padded on the left too, since an overflow may show there alone;
        True before the first one. Collective under ZeRO-3.
        """
        if self._last is None:
            return True
        batch, temperature = self._last
        logprobs_N, _ = self._engine(batch.left_padded(), temperature)
        return bool(torch.isfinite(logprobs_N).all())

    def optimizer_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """This rank's optimizer state by name; none under ZeRO-3, whose padding holds anything."""
        if self.zero_stage == 3:
            return
        names = {id(p): name for name, p in self.policy.model.named_parameters()}
        for key, state in self._engine.basic_optimizer.state.items():
            for name, value in state.items():
                if isinstance(value, Tensor):
                    yield f"the optimizer's {name} of {names.get(id(key), 'its shard')}", value

    def begin(self, last: bool) -> None:
        """Announce the next micro-batch, before its forward; `last` one of the optimizer step.

        ZeRO-2 reduces gradients inside the backward pass; without this all but the last
        micro-batch's would be lost in silence.
        """
        self._engine.set_gradient_accumulation_boundary(last)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of one micro-batch's share of the global loss.

        DeepSpeed averages over ranks, so the share is multiplied by their number.
        """
        self._engine.backward(loss * self.world.size)

    def step(self, learning_rate: float) -> float:
        """Clip, update, clear; returns the global gradient norm before clipping."""
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        norm: Tensor | float | None = None
        if self.zero_stage == 0:
            norm = nn.utils.clip_grad_norm_(self.policy.parameters(), self._max_grad_norm)
        self._engine.step()
        if norm is None:
            norm = self._engine.get_global_grad_norm()
        return float(norm) if norm is not None else float("nan")

    @torch.no_grad()
    def forget(self) -> None:
        """Make the optimizer's state that of a new optimizer: no moments, no step taken."""
        for state in self._engine.basic_optimizer.state.values():
            for value in state.values():
                if isinstance(value, Tensor):
                    value.zero_()

    def gradients(self) -> dict[str, Tensor]:
        """The whole accumulated gradient of every trained parameter, on every rank. Collective.

        Between the last micro-batch of an optimizer step and the step itself.
        """
        from deepspeed.utils import safe_get_full_grad

        found: dict[str, Tensor] = {}
        for name, parameter in self.policy.model.named_parameters():
            if parameter.requires_grad:
                gradient = safe_get_full_grad(parameter)
                assert gradient is not None, f"DeepSpeed holds no gradient of {name}"
                found[name] = gradient.detach().clone()
        return found

    def first_moments(self) -> dict[str, Tensor]:
        """AdamW's mean of gradients of every trained parameter, on every rank. Collective."""
        from deepspeed.utils import safe_get_full_optimizer_state

        state = self._engine.basic_optimizer.state
        found: dict[str, Tensor] = {}
        for name, parameter in self.policy.model.named_parameters():
            if not parameter.requires_grad:
                continue
            if self.zero_stage == 0:
                moment = state[parameter]["exp_avg"]
            else:
                moment = safe_get_full_optimizer_state(parameter, "exp_avg")
            found[name] = moment.detach().clone()
        return found

    def gathered(self, parameters: list[nn.Parameter]) -> AbstractContextManager[object]:
        """Inside, `parameters` are whole on every rank. A collective call under ZeRO-3."""
        if self.zero_stage < 3:
            return nullcontext()
        import deepspeed

        gathered: AbstractContextManager[object] = deepspeed.zero.GatheredParameters(parameters)
        return gathered

    def model_state(self) -> dict[str, Tensor]:
        """The whole model's weights on the CPU, on rank 0; empty elsewhere. Collective."""
        model = self.policy.model
        state: dict[str, Tensor] = {}
        for name, parameter in model.named_parameters(remove_duplicate=False):
            with self.gathered([parameter]):
                if self.world.is_main:
                    state[name] = parameter.detach().cpu().clone()
        if self.world.is_main:
            kept = set(model.state_dict())
            buffers = model.named_buffers(remove_duplicate=False)
            state |= {name: value.cpu().clone() for name, value in buffers if name in kept}
        return state

    def save(self, folder: Path) -> None:
        """Write optimizer state and masters under `folder`; every rank its part. Collective."""
        self._engine.save_checkpoint(str(folder), tag=STATE_TAG, save_latest=False)

    def load(self, folder: Path) -> None:
        """Read back what `save` wrote, for the same number of ranks and ZeRO stage. Collective.

        Files are unpickled under torch's restricted loader: tensors, plain containers and
        DeepSpeed's own constants; DataError for anything else.
        """
        import pickle

        self._engine.checkpoint_engine = restricted(self._engine.checkpoint_engine)
        try:
            path, _ = self._engine.load_checkpoint(str(folder), tag=STATE_TAG)
        except pickle.UnpicklingError as error:
            first = str(error).splitlines()[0]
            raise DataError(
                f"{folder}: holds more than training state, not loaded: {first}"
            ) from error
        if path is None:
            raise DataError(f"{folder}: no training state here; expected a checkpoint's trainer/")


def restricted(engine: object) -> object:
    """DeepSpeed's checkpoint engine with a loader that runs no code of the file's."""
    from deepspeed.runtime.checkpoint_engine.torch_checkpoint_engine import TorchCheckpointEngine

    class Restricted(TorchCheckpointEngine):  # type: ignore[misc]  # DeepSpeed is untyped
        def load(self, path: str, map_location: torch.device | str | None = None) -> object:
            with torch.serialization.safe_globals([*safe_classes()]):
                return torch.load(path, map_location=map_location, weights_only=True)

    assert isinstance(engine, TorchCheckpointEngine)
    engine.__class__ = Restricted
    return engine


def safe_classes() -> list[type]:
    """DeepSpeed's own classes that its state files hold; none runs code when made."""
    from deepspeed.runtime.fp16.loss_scaler import DynamicLossScaler, LossScaler
    from deepspeed.runtime.zero.config import ZeroStageEnum
    from deepspeed.utils.tensor_fragment import fragment_address

    return [DynamicLossScaler, LossScaler, ZeroStageEnum, fragment_address]
