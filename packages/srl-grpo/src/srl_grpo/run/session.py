"""What any run has, whatever its stage trains on, and what any run does: log a step, checkpoint it.

A stage is handed the session at every step; the loop puts the stage's state into it before a
checkpoint. Left out: the loop (`srl_grpo.stages.loop`), and how a session is opened.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic

from srl_data.lock import FolderLock
from srl_data.prompt_record import PromptRecord, write_record
from srl_grpo.config.run import C_co, RunConfig
from srl_grpo.learner.distributed import World
from srl_grpo.learner.engine import TrainingEngine
from srl_grpo.learner.schedule import scheduled_rate
from srl_grpo.learner.updater import Metrics
from srl_grpo.run.checkpoint import TrainerState, keep_checkpoints, save_checkpoint
from srl_grpo.run.clock import Stopwatch
from srl_grpo.run.directory import RunDirectory
from srl_grpo.run.display import Display
from srl_grpo.run.final import seal_final
from srl_grpo.run.prompted_model import PromptedModel
from srl_grpo.run.start import StartingPoint, begin_or_resume, is_done
from srl_grpo.run.trackers import Tracker


def never() -> bool:
    """No signal is heeded yet."""
    return False


@dataclass(frozen=True)
class Setup(Generic[C_co]):
    """What a run has before anything is loaded."""

    config: C_co
    world: World
    start: StartingPoint
    lock: FolderLock
    display: Display
    home: Path | None = None
    """The folder of the run that this one is a part of."""


def open_directory(setup: Setup[RunConfig], prompts: PromptRecord) -> RunDirectory:
    """Make or reopen the run's folder on rank 0, lock it and record how the model is prompted."""

    def begin() -> Path:
        run = begin_or_resume(setup.config, setup.start, setup.lock, setup.display.note)
        write_record(run.path, prompts)
        return run.path

    return RunDirectory(setup.world.of_main(begin))


@dataclass
class Session(Generic[C_co]):
    """What any run has."""

    setup: Setup[C_co]
    directory: RunDirectory
    tracker: Tracker
    model: PromptedModel
    engine: TrainingEngine
    state: TrainerState
    num_steps: int
    """Steps of the whole run."""
    clock: Stopwatch = field(default_factory=Stopwatch)
    saved_step: int = 0
    """The step whose checkpoint is on disk; 0 for none."""
    stopping: Callable[[], bool] = never
    """Whether a signal has asked the run to stop."""
    parts: list[Callable[[Path], None]] = field(default_factory=list)
    """What a stage adds to a checkpoint's `trainer/`; see `save_checkpoint`."""

    @property
    def config(self) -> C_co:
        """The run's config."""
        return self.setup.config

    @property
    def world(self) -> World:
        """The processes of the run."""
        return self.setup.world

    @property
    def display(self) -> Display:
        """The live panel or the log lines that the user sees."""
        return self.setup.display

    @property
    def resumed_by(self) -> Path:
        """The folder that the command which resumes the run names."""
        return self.setup.home or self.directory.path

    @property
    def finished(self) -> bool:
        """Whether the last step is done."""
        return self.state.step >= self.num_steps or is_done(self.config, self.state)

    def learning_rate(self, step: int) -> float:
        """The scheduled rate of a step, counted from 0."""
        return scheduled_rate(self.config.optimizer, step, self.num_steps)

    def stop_if_asked(self) -> None:
        """End a step before it is done where a signal asked for it; for steps that take long.

        KeyboardInterrupt, on every rank: the run goes on from its newest checkpoint. Collective.
        """
        if self.world.any(self.stopping()):
            raise KeyboardInterrupt

    def is_due(self, every: int) -> bool:
        """Whether something done every so many steps is due now."""
        return every > 0 and self.state.step % every == 0

    def log(self, metrics: Metrics, tokens: int) -> None:
        """Record the step just done with its times; `tokens` were generated or trained on."""
        times = self.clock.metrics()
        metrics |= {
            "num_tokens": float(self.state.num_tokens),
            "tokens_per_second": tokens / times["step_time"],
            **times,
        }
        if self.world.is_main:
            self.tracker.log(self.state.step, metrics)
            self.display.step(self.state.step, metrics)

    def save(self) -> None:
        """Checkpoint the present step, once. Collective."""
        if self.saved_step == self.state.step:
            return
        with self.clock("checkpoint"):
            run, state, record = self.directory.path, self.state, self.model.prompts.record
            told = (self.engine, self.model.tokenizer, record, state, self.world)
            save_checkpoint(run, *told, self.parts)
            if self.world.is_main:
                keep_checkpoints(run, state, self.config.checkpoint)
        self.saved_step = self.state.step

    def finish(self) -> None:
        """Leave `final/` of a run that did its last step. Collective."""
        with self.clock("checkpoint"):
            options = self.config.checkpoint
            self.world.of_main(lambda: seal_final(self.directory.path, self.state.step, options))
