"""The stage of reinforcement learning: sample, score, filter, update, sync, keep what was written.

A step is `RLStage.step`. Below it the stage and its session are put together from a config. The
loop is `srl_grpo.stages.loop`'s.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from pydantic import Field, ValidationError

from srl_data.arithmetic import GRADER as ARITHMETIC_GRADER
from srl_data.command.errors import CommandError, ConfigError, DataError
from srl_data.prompts import Template
from srl_eval.generate import Sampling
from srl_grpo.config.train import AlgorithmSection, TrainConfig
from srl_grpo.data.prompting import stops_of
from srl_grpo.data.prompts import (
    TrainingPrompt,
    graders_of,
    heldout_records,
    limited,
    load_prompts,
    make_prompt,
    training_records,
)
from srl_grpo.data.record_kinds import RecordKind, kind_of_run
from srl_grpo.data.training_template import same_on_all_ranks, with_template
from srl_grpo.heldout.evaluation import DEFAULT_GRADER, HeldOut, Values
from srl_grpo.learner.engine import prepare_deepspeed
from srl_grpo.learner.finite import advice
from srl_grpo.learner.policy import Policy, check_head
from srl_grpo.learner.schedule import learning_rate
from srl_grpo.learner.updater import Metrics, UpdateOptions, Updater
from srl_grpo.objective.loss import LossOptions, PolicyLoss
from srl_grpo.rollout.algorithm import algorithm_of, samples_of
from srl_grpo.rollout.engines import transformers_rollout
from srl_grpo.rollout.groups import Selection, completion_metrics
from srl_grpo.rollout.records import rollout_records
from srl_grpo.rollout.rewards import make_rewards
from srl_grpo.rollout.scoring import Scorer
from srl_grpo.rollout.source import RolloutSource, SourceState
from srl_grpo.run.inputs import Inputs, check_inputs, describe_inputs
from srl_grpo.run.prompted_model import PromptedModel, open_model
from srl_grpo.run.reference import make_reference
from srl_grpo.run.session import Session, Setup, open_directory
from srl_grpo.stages.loop import StepResult
from srl_grpo.stages.opening import check_given, open_session
from srl_grpo.stages.starvation import StarvedError, diagnosis
from srl_grpo.toy.warm_start import pairs, warm_start

NAME = "rl"


class RLState(SourceState):
    """What continues the stage."""

    starved_steps: int = Field(default=0, ge=0)
    """Steps without an update since the last one with."""


@dataclass
class RLStage:
    """Reinforcement learning from one source of rollouts."""

    config: TrainConfig
    source: RolloutSource
    updater: Updater
    held_out: HeldOut | None
    progress: RLState

    def step(self, session: Session, step: int) -> StepResult:
        """One batch, from drawing prompts to keeping what was written."""
        batch = self.source.next_batch(step, session.clock)
        metrics = completion_metrics(batch.sampled) | batch.metrics()
        rate = self.learning_rate(step)
        if batch.kept:
            metrics |= self.update(session, batch, step, rate)
        self.progress.starved_steps = 0 if batch.kept else self.progress.starved_steps + 1
        with session.clock("log"):
            self.write_rollouts(session, batch, step + 1)
        metrics |= {
            "learning_rate": rate,
            "epoch": self.source.epoch,
            "sampling/starved_steps": float(self.progress.starved_steps),
        }
        return StepResult(metrics, batch.tokens, updated=bool(batch.kept))

    def update(self, session: Session, batch: Selection, step: int, rate: float) -> Metrics:
        """Train on the kept groups and bring the new weights to the sampler. Collective.

        CommandError where the update was not finite, before its weights are saved.
        """
        with session.clock("update"):
            samples = samples_of(batch.kept, self.source.algorithm)
            metrics = self.updater(samples, step, rate)
        if not math.isfinite(metrics["grad_norm"]):
            raise CommandError(
                f"step {step + 1}: the gradient norm is {metrics['grad_norm']}; nothing of this "
                f"step was saved; {advice(session.saved_step)}"
            )
        with session.clock("sync"):
            self.source.rollout.sync_weights()
        return metrics

    def learning_rate(self, step: int) -> float:
        """The scheduled rate of a batch."""
        options = self.config.optimizer
        return learning_rate(
            step,
            options.learning_rate,
            options.schedule,
            options.warmup_steps,
            self.config.num_steps,
        )

    def write_rollouts(self, session: Session, batch: Selection, step: int) -> None:
        """Keep what the model wrote in this step."""
        if session.world.is_main:
            records = rollout_records(step, batch, self.source.prompts, self.source.algorithm)
            session.directory.write_rollouts(step, records)

    def evaluate(self) -> Values:
        """Held-out values of the present weights. Collective."""
        assert self.held_out is not None
        return self.held_out.evaluate(self.source.rollout)

    def state(self) -> dict[str, object]:
        """What continues the stage, as JSON."""
        return self.progress.model_dump(mode="json")

    def check(self, session: Session) -> None:
        """StarvedError, with a checkpoint behind it, where nothing can be learned. Collective."""
        limit, starved = self.config.rollout.max_starved_steps, self.progress.starved_steps
        ended = session.finished and not session.state.updates
        if not limit or (starved < limit and not ended):
            return
        session.save()
        text = ""
        if session.world.is_main:
            text = diagnosis(session.directory, session.state.step, starved, self.config)
        raise StarvedError(session.world.from_main(text))


@contextmanager
def prepared(setup: Setup) -> Iterator[tuple[Session, RLStage]]:
    """A session and its stage, ready to start; trackers are closed at the end."""
    rewards = make_rewards(setup.config.reward)
    check_given(setup)
    kind = kind_of_run(setup.config, rewards.required_columns)
    setup, template = with_words(setup, kind)
    config, world, note = setup.config, setup.world, setup.display.note
    model = open_model(config, template, setup.start, world, note)
    records = training_records(config, kind, note)
    prompts = load_prompts(records, config.data.path, config, model.prompts, note).prompts
    prepare_deepspeed()  # saving a model imports it too, with all it has to say
    world.of_main(lambda: model.check(prompts[0].text))  # only it saves
    rewards.check_graders(graders_of(prompts))
    scorer = Scorer(rewards, model.tokenizer, world)
    held_out = make_held_out(setup, kind, model, scorer)
    inputs = inputs_of(setup, model, len(prompts), held_out)
    directory = open_directory(setup, model.prompts.record)
    policy = make_policy(setup, model)
    reference = make_reference(setup, policy, model, inputs, directory)
    with open_session(setup, directory, model, policy, inputs) as session:
        yield session, make_stage(session, prompts, scorer, held_out, reference)


def with_words(setup: Setup, kind: RecordKind) -> tuple[Setup, Template]:
    """The prompt template for a kind of record, and the setup that names it."""
    chosen = same_on_all_ranks(setup.config, kind, setup.start.checkpoint, setup.world)
    if chosen.note:
        setup.display.note(chosen.note)
    return replace(setup, config=with_template(setup.config, chosen.template)), chosen.template


def make_stage(
    session: Session,
    prompts: list[TrainingPrompt],
    scorer: Scorer,
    held_out: HeldOut | None,
    reference: Policy | None,
) -> RLStage:
    """The stage over a session's engine, where its checkpoint left it."""
    config, model, engine = session.config, session.model, session.engine
    progress = read_progress(session)
    rollout = transformers_rollout(
        engine, model.pad_id, config.rollout.completions_per_chunk, model.tokenizer
    )
    rollout.sync_weights()
    source = RolloutSource(
        prompts,
        rollout,
        sampling_of(config, model),
        scorer,
        algorithm_of(config),
        config.rollout,
        config.seed,
        session.world,
        progress,
    )
    updater = Updater(
        engine, loss_of(config.algorithm), update_options(config), model.pad_id, reference
    )
    return RLStage(config, source, updater, held_out, progress)


def read_progress(session: Session) -> RLState:
    """The stage's part of the state; DataError where a checkpoint holds another's."""
    state, checkpoint = session.state, session.setup.start.checkpoint
    if checkpoint is not None and state.stage != NAME:
        raise ConfigError(f"{checkpoint} was written by another stage of training: {state.stage!r}")
    state.stage = NAME
    try:
        progress = RLState.model_validate(state.stage_state)
    except ValidationError as error:
        raise DataError(
            f"{checkpoint}: its stage's state does not fit: "
            f"{error.errors()[0]['loc']}: {error.errors()[0]['msg']}"
        ) from error
    if 0 < session.config.rollout.max_starved_steps <= progress.starved_steps:
        progress.starved_steps = 0  # it was stopped for that; who resumes it wants to try again
    return progress


def loss_of(options: AlgorithmSection) -> PolicyLoss:
    """The loss with its constants from the config."""
    constants = LossOptions(
        epsilon_low=options.epsilon_low,
        epsilon_high=options.epsilon_high,
        beta=options.beta,
        sampler_cap=options.sampler_cap,
    )
    return PolicyLoss(options.loss, constants)


def update_options(config: TrainConfig) -> UpdateOptions:
    """How a batch becomes optimizer steps."""
    return UpdateOptions(
        batch_size=config.train_batch_size,
        passes=config.algorithm.ppo_steps,
        normalisation=config.algorithm.normalisation,
        token_budget=config.engine.micro_batch_tokens,
        temperature=config.rollout.temperature,
        top_p=config.rollout.top_p,
        max_logprob_difference=config.algorithm.max_logprob_difference,
        seed=config.seed,
    )


def sampling_of(config: TrainConfig, model: PromptedModel) -> Sampling:
    """How rollouts are drawn."""
    return Sampling(
        max_new_tokens=config.rollout.max_new_tokens,
        temperature=config.rollout.temperature,
        top_p=config.rollout.top_p,
        stop_token_ids=stops_of(model.model, model.prompts),
        stop=config.rollout.stop,
    )


def make_policy(setup: Setup, model: PromptedModel) -> Policy:
    """The policy, warm-started where the run is fresh and the config says so."""
    policy, config, fresh = Policy(model.model), setup.config, setup.start.checkpoint is None
    if fresh:
        check_head(policy)
    options, synthetic = config.warm_start, config.synthetic
    if options.steps and synthetic is not None and fresh:
        setup.display.phase("warm start")
        stream = pairs(config.seed, synthetic.difficulty, options, model.prompts, model.tokenizer)
        loss = warm_start(policy, stream, options, model.pad_id)
        setup.display.note(f"warm start: {options.steps} supervised steps, last loss {loss:.3f}")
    return policy


def make_held_out(
    setup: Setup, kind: RecordKind, model: PromptedModel, scorer: Scorer
) -> HeldOut | None:
    """The held-out set, if there is one to evaluate on."""
    config, note = setup.config, setup.display.note
    records = heldout_records(config, kind, note)
    if records is None or not (config.evaluation.eval_every or config.evaluation.before_after):
        return None
    records = limited(records, config.evaluation.eval_limit)
    found = load_prompts(records, config.data.val_path, config, model.prompts, note)

    def next_prompt(name: str, columns: dict[str, object]) -> TrainingPrompt:
        return make_prompt(0, name, columns, model.prompts)

    sampling, limit = sampling_of(config, model), config.data.max_prompt_length
    chained = next_prompt if model.prompts.template.stepwise else None
    is_made = config.data.val_path is None  # on the spot, with the grader that its records name
    return HeldOut(
        found.prompts,
        scorer,
        chained,
        sampling,
        limit,
        config.seed,
        setup.world,
        config.evaluation.chain_start,
        ARITHMETIC_GRADER if is_made else DEFAULT_GRADER,
    )


def inputs_of(setup: Setup, model: PromptedModel, prompts: int, held_out: HeldOut | None) -> Inputs:
    """What the run begins or resumes with; ConfigError where that is not what it began with."""
    config, start = setup.config, setup.start

    def find() -> Inputs:
        evaluated = None if held_out is None else len(held_out.prompts)
        now = describe_inputs(config, model.model, prompts, evaluated)
        if start.checkpoint is None:
            return now
        return check_inputs(start.state.inputs, now, start.checkpoint, config.checkpoint.force)

    return setup.world.of_main(find)
