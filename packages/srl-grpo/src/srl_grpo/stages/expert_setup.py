"""How the stage of expert iteration and its session are put together from a config."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from srl_eval.answer_form import check_stops
from srl_grpo.config.expert import ExpertConfig
from srl_grpo.data.prompts import (
    TrainingPrompt,
    graders_of,
    heldout_records,
    load_prompts,
    training_records,
)
from srl_grpo.data.record_kinds import OF_ROUNDS, RecordKind, kind_of_run
from srl_grpo.heldout.evaluation import HeldOut
from srl_grpo.learner.fingerprint import checksum
from srl_grpo.rollout.colocated import check_backend
from srl_grpo.rollout.correct import Right
from srl_grpo.rollout.engines import PolicyRollout
from srl_grpo.rollout.golds import check_golds
from srl_grpo.rollout.opening import open_rollout
from srl_grpo.rollout.questions import Questions
from srl_grpo.rollout.rewards import check_judges, make_rewards
from srl_grpo.rollout.sampler import sampler_of
from srl_grpo.rollout.scoring import Scorer
from srl_grpo.rollout.stored_engine import StoredEngine
from srl_grpo.run.base import keep_base
from srl_grpo.run.prompted_model import model_section, open_model
from srl_grpo.run.session import Session, Setup, open_directory
from srl_grpo.stages.expert import NAME, ExpertStage, ExpertState
from srl_grpo.stages.imitation import imitation_updater
from srl_grpo.stages.opening import check_paths, inputs_of, open_session, resumed_state, try_model
from srl_grpo.stages.rl_setup import (
    choose_template,
    describe,
    make_held_out,
    make_policy,
    sampling_of,
)


@contextmanager
def open_expert(
    setup: Setup[ExpertConfig],
) -> Iterator[tuple[Session[ExpertConfig], ExpertStage]]:
    """A session and its stage, ready to start; trackers are closed at the end."""
    rewards = make_rewards(setup.config.reward)
    check_judges(rewards, setup.config.selection.min_reward)
    check_paths(setup)
    section = model_section(setup.config, setup.start)
    setup.world.of_main(lambda: check_backend(setup.config, section, setup.world))
    kind = kind_of_run(setup.config, {**rewards.required_columns, **OF_ROUNDS})
    setup, template = choose_template(with_evaluation(setup, kind), kind)
    check_stops(template, setup.config.rollout.stop)
    config, world, note = setup.config, setup.world, setup.display.note
    model = open_model(config, template, setup.start, world, note)
    records = training_records(config, kind, note)
    prompts = load_prompts(records, config.data.path, config, model.prompts, note).prompts
    try_model(model, prompts[0].text, world)
    rewards.check_graders(graders_of(prompts))
    world.of_main(lambda: check_golds(prompts, rewards, note))
    tell_size(setup, len(prompts))
    scorer = Scorer(rewards, model.tokenizer, world)
    right = Right(config.selection.min_reward)
    held_out = make_held_out(setup, kind, model, scorer, right)
    inputs = inputs_of(setup, lambda: describe(config, model, len(prompts), held_out))
    directory = open_directory(setup, model.prompts.record)
    policy = make_policy(setup, model)
    with (
        open_session(setup, directory, model, policy, inputs) as session,
        open_rollout(session) as rollout,
    ):
        yield session, make_stage(session, prompts, rollout, scorer, held_out)


def with_evaluation(setup: Setup[ExpertConfig], kind: RecordKind) -> Setup[ExpertConfig]:
    """The setup without evaluations where nobody asked for them and nothing is held out."""
    options = setup.config.evaluation
    if not options.eval_every or "eval_every" in options.model_fields_set or options.before_after:
        return setup
    if heldout_records(setup.config, kind, lambda _: None) is not None:
        return setup
    setup.display.note("nothing is held out, so no round is evaluated: --val-data gives held-out")
    quiet = options.model_copy(update={"eval_every": 0})
    return replace(setup, config=setup.config.model_copy(update={"evaluation": quiet}))


def tell_size(setup: Setup[ExpertConfig], questions: int) -> None:
    """Say so where a round asks fewer questions than it was to."""
    wanted = setup.config.rollout.batch_size
    if questions < wanted:
        setup.display.note(
            f"--batch-size {wanted} is above the {questions} questions of the data: each round "
            "asks all of them, once"
        )


def make_stage(
    session: Session[ExpertConfig],
    prompts: list[TrainingPrompt],
    plain: PolicyRollout,
    scorer: Scorer,
    held_out: HeldOut | None,
) -> ExpertStage:
    """The stage over a session's engine, where its checkpoint left it."""
    config, model, engine = session.config, session.model, session.engine
    progress = resumed_state(session, NAME, ExpertState)
    if config.sft.start_from == "base":
        keep_base(session)
    store, rollout = stored_rollout(session, plain)
    questions = Questions(
        prompts=prompts,
        rollout=rollout,
        sampling=replace(sampling_of(config, model), record_kept=False),
        scorer=scorer,
        options=config.rollout,
        seed=config.seed,
        world=session.world,
    )
    micro_batches = config.engine.gradient_accumulation_steps
    updater = imitation_updater(
        engine, config.engine, config.sft.batch_size, micro_batches, config.seed, model.pad_id
    )
    return ExpertStage(config, questions, store, updater, held_out, model.prompts, progress)


def stored_rollout(
    session: Session[ExpertConfig], plain: PolicyRollout
) -> tuple[StoredEngine, PolicyRollout]:
    """The sampler, whose completions are kept in the run's folder."""
    engine = session.engine
    weights = checksum(engine.policy.model, engine.gathered)
    folder = session.directory.samples(session.state.step)
    store = StoredEngine(plain.engine, folder, weights, sampler_of(session.config, engine))
    return store, replace(plain, engine=store)
