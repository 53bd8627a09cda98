"""How a stage's session is opened: what is checked first, the engine, the state, the trackers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from srl_data.command.errors import ConfigError, DataError
from srl_grpo.config.run import C, RunConfig
from srl_grpo.data.parts import check_data
from srl_grpo.learner.distributed import World
from srl_grpo.learner.engine import TrainingEngine, prepare_deepspeed
from srl_grpo.learner.fingerprint import fingerprint
from srl_grpo.learner.model import check_model
from srl_grpo.learner.policy import Policy
from srl_grpo.run.checkpoint import TrainerState, load_checkpoint
from srl_grpo.run.data_record import write_data_record
from srl_grpo.run.directory import RunDirectory
from srl_grpo.run.inputs import Inputs, check_inputs
from srl_grpo.run.prompted_model import PromptedModel, model_section
from srl_grpo.run.session import Session, Setup
from srl_grpo.run.trackers import NoTracker, Tracker, make_trackers


def check_paths(setup: Setup[RunConfig]) -> None:
    """DataError where a model's folder or a data file cannot be used, before anything is loaded."""
    config = setup.config
    check_model(model_section(config, setup.start))  # before data or a hub are touched
    for path in (config.data.path, config.data.val_path):
        if path is not None:
            check_data(path)  # before a hub is asked for a model


def try_model(model: PromptedModel, prompt: str, world: World) -> None:
    """DataError where the first prompt or a trial save does not come back. Collective."""
    prepare_deepspeed()  # saving a model imports it too, with its notices
    world.of_main(lambda: model.check(prompt))  # only rank 0 saves


def inputs_of(setup: Setup[RunConfig], find: Callable[[], Inputs]) -> Inputs:
    """What the run begins or resumes with, found on rank 0.

    ConfigError where that is not what it began with.
    """
    start, force = setup.start, setup.config.checkpoint.force

    def checked() -> Inputs:
        now = find()
        if start.checkpoint is None:
            return now
        return check_inputs(start.state.inputs, now, start.checkpoint, force)

    return setup.world.of_main(checked)


S = TypeVar("S", bound=BaseModel)


def resumed_state(session: Session[RunConfig], name: str, kind: type[S]) -> S:
    """The stage's part of a checkpoint's state, or a fresh one.

    ConfigError where another stage wrote the checkpoint, DataError where its state does not fit.
    """
    state, checkpoint = session.state, session.setup.start.checkpoint
    if checkpoint is not None and state.stage != name:
        raise ConfigError(f"{checkpoint} was written by another stage of training: {state.stage!r}")
    state.stage = name
    try:
        return kind.model_validate(state.stage_state)
    except ValidationError as error:
        raise DataError(
            f"{checkpoint}: its stage's state does not fit: "
            f"{error.errors()[0]['loc']}: {error.errors()[0]['msg']}"
        ) from error


@contextmanager
def open_session(
    setup: Setup[C], directory: RunDirectory, model: PromptedModel, policy: Policy, inputs: Inputs
) -> Iterator[Session[C]]:
    """The session over a policy's engine, with a checkpoint's state loaded where there is one."""
    config, world, note = setup.config, setup.world, setup.display.note
    tracker: Tracker = NoTracker()
    if world.is_main:
        tracker = make_trackers(config, directory, setup.start.resume_step, note)
        write_data_record(config, directory)
    try:
        state = setup.start.state.model_copy(deep=True)
        state.inputs, state.run = inputs, str(directory.path.resolve())
        if setup.start.checkpoint is None:
            state.start = fingerprint(policy.model)  # before the engine shards it
        engine = TrainingEngine(policy, config.engine, config.optimizer, world)
        load_state(setup, engine, state)
        step = setup.start.state.step
        steps = config.steps(inputs.train_prompts, state.step, state.stage_state)
        setup.display.expect(steps)
        yield Session(setup, directory, tracker, model, engine, state, steps, saved_step=step)
    finally:
        tracker.close()


def load_state(setup: Setup[RunConfig], engine: TrainingEngine, state: TrainerState) -> None:
    """Load a checkpoint's part into the engine, and say in the state what wrote it. Collective."""
    if setup.start.checkpoint is not None:
        load_checkpoint(setup.start.checkpoint, engine, setup.world)
    state.world_size, state.zero_stage = setup.world.size, engine.zero_stage
    if engine.zero_stage != setup.config.engine.zero_stage:
        setup.display.note("bfloat16 without ZeRO is wrong in DeepSpeed: running as --zero-stage 1")
