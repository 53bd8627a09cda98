"""The `srl-grpo` command: parse, validate, import, call one function."""

from collections.abc import Callable
from pathlib import Path

import rich_click as click

from srl_data.command.flags import configured, print_plan
from srl_data.command.frame import run
from srl_grpo.config.expert import ExpertConfig
from srl_grpo.config.run import RunConfig
from srl_grpo.config.sft import SftConfig
from srl_grpo.config.train import TrainConfig
from srl_grpo.run.resume import config_of_run, recorded_config


# The deepspeed launcher puts --local_rank before the subcommand; the rank is in the environment.
@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--local_rank", "_local_rank", type=int, hidden=True, expose_value=False)
@click.version_option(package_name="srl-grpo")
def cli() -> None:
    """Train language models to reason from expert steps, by GRPO with step rewards."""


@cli.command()
@click.option("--local_rank", "_local_rank", type=int, hidden=True, expose_value=False)
@configured(TrainConfig, presets="srl_grpo.presets", recorded=recorded_config)
def train(config: TrainConfig, dry_run: bool) -> None:
    """Train a model; `--config quickstart` needs no data, no download and no GPU."""
    from srl_grpo.rollout.rewards import make_rewards

    rewards = make_rewards(config.reward)  # a user's own too, before anything heavy is loaded
    if dry_run:
        from srl_grpo.data.first_prompt import train_first_prompt

        resume = config.checkpoint.resume
        earlier = config_of_run(resume, config.output_dir) if resume else None
        run = earlier.parent if earlier else None
        config, lines = train_first_prompt(config, rewards.required_columns, run)
        cautions = [f"# note: {line}" for line in config.algorithm.cautions]
        print_plan(config, plan_of(config), [*lines, *cautions])
        return
    from srl_grpo.launch import launch_or_run

    launch_or_run(config, train_command)


def train_command() -> Callable[[TrainConfig], None]:
    """Reinforcement learning."""
    from srl_grpo.stages.train import train

    return train


@cli.command()
@click.option("--local_rank", "_local_rank", type=int, hidden=True, expose_value=False)
@configured(SftConfig, recorded=recorded_config)
def sft(config: SftConfig, dry_run: bool) -> None:
    """Fine-tune a model on pairs of prompt and response, or on expert steps."""
    if dry_run:
        from srl_grpo.data.first_example import sft_first_example

        resume = config.checkpoint.resume
        earlier = config_of_run(resume, config.output_dir) if resume else None
        config, lines = sft_first_example(config, earlier.parent if earlier else None)
        print_plan(config, sft_plan_of(config), lines)
        return
    from srl_grpo.launch import launch_or_run

    launch_or_run(config, sft_command)


def sft_command() -> Callable[[SftConfig], None]:
    """Supervised fine-tuning."""
    from srl_grpo.stages.train import sft

    return sft


@cli.command("expert-iteration")
@click.option("--local_rank", "_local_rank", type=int, hidden=True, expose_value=False)
@configured(ExpertConfig, recorded=recorded_config)
def expert_iteration(config: ExpertConfig, dry_run: bool) -> None:
    """Sample answers, keep the right ones, fine-tune on them; again, round after round."""
    from srl_grpo.rollout.rewards import check_judges, make_rewards

    rewards = make_rewards(config.reward)
    check_judges(rewards, config.selection.min_reward)
    if dry_run:
        from srl_grpo.data.first_prompt import train_first_prompt
        from srl_grpo.data.record_kinds import OF_ROUNDS

        resume = config.checkpoint.resume
        earlier = config_of_run(resume, config.output_dir) if resume else None
        run = earlier.parent if earlier else None
        config, lines = train_first_prompt(config, {**rewards.required_columns, **OF_ROUNDS}, run)
        print_plan(config, expert_plan_of(config), lines)
        return
    from srl_grpo.launch import launch_or_run

    launch_or_run(config, expert_command)


def expert_command() -> Callable[[ExpertConfig], None]:
    """Expert iteration."""
    from srl_grpo.stages.train import expert_iteration

    return expert_iteration


def expert_plan_of(config: ExpertConfig) -> str:
    """What a run would do, in a sentence."""
    model = config.model.path or "a small model made on the spot"
    data = config.data.path or "arithmetic made on the spot"
    kept = "final/ alone" if config.checkpoint.save_final_only else "ei_step_N/ and final/"
    start = "its last weights" if config.sft.start_from == "last" else "the first weights"
    return (
        f"train {model} on its own right answers to {data}: {config.n_ei_steps} rounds of "
        f"{config.rollout.batch_size} questions x {config.rollout.group_size} completions, then "
        f"{config.sft.epochs} epoch(s) in steps of {config.sft.batch_size} from {start}, "
        f"ZeRO-{stages_of(config)}, {processes_of(config)} process(es), keeping "
        f"{kept}{start_of(config)}"
    )


def sft_plan_of(config: SftConfig) -> str:
    """What a run would do, in a sentence."""
    model = config.model.path or "a small model made on the spot"
    length = length_of(config.num_steps, config.num_epochs or 1)
    kept = "final/ alone" if config.checkpoint.save_final_only else "step_N/ and final/"
    return (
        f"fine-tune {model} on {config.data.path}: {length} of {config.examples_per_step} examples "
        f"({config.batch_size} x {config.accumulation}), ZeRO-{stages_of(config)}, "
        f"{processes_of(config)} process(es), keeping {kept}{start_of(config)}"
    )


def length_of(steps: int | None, epochs: int | None) -> str:
    """How long a run is, in steps or in epochs of batches."""
    return f"{steps} steps" if steps is not None else f"{epochs} epoch(s) in steps"


def processes_of(config: RunConfig) -> int:
    """Processes of all hosts."""
    return config.launch.nproc_per_node * config.launch.nnodes


def start_of(config: RunConfig) -> str:
    """What a plan says of a run that is resumed; nothing of a fresh one."""
    resume, output = config.checkpoint.resume, config.output_dir
    earlier = config_of_run(resume, output) if resume else None
    start = f", resuming {output if resume == 'auto' else resume}" if resume else ""
    return start + (f"; what was not given is from {earlier}" if earlier else "")


def plan_of(config: TrainConfig) -> str:
    """What a run would do, in a sentence."""
    model = config.model.path or "a small model made on the spot"
    data = config.data.path or "arithmetic made on the spot"
    length = length_of(config.num_steps, config.num_epochs)
    return (
        f"train {model} on {data}: {length} of {config.rollout.batch_size} prompts "
        f"x {config.rollout.group_size} completions, ZeRO-{stages_of(config)}, "
        f"{processes_of(config)} process(es){start_of(config)}"
    )


def stages_of(config: RunConfig) -> str:
    """The ZeRO stage of a run, or both where the device decides on the type."""
    full, half = (config.engine.stage_for(bfloat16) for bfloat16 in (False, True))
    known = {"float32": str(full), "bfloat16": str(half)}
    either = str(full) if full == half else f"{full} ({half} where the type is bfloat16)"
    return known.get(config.model.dtype, either)


@cli.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
def report(run_dir: Path) -> None:
    """Write RUN_DIR/report.html: curves, times and sample rollouts on one page."""
    from srl_grpo.report import write_report

    click.echo(write_report(run_dir))


def main() -> None:
    """Console script."""
    run(cli, "srl-grpo")
