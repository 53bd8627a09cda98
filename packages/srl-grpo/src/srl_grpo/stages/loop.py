"""The training loop: sample, roll out, score, filter and refill, update, sync, log, checkpoint.

Knows prompts, columns, completions and rewards; nothing of SRL, models or files' formats. What a
phase does is in the module that bears its name; what a run is made of is put together in
`srl_grpo.stages.rl`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from transformers import PreTrainedTokenizerBase

from srl_data.command.errors import CommandError
from srl_data.prompt_record import PromptRecord
from srl_eval.generate import Sampling
from srl_grpo.config.train import TrainConfig
from srl_grpo.data.prompts import TrainingPrompt
from srl_grpo.data.sampler import PromptSampler
from srl_grpo.heldout.evaluation import HeldOut, means
from srl_grpo.learner.distributed import World
from srl_grpo.learner.engine import TrainingEngine
from srl_grpo.learner.finite import advice
from srl_grpo.learner.schedule import learning_rate
from srl_grpo.learner.updater import Metrics, Updater
from srl_grpo.rollout.engines import PolicyRollout, generate_round, regroup, round_seeds
from srl_grpo.rollout.groups import Group, Selection, completion_metrics
from srl_grpo.rollout.records import rollout_records
from srl_grpo.rollout.refill import round_size
from srl_grpo.rollout.scoring import Scorer
from srl_grpo.run.checkpoint import TrainerState, mark_best, prune, save_checkpoint
from srl_grpo.run.clock import Stopwatch
from srl_grpo.run.directory import RunDirectory
from srl_grpo.run.display import Display
from srl_grpo.run.stopping import stop_requested
from srl_grpo.run.trackers import Tracker
from srl_grpo.stages.starvation import StarvedError, diagnosis


@dataclass
class Trainer:
    """One training run from its present state to its end."""

    config: TrainConfig
    world: World
    tokenizer: PreTrainedTokenizerBase
    prompt_record: PromptRecord
    engine: TrainingEngine
    rollout: PolicyRollout
    prompts: Sequence[TrainingPrompt]
    sampler: PromptSampler
    sampling: Sampling
    scorer: Scorer
    updater: Updater
    held_out: HeldOut | None
    directory: RunDirectory
    tracker: Tracker
    display: Display
    state: TrainerState
    clock: Stopwatch = field(default_factory=Stopwatch)
    saved_step: int = 0
    """The step whose checkpoint is on disk; 0 for none."""

    def run(self) -> bool:
        """Train to `num_steps`; False if a signal ended it early, with a checkpoint behind it."""
        self.clock = Stopwatch(self.display.phase)
        with stop_requested() as stopping:
            while self.state.step < self.config.num_steps:
                self.train_step()
                self.check_starved()
                if self.world.any(stopping()):
                    break
            self.save()
        return self.state.step >= self.config.num_steps

    def train_step(self) -> None:
        """One rollout batch, from drawing prompts to the log."""
        step = self.state.step
        selection = self.fill_batch(step)
        metrics = completion_metrics(selection.seen) | selection.metrics()
        rate = self.learning_rate(step)
        if selection.kept:
            with self.clock("update"):
                metrics |= self.updater(selection.kept, step, rate)
            self.check_finite(metrics)
            with self.clock("sync"):
                self.rollout.sync_weights()
        self.count(selection)
        with self.clock("log"):
            self.write_rollouts(selection)
        self.after_step(metrics | {"learning_rate": rate}, selection)

    def count(self, selection: Selection) -> None:
        """The counters after a step, whose groups are `selection`."""
        state, updated = self.state, bool(selection.kept)
        state.step += 1
        state.updates += updated
        state.starved_steps = 0 if updated else state.starved_steps + 1
        state.keep_rate = state.keep_rate.after(selection)

    def check_starved(self) -> None:
        """StarvedError, with a checkpoint behind it, where nothing can be learned. Collective."""
        state, limit = self.state, self.config.rollout.max_starved_steps
        ended = state.step >= self.config.num_steps and not state.updates
        if not limit or (state.starved_steps < limit and not ended):
            return
        self.save()
        text = ""
        if self.world.is_main:
            text = diagnosis(self.directory, state, self.config)
        raise StarvedError(self.world.from_main(text))

    def check_finite(self, metrics: Metrics) -> None:
        """CommandError where an update was not finite, before its weights are saved."""
        if not math.isfinite(metrics["grad_norm"]):
            raise CommandError(
                f"step {self.state.step + 1}: the gradient norm is {metrics['grad_norm']}; nothing "
                f"of this step was saved; {advice(self.saved_step)}"
            )

    def fill_batch(self, step: int) -> Selection:
        """Rounds of sampling until the batch is full or the cap is reached (dynamic sampling)."""
        options = self.config.rollout
        selection, rate = Selection(options.batch_size, options.eps_std), self.state.keep_rate
        while count := round_size(selection, rate, options.max_rounds):
            selection.add(self.roll_out(step, selection.rounds, count))
        return selection

    def roll_out(self, step: int, round_number: int, count: int) -> list[Group]:
        """One round: draw `count` prompts, generate groups, score them. Collective."""
        prompts = [self.prompts[i] for i in self.sampler.draw(count)]
        size = self.config.rollout.group_size
        with self.clock("rollout"):
            seeds = round_seeds(self.config.seed, step, round_number, len(prompts), size)
            completions = generate_round(
                self.rollout, prompts, size, self.sampling, seeds, self.world
            )
        with self.clock("score"):
            rows = [prompt for prompt in prompts for _ in range(size)]
            return regroup(prompts, self.scorer(rows, completions), size)

    def learning_rate(self, step: int) -> float:
        """The scheduled rate of a rollout batch."""
        options = self.config.optimizer
        return learning_rate(
            step,
            options.learning_rate,
            options.schedule,
            options.warmup_steps,
            self.config.num_steps,
        )

    def write_rollouts(self, selection: Selection) -> None:
        """Keep what the model wrote in this step."""
        if self.world.is_main:
            records = rollout_records(
                self.state.step, selection, self.prompts, self.config.algorithm.advantage_eps
            )
            self.directory.write_rollouts(self.state.step, records)

    def after_step(self, metrics: Metrics, selection: Selection) -> None:
        """Evaluate where it is due, log the step with its times, checkpoint where that is due."""
        step = self.state.step
        tokens = sum(group.tokens for group in selection.seen)
        self.state.num_tokens += tokens
        self.state.position = self.sampler.position
        if self.is_due(self.config.evaluation.eval_every):
            metrics |= self.evaluate()
        times = self.clock.metrics()
        metrics |= {
            "num_tokens": float(self.state.num_tokens),
            "epoch": self.sampler.epoch,
            "sampling/starved_steps": float(self.state.starved_steps),
            "tokens_per_second": tokens / times["step_time"],
            **times,
        }
        if self.world.is_main:
            self.tracker.log(step, metrics)
            self.display.step(step, metrics)
        # After the log: a run killed in between resumes with this step's line, or before the step.
        if self.is_due(self.config.checkpoint.checkpoint_every) or self.state.best_step == step:
            self.save()

    def is_due(self, every: int) -> bool:
        """Whether something done every so many steps is due now."""
        return every > 0 and self.state.step % every == 0

    def evaluate(self) -> Metrics:
        """Held-out metrics under `eval/`; remembers the best step. Collective."""
        assert self.held_out is not None
        with self.clock("eval"):
            found = means(self.held_out.evaluate(self.rollout))
        metrics = {f"eval/{name}": value for name, value in found.items()}
        self.display.evaluated(self.state.step, metrics)
        if self.state.best_reward is None or found["reward"] > self.state.best_reward:
            self.state.best_step, self.state.best_reward = self.state.step, found["reward"]
        return metrics

    def save(self) -> None:
        """Checkpoint the present step, once. Collective."""
        if self.saved_step == self.state.step:
            return
        with self.clock("checkpoint"):
            run, state = self.directory.path, self.state
            save_checkpoint(run, self.engine, self.tokenizer, self.prompt_record, state, self.world)
            if self.world.is_main:
                if state.best_step is not None and state.best_reward is not None:
                    mark_best(run, state.best_step, state.best_reward)
                prune(run, self.config.checkpoint.keep_last, state.best_step)
        self.saved_step = self.state.step
