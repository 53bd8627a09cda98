"""The loop of every stage: a step, counters, evaluation, the log, a checkpoint; again to the end.

Knows neither prompts nor rewards: what a step is, its stage says.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from srl_grpo.config.run import RunConfig
from srl_grpo.heldout.before_after import Compared
from srl_grpo.heldout.evaluation import Values, means, val_rewards
from srl_grpo.learner.updater import Metrics
from srl_grpo.run.session import Session
from srl_grpo.run.stopping import stop_requested


@dataclass(frozen=True)
class StepResult:
    """What one step of a stage gave."""

    metrics: Metrics
    tokens: int
    """Tokens generated or, by a stage that generates none, trained on."""
    updated: bool
    """Whether it changed the weights."""


@dataclass(frozen=True)
class Best:
    """What makes a step the best one."""

    metric: str
    """Of the held-out evaluation."""
    lower: bool = False

    def is_better(self, value: float, other: float) -> bool:
        """Whether a step with `value` is better than one with `other`."""
        return value < other if self.lower else value > other


class Stage(Protocol):
    """A way of training: what a step does, and what is remembered between steps."""

    @property
    def held_out(self) -> Compared | None:
        """What `evaluate` evaluates; None where there is nothing."""

    def step(self, session: Session[RunConfig], step: int) -> StepResult:
        """Train one step, the `step`-th from 0. Collective."""

    def evaluate(self) -> Values:
        """Held-out values of the present weights by metric. Collective.

        Called only where an evaluation is due.
        """

    @property
    def named(self) -> Mapping[str, str]:
        """Held-out metrics that the log has under further names: metric by name."""

    @property
    def best(self) -> Best:
        """Which held-out metric decides what step is the best."""

    def state(self) -> dict[str, object]:
        """What continues the stage, as JSON."""

    def check(self, session: Session[RunConfig]) -> None:
        """Called after every step: raises where it makes no sense to train on. Collective."""


def train_stage(session: Session[RunConfig], stage: Stage) -> bool:
    """Train to the last step; False if a signal ended it early, with a checkpoint behind it."""
    session.clock.restart(session.display.phase)
    with stop_requested() as stopping:
        session.stopping = stopping
        while not session.finished:
            train_step(session, stage)
            stage.check(session)
            if session.world.any(stopping()):
                break
        session.save()
    return session.finished


def train_step(session: Session[RunConfig], stage: Stage) -> None:
    """One step from its batch to its checkpoint, where one is due. Collective."""
    config, state = session.config, session.state
    done = stage.step(session, state.step)
    state.step += 1
    state.updates += done.updated
    state.num_tokens += done.tokens
    state.stage_state = stage.state()
    metrics = done.metrics
    if session.is_due(config.evaluation.eval_every):
        metrics |= evaluate(session, stage)
    session.log(metrics, done.tokens)
    # After the log: a run killed in between resumes with this step's line, or before the step.
    options = config.checkpoint
    is_best = state.best_step == state.step and not options.save_final_only
    if session.is_due(options.checkpoint_every) or is_best:
        session.save()


def evaluate(session: Session[RunConfig], stage: Stage) -> Metrics:
    """Held-out metrics under `eval/`, and `val_reward_…`; remembers the best step. Collective."""
    state = session.state
    with session.clock("eval"):
        found = means(stage.evaluate())
    metrics = {f"eval/{name}": value for name, value in found.items()}
    session.display.evaluated(state.step, metrics)
    metrics |= {name: found[metric] for name, metric in stage.named.items()}
    metrics |= val_rewards(found)
    best = stage.best
    if state.best_value is None or best.is_better(found[best.metric], state.best_value):
        state.best_step, state.best_value = state.step, found[best.metric]
        state.best_metric = f"eval/{best.metric}"
    return metrics
