"""How the stage of supervised fine-tuning and its session are put together from a config."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from srl_data.command.errors import ConfigError
from srl_data.prompts import Template
from srl_eval.answer_form import check_stops
from srl_eval.generate import Sampling
from srl_eval.solvers import WholeSolver
from srl_grpo.config.reward import RewardSection
from srl_grpo.config.sft import SftConfig
from srl_grpo.data.examples import Example, kind_of_data, load_examples, record_kind
from srl_grpo.data.parts import Part
from srl_grpo.data.prompting import stops_of
from srl_grpo.data.training_template import (
    has_chat_template,
    same_on_all_ranks,
    with_template,
)
from srl_grpo.heldout.evaluation import HeldOut
from srl_grpo.heldout.examples import HeldOutExamples, prompt_of
from srl_grpo.learner.model import context_length
from srl_grpo.learner.packing_check import check_scoring
from srl_grpo.learner.policy import Policy
from srl_grpo.learner.sharing import sharing_of
from srl_grpo.rollout.engines import transformers_rollout
from srl_grpo.rollout.rewards import make_rewards
from srl_grpo.rollout.scoring import Scorer
from srl_grpo.run.inputs import DataPart, Inputs, describe_inputs
from srl_grpo.run.prompted_model import PromptedModel, model_section, open_model
from srl_grpo.run.session import Session, Setup, open_directory
from srl_grpo.stages.held_out import held_out_set
from srl_grpo.stages.imitation import Imitation, imitation_updater
from srl_grpo.stages.opening import check_paths, inputs_of, open_session, resumed_state, try_model
from srl_grpo.stages.sft import NAME, SftStage, SftState


@contextmanager
def open_sft(setup: Setup[SftConfig]) -> Iterator[tuple[Session[SftConfig], SftStage]]:
    """A session and its stage, ready to start; trackers are closed at the end."""
    check_paths(setup)
    setup, template = choose_template(setup)
    config, world, note = setup.config, setup.world, setup.display.note
    model = open_model(config, template, setup.start, world, note)
    examples = load(setup, model, "train")
    held_out = make_held_out(setup, model)
    try_model(model, examples[0].text, world)
    inputs = inputs_of(setup, lambda: describe(config, model, examples, held_out))
    directory = open_directory(setup, model.prompts.record)
    policy = Policy(model.model)
    if setup.start.checkpoint is None:
        check_scoring(policy, config.engine.packing)
    policy.sharing = sharing_of(policy, config.engine.shared_prompts, world, note)
    with open_session(setup, directory, model, policy, inputs) as session:
        yield session, make_stage(session, examples, held_out)


def choose_template(setup: Setup[SftConfig]) -> tuple[Setup[SftConfig], Template]:
    """The prompt template for a kind of record, and the setup that names it."""
    data = setup.config.data
    is_chat = has_chat_template(data, model_section(setup.config, setup.start))
    kind = record_kind(kind_of_data(data), has_chat_template=is_chat)
    chosen = same_on_all_ranks(setup.config, kind, setup.start.prompts, setup.world)
    if chosen.note:
        setup.display.note(chosen.note)
    return replace(setup, config=with_template(setup.config, chosen.template)), chosen.template


def end_of(model: PromptedModel) -> int:
    """The id that ends a response: that of the chat's turn, else the tokenizer's end token."""
    end = model.prompts.turn_end.token_id
    return model.tokenizer.eos_token_id if end is None else end


def load(setup: Setup[SftConfig], model: PromptedModel, part: Part) -> list[Example]:
    """The encoded examples of a part; empty where there is no such part."""
    data, note = setup.config.data, setup.display.note
    limit = setup.config.evaluation.eval_limit if part == "eval" else None
    found = load_examples(data, part, model.prompts, end_of(model), note, limit)
    return [] if found is None else found.examples


def make_held_out(setup: Setup[SftConfig], model: PromptedModel) -> HeldOutExamples | None:
    """The held-out set, if there is one to evaluate on.

    ConfigError where an evaluation is asked for and there is none, or its answers cannot fit.
    """
    config = setup.config
    if not (config.evaluation.eval_every or config.evaluation.before_after):
        if config.data.val_path is not None:
            setup.display.note("--val-data is not read: give --eval-steps or --before-after")
        return None
    check_stops(model.prompts.template, config.generation.stop)
    examples = load(setup, model, "eval")
    if not examples:
        raise ConfigError(
            "evaluation needs held-out data: give --val-data, or --data with a test split"
        )
    sampling = sampling_of(config, model)
    check_room(examples, sampling.max_new_tokens, model)
    greedy = replace(sampling, temperature=0.0)
    held_out = HeldOutExamples(
        examples=examples,
        solver=WholeSolver(model.prompts, greedy),
        world=setup.world,
        seed=config.seed,
        grader=config.data.grader,
        steps=steps_of(setup, model, examples, sampling),
    )
    held_out.check_golds()
    return held_out


def steps_of(
    setup: Setup[SftConfig], model: PromptedModel, examples: Sequence[Example], sampling: Sampling
) -> HeldOut | None:
    """SRL instances one step at a time, as reinforcement learning evaluates them; else None."""
    if not all("target_step" in example.columns for example in examples):
        return None
    config, world = setup.config, setup.world
    prompts = [prompt_of(example, index) for index, example in enumerate(examples)]
    scorer = Scorer(make_rewards(RewardSection()), model.tokenizer, world)
    longest = config.data.max_seq_len
    return held_out_set(config, model, world, prompts, scorer, sampling, max_prompt_length=longest)


def sampling_of(config: SftConfig, model: PromptedModel) -> Sampling:
    """How held-out answers are written."""
    options = config.generation
    return Sampling(
        max_new_tokens=options.max_new_tokens,
        temperature=options.temperature,
        stop_token_ids=stops_of(model.model, model.prompts),
        stop=options.stop,
    )


def check_room(examples: Sequence[Example], new: int, model: PromptedModel) -> None:
    """ConfigError where a held-out prompt and its answer do not fit the model."""
    limit = context_length(model.model)
    longest = max(examples, key=lambda example: len(example.prompt_ids))
    if limit is not None and len(longest.prompt_ids) + new > limit:
        raise ConfigError(
            f"held-out example {longest.id!r} has a prompt of {len(longest.prompt_ids)} tokens; "
            f"with max_new_tokens {new} that exceeds the model's {limit} positions; lower "
            "--max-new-tokens, or leave it out with --max-seq-len"
        )


def describe(
    config: SftConfig,
    model: PromptedModel,
    examples: Sequence[Example],
    held_out: HeldOutExamples | None,
) -> Inputs:
    """What the run is about to start with, its data by the tokens that are trained on."""
    val = None if held_out is None else described(held_out.examples)
    return describe_inputs(config, model.model, described(examples), val)


def described(examples: Sequence[Example]) -> DataPart:
    """A part of the data by its tokens."""
    digest = hashlib.sha256()
    for example in examples:
        digest.update(repr((example.prompt_ids, example.response_ids)).encode())
    return DataPart(digest.hexdigest(), len(examples))


def make_stage(
    session: Session[SftConfig], examples: Sequence[Example], held_out: HeldOutExamples | None
) -> SftStage:
    """The stage over a session's engine, where its checkpoint left it."""
    config, model, engine = session.config, session.model, session.engine
    progress = resumed_progress(session)
    rollout = transformers_rollout(
        engine, model.pad_id, config.generation.chunk_size, model.tokenizer
    )
    per_step, micro_batches = config.examples_per_step, config.micro_batches
    updater = imitation_updater(
        engine, config.engine, per_step, micro_batches, config.seed, model.pad_id
    )
    total = config.examples_in_all(len(examples))
    imitation = Imitation(examples, updater, config.seed, per_step, total, progress.position)
    return SftStage(imitation, rollout, held_out, progress)


def resumed_progress(session: Session[SftConfig]) -> SftState:
    """The stage's part of a checkpoint's state, or a fresh one.

    ConfigError where the run took other numbers of examples per step: its steps would not add up.
    """
    now = session.config.examples_per_step
    if session.setup.start.checkpoint is None:
        session.state.stage_state = {"examples_per_step": now}
    progress = resumed_state(session, NAME, SftState)
    if progress.examples_per_step != now:
        raise ConfigError(
            f"the run takes {progress.examples_per_step} examples per step, and the config now "
            f"asks for {now} (batch_size x gradient_accumulation_steps); resume it with what it "
            "began with, or start another run from its weights with --model"
        )
    return progress
