"""How a stage's session is opened: what is checked first, the engine, the state, the trackers."""

from collections.abc import Iterator
from contextlib import contextmanager

from srl_grpo.data.parts import check_data
from srl_grpo.learner.engine import TrainingEngine
from srl_grpo.learner.model import check_model
from srl_grpo.learner.policy import Policy
from srl_grpo.run.checkpoint import TrainerState, load_checkpoint
from srl_grpo.run.directory import RunDirectory
from srl_grpo.run.inputs import Inputs
from srl_grpo.run.prompted_model import PromptedModel, model_section
from srl_grpo.run.reference import fingerprint
from srl_grpo.run.session import Session, Setup
from srl_grpo.run.trackers import NoTracker, Tracker, make_trackers


def check_paths(setup: Setup) -> None:
    """DataError where a model's folder or a data file cannot be used, before anything is loaded."""
    config = setup.config
    check_model(model_section(config, setup.start))  # before data or a hub are touched
    for path in (config.data.path, config.data.val_path):
        if path is not None:
            check_data(path)  # before a hub is asked for a model


@contextmanager
def open_session(
    setup: Setup, directory: RunDirectory, model: PromptedModel, policy: Policy, inputs: Inputs
) -> Iterator[Session]:
    """The session over a policy's engine, with a checkpoint's state loaded where there is one."""
    config, world, note = setup.config, setup.world, setup.display.note
    tracker: Tracker = NoTracker()
    if world.is_main:
        tracker = make_trackers(config, directory, setup.start.resume_step, note)
    try:
        state = setup.start.state.model_copy(deep=True)
        state.inputs, state.run = inputs, str(directory.path.resolve())
        if setup.start.checkpoint is None:
            state.start = fingerprint(policy.model)  # before the engine shards it
        engine = TrainingEngine(policy, config.engine, config.optimizer, world)
        load_state(setup, engine, state)
        step = setup.start.state.step
        yield Session(setup, directory, tracker, model, engine, state, saved_step=step)
    finally:
        tracker.close()


def load_state(setup: Setup, engine: TrainingEngine, state: TrainerState) -> None:
    """Load a checkpoint's part into the engine, and say in the state what wrote it. Collective."""
    if setup.start.checkpoint is not None:
        load_checkpoint(setup.start.checkpoint, engine, setup.world)
    state.world_size, state.zero_stage = setup.world.size, engine.zero_stage
    if engine.zero_stage != setup.config.engine.zero_stage:
        setup.display.note("bfloat16 without ZeRO is wrong in DeepSpeed: running as --zero-stage 1")
