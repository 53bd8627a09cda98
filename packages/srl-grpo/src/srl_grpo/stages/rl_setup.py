"""How the stage of reinforcement learning and its session are put together from a config."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from srl_data.command.errors import DataError
from srl_data.prompts import Template
from srl_eval.answer_form import check_stops
from srl_eval.generate import Sampling
from srl_grpo.config.algorithm import AlgorithmSection
from srl_grpo.config.run import RunConfig
from srl_grpo.config.sampled import Q, SampledConfig
from srl_grpo.config.train import TrainConfig
from srl_grpo.data.prompting import stops_of
from srl_grpo.data.prompts import (
    TrainingPrompt,
    graders_of,
    heldout_records,
    limited,
    load_prompts,
    training_records,
)
from srl_grpo.data.record_kinds import RecordKind, kind_of_run
from srl_grpo.data.training_template import same_on_all_ranks, with_template
from srl_grpo.heldout.evaluation import HeldOut
from srl_grpo.learner.packing_check import check_scoring
from srl_grpo.learner.policy import Policy
from srl_grpo.learner.prompt_groups import Sharing
from srl_grpo.learner.sharing import sharing_of
from srl_grpo.learner.updater import UpdateOptions, Updater
from srl_grpo.objective.importance import SamplerWeights
from srl_grpo.objective.loss import PolicyLoss
from srl_grpo.objective.normalisation import Normalisation
from srl_grpo.objective.options import LossOptions
from srl_grpo.rollout.algorithm import algorithm_of
from srl_grpo.rollout.colocated import check_backend
from srl_grpo.rollout.engines import PolicyRollout
from srl_grpo.rollout.golds import check_golds
from srl_grpo.rollout.groups import Scored
from srl_grpo.rollout.opening import open_rollout
from srl_grpo.rollout.penalties import KLPenalty, OverlongPenalty, Penalty
from srl_grpo.rollout.rewards import make_rewards
from srl_grpo.rollout.scoring import Scorer
from srl_grpo.rollout.source import RolloutSource
from srl_grpo.run.inputs import DataPart, Inputs, describe_inputs, sha256_of
from srl_grpo.run.prompted_model import PromptedModel, model_section, open_model
from srl_grpo.run.reference import REFERENCE, make_reference
from srl_grpo.run.session import Session, Setup, open_directory
from srl_grpo.stages.held_out import held_out_set
from srl_grpo.stages.moving_reference import MovingReference
from srl_grpo.stages.opening import check_paths, inputs_of, open_session, resumed_state, try_model
from srl_grpo.stages.rl import NAME, RLStage, RLState


@contextmanager
def open_stage(setup: Setup[TrainConfig]) -> Iterator[tuple[Session[TrainConfig], RLStage]]:
    """A session and its stage, ready to start; trackers are closed at the end."""
    rewards = make_rewards(setup.config.reward)
    check_paths(setup)
    section = model_section(setup.config, setup.start)
    setup.world.of_main(lambda: check_backend(setup.config, section, setup.world))
    kind = kind_of_run(setup.config, rewards.required_columns)
    setup, template = choose_template(setup, kind)
    check_stops(template, setup.config.rollout.stop)
    config, world, note = setup.config, setup.world, setup.display.note
    for caution in config.algorithm.cautions:
        note(caution)
    model = open_model(config, template, setup.start, world, note)
    records = training_records(config, kind, note)
    prompts = load_prompts(records, config.data.path, config, model.prompts, note).prompts
    try_model(model, prompts[0].text, world)
    rewards.check_graders(graders_of(prompts))
    world.of_main(lambda: check_golds(prompts, rewards, note))
    scorer = Scorer(rewards, model.tokenizer, world)
    held_out = make_held_out(setup, kind, model, scorer)
    inputs = inputs_of(setup, lambda: describe(config, model, len(prompts), held_out))
    directory = open_directory(setup, model.prompts.record)
    policy = make_policy(setup, model)
    reference = make_reference(setup, policy, model, inputs, directory)
    limit = config.algorithm.max_logprob_difference
    with (
        open_session(setup, directory, model, policy, inputs) as session,
        open_rollout(session, limit) as rollout,
    ):
        yield session, make_stage(session, prompts, rollout, scorer, held_out, reference)


def choose_template(setup: Setup[Q], kind: RecordKind) -> tuple[Setup[Q], Template]:
    """The prompt template for a kind of record, and the setup that names it."""
    chosen = same_on_all_ranks(setup.config, kind, setup.start.prompts, setup.world)
    if chosen.note:
        setup.display.note(chosen.note)
    return replace(setup, config=with_template(setup.config, chosen.template)), chosen.template


def make_stage(
    session: Session[TrainConfig],
    prompts: list[TrainingPrompt],
    rollout: PolicyRollout,
    scorer: Scorer,
    held_out: HeldOut | None,
    reference: Policy | None,
) -> RLStage:
    """The stage over a session's engine, where its checkpoint left it."""
    config, model = session.config, session.model
    progress = resume_progress(session)
    source = RolloutSource(
        prompts=prompts,
        rollout=rollout,
        sampling=sampling_of(config, model),
        scorer=scorer,
        algorithm=algorithm_of(config),
        options=config.rollout,
        seed=config.seed,
        world=session.world,
        state=progress,
    )
    updater = make_updater(session, reference)
    penalties = penalties_of(config, updater, reference)
    moving = moving_reference(session, reference, progress)
    return RLStage(config, source, updater, held_out, progress, penalties, moving)


def make_updater(session: Session[TrainConfig], reference: Policy | None) -> Updater:
    """The updater of the config's loss, with the reference where its KL term is in the loss."""
    config = session.config
    loss = loss_of(config.algorithm)
    options = update_options(config, loss.normalisation, session.engine.policy.sharing)
    in_loss = reference if config.algorithm.loss_beta else None
    return Updater(session.engine, loss, options, session.model.pad_id, in_loss)


def penalties_of(
    config: TrainConfig, updater: Updater, reference: Policy | None
) -> tuple[Penalty, ...]:
    """What the config subtracts from rewards."""
    options, found = config.algorithm, list[Penalty]()
    if options.overlong_buffer is not None:
        lengths = (config.overlong_length, options.overlong_buffer)
        found.append(OverlongPenalty(*lengths, options.overlong_penalty))
    if options.kl_in_reward:
        assert reference is not None
        found.append(KLPenalty(updater, reference, options.beta, options.kl_estimator))
    return tuple(found)


def moving_reference(
    session: Session[TrainConfig], reference: Policy | None, progress: RLState
) -> MovingReference | None:
    """The KL term's reference, which the session's checkpoints hold once it was refreshed."""
    if reference is None:
        return None
    moving = MovingReference(reference, session.engine, session.config.algorithm.reference_every)

    def keep(trainer: Path) -> None:
        if progress.reference_step is not None:
            moving.save(trainer / REFERENCE)

    session.parts.append(keep)
    return moving


def resume_progress(session: Session[TrainConfig]) -> RLState:
    """The stage's part of a checkpoint's state, or a fresh one."""
    progress = resumed_state(session, NAME, RLState)
    if 0 < session.config.rollout.max_starved_steps <= progress.starved_steps:
        progress.starved_steps = 0  # it was stopped for that; who resumes it wants to try again
    return progress


def loss_of(options: AlgorithmSection) -> PolicyLoss:
    """The loss with its constants, its KL term and its correction of the sampler."""
    sampler = None
    if options.sampler_cap is not None:
        bounds = (options.sampler_cap, options.sampler_floor)
        sampler = SamplerWeights(*bounds, options.sampler_correction)
    constants = LossOptions(
        **options.constants,
        beta=options.loss_beta,
        kl_estimator=options.kl_estimator,
        kl_corrected=options.kl_corrected,
        sampler=sampler,
    )
    return PolicyLoss(options.loss, constants)


def update_options(
    config: TrainConfig, normalisation: Normalisation, sharing: Sharing | None
) -> UpdateOptions:
    """How a batch becomes optimizer steps."""
    return UpdateOptions(
        batch_size=config.train_batch_size,
        passes=config.algorithm.ppo_steps,
        normalisation=normalisation,
        longest=config.rollout.max_new_tokens,
        token_budget=config.engine.token_budget,
        micro_batches=config.engine.gradient_accumulation_steps,
        packing=config.engine.packing,
        sharing=sharing,
        temperature=config.rollout.temperature,
        max_logprob_difference=config.algorithm.max_logprob_difference,
        seed=config.seed,
    )


def sampling_of(config: SampledConfig, model: PromptedModel) -> Sampling:
    """How rollouts are drawn."""
    return Sampling(
        max_new_tokens=config.rollout.max_new_tokens,
        temperature=config.rollout.temperature,
        top_p=config.rollout.top_p,
        top_k=config.rollout.top_k,
        min_p=config.rollout.min_p,
        stop_token_ids=stops_of(model.model, model.prompts),
        stop=config.rollout.stop,
        record_kept=True,
    )


def make_policy(setup: Setup[RunConfig], model: PromptedModel) -> Policy:
    """The policy, whose scoring is tried where the run is fresh."""
    policy = Policy(model.model)
    if setup.start.checkpoint is None:
        check_scoring(policy, setup.config.engine.packing)
    choice = setup.config.engine.shared_prompts
    policy.sharing = sharing_of(policy, choice, setup.world, setup.display.note)
    return policy


def make_held_out(
    setup: Setup[SampledConfig],
    kind: RecordKind,
    model: PromptedModel,
    scorer: Scorer,
    right: Callable[[Scored], bool] | None = None,
) -> HeldOut | None:
    """The held-out set, if there is one to evaluate on; for `right` see `HeldOut`."""
    config, note = setup.config, setup.display.note
    records = heldout_records(config, kind, note)
    if not (config.evaluation.eval_every or config.evaluation.before_after):
        return None
    if records is None:
        raise DataError(
            f"{config.data.path} has no held-out split, which evaluation needs; name one with "
            "--eval-split, or give --val-data"
        )
    records = limited(records, config.evaluation.eval_limit)
    found = load_prompts(records, config.data.val_path, config, model.prompts, note)
    return held_out_set(
        config,
        model,
        setup.world,
        found.prompts,
        scorer,
        sampling_of(config, model),
        max_prompt_length=config.data.max_prompt_length,
        samples=config.evaluation.eval_samples,
        right=right,
    )


def describe(
    config: SampledConfig, model: PromptedModel, prompts: int, held_out: HeldOut | None
) -> Inputs:
    """What the run is about to start with; reads the data files once more for their checksums."""
    data, val = config.data, None
    if held_out is not None:
        val = DataPart(sha256_of(data, "eval"), held_out.instances)
    train = DataPart(sha256_of(data, "train"), prompts)
    return describe_inputs(config, model.model, train, val)
