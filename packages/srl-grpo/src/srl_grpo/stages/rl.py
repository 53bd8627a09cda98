"""A training run put together from its config: the command's body behind the validation.

Here heavy things meet: processes, model, data, engine. The loop is `srl_grpo.stages.loop`'s, the
comparison of before and after `srl_grpo.heldout.before_after`'s.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from transformers import PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from srl_data.command.errors import CommandError, DataError, InterruptedRunError
from srl_data.lock import FolderLock
from srl_data.prompt_record import write_record
from srl_data.records import open_data
from srl_eval.generate import Sampling
from srl_grpo.config.train import TrainConfig
from srl_grpo.data.prompting import recorded_prompts, stops_of
from srl_grpo.data.prompts import (
    TrainingPrompt,
    heldout_records,
    limited,
    load_prompts,
    make_prompt,
    training_records,
)
from srl_grpo.data.record_kinds import RecordKind, kind_of_run, with_template
from srl_grpo.data.sampler import PromptSampler
from srl_grpo.heldout.before_after import BeforeAfter
from srl_grpo.heldout.evaluation import HeldOut
from srl_grpo.learner import distributed
from srl_grpo.learner.distributed import World
from srl_grpo.learner.engine import TrainingEngine, prepare_deepspeed
from srl_grpo.learner.finite import sampling_fault
from srl_grpo.learner.language import Language, make_language, model_section
from srl_grpo.learner.model import (
    check_model,
)
from srl_grpo.learner.policy import Policy, check_head
from srl_grpo.learner.reference import fingerprint, make_reference
from srl_grpo.learner.updater import Updater
from srl_grpo.report import write_report
from srl_grpo.rollout.engines import PolicyRollout
from srl_grpo.rollout.rewards import RewardError, make_rewards
from srl_grpo.rollout.scoring import Scorer
from srl_grpo.run.checkpoint import load_checkpoint
from srl_grpo.run.directory import RunDirectory
from srl_grpo.run.display import Display
from srl_grpo.run.inputs import Inputs, check_inputs, describe_inputs
from srl_grpo.run.resume import interrupted, resume_command
from srl_grpo.run.start import Origin, finished_already, open_directory, origin_of
from srl_grpo.run.trackers import NoTracker, Tracker, make_trackers
from srl_grpo.stages.loop import Trainer
from srl_grpo.stages.starvation import StarvedError
from srl_grpo.toy.warm_start import pairs, warm_start


def train(config: TrainConfig) -> None:
    """Run or continue the training that `config` describes, to its end.

    Raises ConfigError, DataError, or InterruptedRunError with the command that resumes.
    """
    disable_progress_bar()  # transformers' own; ours would be torn by them
    world, lock = distributed.start(), FolderLock()
    try:
        origin = origin_of(config, world, lock)
        if told := world.of_main(lambda: finished_already(config, origin)):
            if world.is_main:
                print(f"srl-grpo: {told}")  # noqa: T201 - what the command has to say
            return
        with prepared(config, world, origin, lock) as (trainer, comparison):
            finished = train_and_compare(trainer, comparison)
            world.barrier()  # else the launcher stops the main rank while it writes the report
        if not finished:
            if not world.is_main:
                raise SystemExit(InterruptedRunError.exit_code)
            raise interrupted(trainer.directory.path, trainer.state.step)
        if world.is_main:
            comparison.show(trainer.directory)
    finally:
        lock.release()
        distributed.stop()


def train_and_compare(trainer: Trainer, comparison: BeforeAfter) -> bool:
    """Evaluate, train, evaluate, report; False where a signal ended training early."""
    try:
        comparison.before(trainer)
        finished = trainer.run()
        if finished:
            comparison.after(trainer)
    except KeyboardInterrupt as error:
        raise interrupted(trainer.directory.path, trainer.saved_step) from error
    except StarvedError as error:
        report(trainer)
        trainer.world.barrier()
        if not trainer.world.is_main:
            raise SystemExit(error.exit_code) from error
        raise
    except RewardError as error:
        raise reward_failed(trainer, error) from error
    except FloatingPointError as error:  # while sampling, in training or in an evaluation
        step, kept = trainer.state.step, trainer.saved_step
        raise CommandError(sampling_fault(trainer.engine, str(error), step, kept)) from error
    report(trainer)
    return finished


def reward_failed(trainer: Trainer, error: RewardError) -> BaseException:
    """The run's end where a reward failed, on rank 0 with what to say. Collective.

    A checkpoint of the last whole step is kept; an evaluation's step is not yet logged.
    """
    step = trainer.state.step if error.held_out else trainer.state.step + 1
    if not error.held_out:
        trainer.save()
    if not trainer.world.is_main:
        return SystemExit(error.exit_code)
    where = f"step {step}{', held-out evaluation' if error.held_out else ''}"
    again = resume_command(trainer.directory.path, sys.argv[1:])
    kept = f"; step {trainer.saved_step} is kept, continue with: {again}"
    return CommandError(f"{where}: {error}{kept if trainer.saved_step else ''}")


def report(trainer: Trainer) -> None:
    """Write the run's page, on rank 0."""
    if trainer.world.is_main:
        try:
            write_report(trainer.directory.path)
        except DataError as error:  # the run itself is whole: say so and go on
            trainer.display.note(f"no report: {error}")


def sampling_of(config: TrainConfig, language: Language) -> Sampling:
    """How rollouts are drawn."""
    return Sampling(
        max_new_tokens=config.rollout.max_new_tokens,
        temperature=config.rollout.temperature,
        top_p=config.rollout.top_p,
        stop_token_ids=stops_of(language.model, language.prompts),
        stop=config.rollout.stop,
    )


def make_policy(
    config: TrainConfig, language: Language, origin: Origin, display: Display
) -> Policy:
    """The policy, warm-started where the run is fresh and the config says so."""
    policy = Policy(language.model)
    if origin.checkpoint is None:
        check_head(policy)
    options, synthetic = config.warm_start, config.synthetic
    if options.steps and synthetic is not None and origin.checkpoint is None:
        display.phase("warm start")
        stream = pairs(
            config.seed, synthetic.difficulty, options, language.prompts, language.tokenizer
        )
        loss = warm_start(policy, stream, options, language.pad_id)
        display.note(f"warm start: {options.steps} supervised steps, last loss {loss:.3f}")
    return policy


def make_held_out(
    config: TrainConfig,
    kind: RecordKind,
    language: Language,
    scorer: Scorer,
    world: World,
    display: Display,
) -> HeldOut | None:
    """The held-out set, if there is one to evaluate on."""
    records = heldout_records(config, kind, display.note)
    if records is None or not (config.evaluation.eval_every or config.evaluation.before_after):
        return None
    records = limited(records, config.evaluation.eval_limit)
    found = load_prompts(records, config.data.val_path, config, language.prompts, display.note)

    def next_prompt(name: str, columns: dict[str, object]) -> TrainingPrompt:
        return make_prompt(0, name, columns, language.prompts)

    sampling, limit = sampling_of(config, language), config.data.max_prompt_length
    return HeldOut(
        found.prompts,
        scorer,
        next_prompt,
        sampling,
        limit,
        config.seed,
        world,
        config.evaluation.chain_start,
    )


def inputs_of(
    config: TrainConfig,
    origin: Origin,
    model: PreTrainedModel,
    prompts: int,
    held_out: HeldOut | None,
    world: World,
) -> Inputs:
    """What the run is begun with, or goes on with; ConfigError where that is something else."""

    def find() -> Inputs:
        evaluated = None if held_out is None else len(held_out.prompts)
        now = describe_inputs(config, model, prompts, evaluated)
        if origin.checkpoint is None:
            return now
        force = config.checkpoint.force
        return check_inputs(origin.state.inputs, now, origin.checkpoint, force)

    return world.of_main(find)


@contextmanager
def prepared(
    config: TrainConfig,
    world: World,
    found: Origin | None = None,
    held: FolderLock | None = None,
) -> Iterator[tuple[Trainer, BeforeAfter]]:
    """Everything of a run, ready to start; files and display are closed at the end.

    Where it starts is looked up unless `found`, under the lock `held`, says it.
    """
    began = monotonic()
    lock = held or FolderLock()
    origin = found or origin_of(config, world, lock)
    quiet = not world.is_main
    with Display(config.num_steps, origin.state.step, quiet=quiet) as display:
        for note in origin.notes:
            display.note(note)
        display.phase("load")
        rewards = make_rewards(config.reward)
        check_model(model_section(config, origin))  # before data or a hub are touched
        for path in (config.data.path, config.data.val_path):
            if path is not None:
                open_data(path).close()  # before a hub is asked for a model
        kind = kind_of_run(config, rewards.required_columns)
        config = with_template(config, kind, recorded_prompts(config, origin.checkpoint))
        language = make_language(config, origin, world, display.note)
        records = training_records(config, kind, display.note)
        prompts = load_prompts(
            records, config.data.path, config, language.prompts, display.note
        ).prompts
        prepare_deepspeed()  # saving a model imports it too, with all it has to say
        world.of_main(lambda: language.check(prompts[0].text))  # only it saves
        scorer = Scorer(rewards, language.tokenizer, world)
        held_out = make_held_out(config, kind, language, scorer, world, display)
        inputs = inputs_of(config, origin, language.model, len(prompts), held_out, world)
        directory = open_directory(config, origin, world, lock, display.note)
        if world.is_main:
            write_record(directory.path, language.prompts.record)
        policy = make_policy(config, language, origin, display)
        reference = make_reference(config, policy, language, origin, inputs, directory, world)
        tracker = (
            make_trackers(config, directory, origin.resume_step, display.note)
            if world.is_main
            else NoTracker()
        )
        try:
            trainer = assemble(
                config,
                world,
                origin,
                inputs,
                language,
                prompts,
                scorer,
                held_out,
                directory,
                policy,
                reference,
                tracker,
                display,
            )
            yield trainer, BeforeAfter(config, directory, origin.checkpoint is None, began)
        finally:
            tracker.close()


def assemble(
    config: TrainConfig,
    world: World,
    origin: Origin,
    inputs: Inputs,
    language: Language,
    prompts: list[TrainingPrompt],
    scorer: Scorer,
    held_out: HeldOut | None,
    directory: RunDirectory,
    policy: Policy,
    reference: Policy | None,
    tracker: Tracker,
    display: Display,
) -> Trainer:
    """The trainer over its engine, with a checkpoint's state loaded where there is one."""
    start = fingerprint(policy.model)  # before the engine shards it
    engine = TrainingEngine(policy, config.engine, config.optimizer, world)
    state = origin.state.model_copy()
    state.inputs, state.run = inputs, str(directory.path.resolve())
    if origin.checkpoint is None:
        state.start = start
    if 0 < config.rollout.max_starved_steps <= state.starved_steps:
        state.starved_steps = 0  # it was stopped for that; who resumes it wants to try again
    if origin.checkpoint is not None:
        load_checkpoint(origin.checkpoint, engine, world)
    state.world_size, state.zero_stage = world.size, engine.zero_stage
    if engine.zero_stage != config.engine.zero_stage:
        display.note("bfloat16 without ZeRO is wrong in DeepSpeed: running as --zero-stage 1")
    rollout = PolicyRollout(
        engine, language.pad_id, config.rollout.completions_per_chunk, language.tokenizer
    )
    rollout.sync_weights()
    sampler = PromptSampler(len(prompts), config.seed, state.position)
    updater = Updater(
        engine,
        world,
        config.algorithm,
        config.rollout.temperature,
        config.engine.micro_batch_tokens,
        language.pad_id,
        config.seed,
        config.train_batch_size,
        reference,
        config.rollout.top_p,
        config.algorithm.max_logprob_difference,
    )
    return Trainer(
        config=config,
        world=world,
        tokenizer=language.tokenizer,
        prompt_record=language.prompts.record,
        engine=engine,
        rollout=rollout,
        prompts=prompts,
        sampler=sampler,
        sampling=sampling_of(config, language),
        scorer=scorer,
        updater=updater,
        held_out=held_out,
        directory=directory,
        tracker=tracker,
        display=display,
        state=state,
        saved_step=origin.state.step,
    )
