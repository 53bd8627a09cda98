"""A training command behind its validation: a run from its lock to its report, of any stage."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Generic, TypeVar

from transformers.utils.logging import disable_progress_bar

from srl_data.command.errors import CommandError, DataError, InterruptedRunError
from srl_data.lock import FolderLock
from srl_grpo.config.run import C, RunConfig
from srl_grpo.heldout.before_after import BeforeAfter
from srl_grpo.learner import distributed
from srl_grpo.learner.distributed import World
from srl_grpo.learner.finite import sampling_fault
from srl_grpo.report import write_report
from srl_grpo.rollout.rewards import RewardError
from srl_grpo.run.directory import check_folder
from srl_grpo.run.display import Display
from srl_grpo.run.resume import interrupted, resume_command
from srl_grpo.run.session import Session, Setup
from srl_grpo.run.start import StartingPoint, finished_already, starting_point_of
from srl_grpo.run.trackers import check_trackers
from srl_grpo.stages.loop import Stage, train_stage
from srl_grpo.stages.starvation import StarvedError

S = TypeVar("S", bound=Stage)


def as_found(config: C, _world: World, start: StartingPoint) -> tuple[C, StartingPoint]:
    """Nothing comes before the stage."""
    return config, start


@dataclass(frozen=True)
class Command(Generic[C, S]):
    """A command that trains: how its stage is opened, and what comes before it."""

    open_stage: Callable[[Setup[C]], AbstractContextManager[tuple[Session[C], S]]]
    prepare: Callable[[C, World, StartingPoint], tuple[C, StartingPoint]] = as_found
    """Makes what the stage starts from, where that is another stage's work."""


def run(config: C, command: Command[C, S]) -> None:
    """Run or continue what `config` describes, to its end.

    Raises ConfigError, DataError, or InterruptedRunError with the command that resumes.
    """
    disable_progress_bar()  # transformers' own; ours would be torn by them
    world, lock = distributed.start(), FolderLock()
    try:
        comparison = run_to_end(config, command, world, lock)
        if world.is_main and comparison is not None:
            comparison.show()
    finally:
        lock.release()
        distributed.stop()


def run_to_end(
    config: C, command: Command[C, S], world: World, lock: FolderLock, home: Path | None = None
) -> BeforeAfter | None:
    """Run or continue in a world that is there; None where nothing was left to do.

    `home` is the folder by which an interrupted run is resumed, where that is not its own.
    """
    start = starting_point_of(config, world, lock)
    if told := world.of_main(lambda: finished_already(config, start)):
        if world.is_main and home is None:
            print(f"srl-grpo: {told}")  # noqa: T201 - what the command has to say
        return None
    with opened(config, command, world, start, lock, home) as (session, stage, comparison):
        finished = train_and_compare(session, stage, comparison)
        world.barrier()  # else the launcher stops the main rank while it writes the report
    if not finished:
        if not world.is_main:
            raise SystemExit(InterruptedRunError.exit_code)
        raise interrupted(session.resumed_by, session.state.step)
    return comparison


@contextmanager
def opened(
    config: C,
    command: Command[C, S],
    world: World,
    found: StartingPoint | None = None,
    held: FolderLock | None = None,
    home: Path | None = None,
) -> Iterator[tuple[Session[C], S, BeforeAfter]]:
    """Everything of a run, ready to start; files and display are closed at the end.

    Where it starts is looked up unless `found`, under the lock `held`, says it.
    """
    began = monotonic()
    lock = held or FolderLock()
    start = found or starting_point_of(config, world, lock)
    check_trackers(config.tracking)  # before a model is loaded
    if (folder := config.output_dir) is not None:
        world.of_main(lambda: check_folder(folder))
    config, start = command.prepare(config, world, start)
    with Display(
        0,
        start.state.step,
        every=config.tracking.logging_steps,
        quiet=not world.is_main,
    ) as display:
        for note in start.notes:
            display.note(note)
        display.phase("load")
        setup = Setup(config, world, start, lock, display, home)
        with command.open_stage(setup) as (session, stage):
            yield session, stage, BeforeAfter(session, stage.held_out, stage.evaluate, began)


def train_and_compare(session: Session[RunConfig], stage: Stage, comparison: BeforeAfter) -> bool:
    """Evaluate, train, evaluate, report; False where a signal ended training early."""
    try:
        comparison.before()
        finished = train_stage(session, stage)
        if finished:
            comparison.after()
            session.finish()
    except KeyboardInterrupt as error:
        if not session.world.is_main:
            raise SystemExit(InterruptedRunError.exit_code) from error
        raise interrupted(session.resumed_by, session.saved_step) from error
    except StarvedError as error:
        report(session)
        session.world.barrier()
        if not session.world.is_main:
            raise SystemExit(error.exit_code) from error
        raise
    except RewardError as error:
        raise reward_failed(session, error) from error
    except FloatingPointError as error:  # while sampling, in training or in an evaluation
        step, kept = session.state.step, session.saved_step
        raise CommandError(sampling_fault(session.engine, str(error), step, kept)) from error
    report(session)
    return finished


def reward_failed(session: Session[RunConfig], error: RewardError) -> BaseException:
    """The run's end where a reward failed, on rank 0 with what to say. Collective.

    A checkpoint of the last whole step is kept; an evaluation's step is not yet logged.
    """
    step = session.state.step if error.held_out else session.state.step + 1
    if not error.held_out:
        session.save()
    if not session.world.is_main:
        return SystemExit(error.exit_code)
    where = f"step {step}{', held-out evaluation' if error.held_out else ''}"
    again = resume_command(session.resumed_by, sys.argv[1:])
    kept = f"; step {session.saved_step} is kept, continue with: {again}"
    return CommandError(f"{where}: {error}{kept if session.saved_step else ''}")


def report(session: Session[RunConfig]) -> None:
    """Write the run's page, on rank 0."""
    if session.world.is_main:
        try:
            write_report(session.directory.path)
        except DataError as error:  # the run itself is whole: say so and continue
            session.display.note(f"no report: {error}")
