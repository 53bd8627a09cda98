"""Where a run starts, afresh or at a checkpoint, and the folder that it writes to.

Rank 0 looks, locks and verifies; every rank learns what was found, or why the run may not start.
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from srl_data.command.config import read_tree
from srl_data.command.errors import CommandError, ConfigError
from srl_data.lock import FolderLock
from srl_data.prompt_record import TEMPLATE_FILE
from srl_grpo.config.run import RunConfig
from srl_grpo.learner.distributed import World
from srl_grpo.learner.model import compute_dtype
from srl_grpo.run.checkpoint import (
    Note,
    TrainerState,
    check_fit,
    find_resume,
    read_state,
    rewind,
    steps_of,
)
from srl_grpo.run.directory import RunDirectory, begin_run, default_run_path, resume_run
from srl_grpo.run.final import is_final, is_sealed, leftovers, refuse_final
from srl_grpo.run.inputs import changed_rewards
from srl_grpo.run.resume import changed_keys


@dataclass(frozen=True)
class StartingPoint:
    """Where a run starts: afresh, or at a checkpoint."""

    checkpoint: Path | None
    state: TrainerState
    notes: tuple[str, ...] = ()
    """What the user should know of how it was found."""
    model: Path | None = None
    """The model that an earlier stage of this very run left, in the place of the config's."""
    begun: Path | None = None
    """The folder of a run that ended before its first checkpoint, where it records its prompts."""

    @property
    def resume_step(self) -> int | None:
        """The step that the run resumes from; None for a fresh run."""
        return None if self.checkpoint is None else self.state.step

    @property
    def prompts(self) -> Path | None:
        """The folder that records how the run prompts its model; None for a run not yet begun."""
        return self.checkpoint or self.begun

    def home(self, config: RunConfig) -> Path | None:
        """The run's folder: the one asked for, or the checkpoint's; None for a new one."""
        return config.output_dir or (self.checkpoint.parent if self.checkpoint else None)


def starting_point_of(config: RunConfig, world: World, lock: FolderLock) -> StartingPoint:
    """Find, verify and read the checkpoint to resume from, on rank 0; every rank learns of it."""
    return world.of_main(lambda: find_starting_point(config, world, lock))


def find_starting_point(config: RunConfig, world: World, lock: FolderLock) -> StartingPoint:
    """The checkpoint that the config resumes from, fit for this run, or a fresh start.

    The folder that holds the run is locked before its checkpoints are looked at.
    """
    resume, home = config.checkpoint.resume, config.output_dir
    if resume and home is not None and RunDirectory(home).holds_run():
        lock.take(home)
    notes: list[str] = []
    checkpoint = find_resume(resume, home, notes.append) if resume else None
    if checkpoint is None and resume == "auto" and home is not None:
        checkpoint = forked_from(home)
        if checkpoint is not None:
            notes.append(f"no checkpoint of its own yet: it starts from {checkpoint} again")
    if checkpoint is None:
        recorded = resume and home is not None and (home / TEMPLATE_FILE).is_file()
        begun = home if recorded else None
        return StartingPoint(None, TrainerState(), tuple(notes), begun=begun)
    refuse_other_run(checkpoint, home)
    if home is None:
        lock.take(checkpoint.parent)
    state = read_state(checkpoint)
    steps = steps_of_run(config, state)
    if is_final(checkpoint) and (steps is None or state.step < steps):
        refuse_final(checkpoint, state.step, steps)
    check_fit(checkpoint, state, zero_stage_of(config, world), world.size)
    return StartingPoint(checkpoint, state, tuple(notes))


def zero_stage_of(config: RunConfig, world: World) -> int:
    """The ZeRO stage that the run takes on this device."""
    dtype = compute_dtype(config.model.dtype, world.device)
    return config.engine.stage_for(dtype == torch.bfloat16)


def forked_from(home: Path) -> Path | None:
    """The other run's checkpoint that a run without one of its own was started from."""
    if not RunDirectory(home).config.is_file():
        return None
    section = read_tree(RunDirectory(home).config).get("checkpoint")
    resume = section.get("resume") if isinstance(section, dict) else None
    return find_resume(str(resume), home) if resume and resume != "auto" else None


def refuse_other_run(checkpoint: Path, home: Path | None) -> None:
    """ConfigError where a checkpoint of one run would be continued over another's checkpoints."""
    if home is None or not steps_of(home) or checkpoint.parent.samefile(home):
        return
    raise ConfigError(
        f"--output-dir {home} holds another run than {checkpoint}, with checkpoints of its own; "
        "continue it with --resume auto, or give another --output-dir"
    )


def steps_of_run(config: RunConfig, state: TrainerState) -> int | None:
    """Steps of the whole run that a checkpoint is of; None where its state does not say."""
    if state.inputs is None:
        return None
    return (
        state.step
        if is_done(config, state)
        else config.steps(state.inputs.train_prompts, state.step, state.stage_state)
    )


def is_done(config: RunConfig, state: TrainerState) -> bool:
    """Whether the stage has nothing left to do, whatever steps it may have."""
    inputs = state.inputs
    return inputs is not None and config.is_done(inputs.train_prompts, state.stage_state)


def finished_already(config: RunConfig, start: StartingPoint) -> str | None:
    """What to say where nothing is left to do: the checkpoint is at or past the last step.

    CommandError where no step of it made an update: such a run is not a success when asked again.
    """
    home, step = start.home(config), start.state.step
    steps = steps_of_run(config, start.state)
    if start.checkpoint is None or home is None or steps is None or step < steps:
        return None
    past = "finished" if step == steps else "past that"
    told = (
        f"nothing to do: {start.checkpoint} is at step {step} of {steps}, {past}; "
        f"to train on, give {config.more(step)}"
    )
    if config.needs_updates and not start.state.updates:
        raise CommandError(f"none of its steps made an update; {told}")
    if step == steps and unfinished(config, home, step):
        return None  # stopped between its last step and what comes after it
    return told


def unfinished(config: RunConfig, home: Path, step: int) -> bool:
    """Whether a run did its last step and not yet all that follows."""
    if not is_sealed(home, step) or leftovers(home, config.checkpoint):
        return True
    run = RunDirectory(home)  # without an evaluation before, there is nothing to compare with
    compares = config.evaluation.before_after and run.before.is_file()
    return compares and not run.summary.is_file()


def begin_or_resume(
    config: RunConfig, start: StartingPoint, lock: FolderLock, note: Note
) -> RunDirectory:
    """The run's folder, locked: a new one, or the one that is resumed."""
    home = start.home(config)
    if start.checkpoint is not None:  # which one "auto" was, for whoever reads the config later
        kept = {"resume": str(start.checkpoint.resolve())}
        section = config.checkpoint.model_copy(update=kept)
        config = config.model_copy(update={"checkpoint": section})
    if home is None or not (config.checkpoint.resume and RunDirectory(home).holds_run()):
        return begin_run(config, home or default_run_path(), lock)
    # Also a run that ended before its first checkpoint: it begins anew in its folder.
    lock.take(home)
    if lock.note:
        note(lock.note)
    if RunDirectory(home).config.is_file():
        changes = changed_keys(read_tree(RunDirectory(home).config), config)
        changes += changed_rewards(start.state.inputs, config)
        if changes:
            note(f"resumed with another config: {'; '.join(changes)}")
    run = resume_run(home, config, start.state.step)
    rewind(run.path, start.state, config.checkpoint)
    return run
