"""The command line of `srl-eval`: a subcommand a task; parse, validate, call one function."""

import logging
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import rich_click as click

from srl_data.command.config import load_config
from srl_data.command.errors import ConfigError, InterruptedRunError
from srl_data.command.flags import configured, print_plan
from srl_data.command.frame import run
from srl_data.prompts import TEMPLATES
from srl_eval.config import EvalConfig
from srl_eval.reading_commands import compare, report, rescore
from srl_eval.tasks import TASKS, TaskSpec


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="srl-eval")
def cli() -> None:
    """Benchmarks for reasoning models: seeded, resumable, with honest errors."""


@cli.command("list")
def list_tasks() -> None:
    """Show the tasks with their sizes, graders and sources, and the prompt templates."""
    from rich.console import Console
    from rich.table import Table

    table = Table("task", "problems", "grader", "what, and where from", box=None, pad_edge=False)
    for task in TASKS.values():
        origin = [f"[dim]{task.hub}[/]"] if task.hub else []
        examples = (
            [f"[dim]few-shot: {task.fewshot}, {task.fewshot.split}[/]"] if task.fewshot else []
        )
        table.add_row(
            "\n".join((task.name, *(f"  or {alias}" for alias in task.aliases))),
            str(task.size or "any"),
            task.grader,
            "\n".join([task.description, *origin, *examples]),
        )
    prompts = Table("template", "prompt", box=None, pad_edge=False)
    for template in TEMPLATES.values():
        solve = ", answered step by step" if template.stepwise else ""
        prompts.add_row(template.name, f"{template.description}{solve}")
    console = Console()
    console.print(table)
    console.print()
    console.print(prompts)


def run_task(task: TaskSpec, config: EvalConfig, *, dry_run: bool) -> None:
    """One evaluation, from the command line's point of view."""
    if not config.model.name:
        config = config.with_model()
        click.echo(f"srl-eval: no --model given, so it is {config.model.name}", err=True)
    if dry_run:
        from srl_eval.first_prompt import eval_first_prompt

        plan = f"evaluate {config.model.name} on {task.name}"
        print_plan(config, plan, eval_first_prompt(task, config))
        return
    from srl_eval.display import run_and_show

    with interruptible():
        run_and_show(task, config)


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C and SIGTERM within end as an interrupted run, with the command that resumes it."""
    quiet_libraries()
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except KeyboardInterrupt as error:
        raise InterruptedRunError(f"interrupted; resume with: {resume_command()}") from error
    finally:
        signal.signal(signal.SIGTERM, before)


def interrupt(_signal: int, _frame: FrameType | None) -> None:
    """SIGTERM is Ctrl-C."""
    raise KeyboardInterrupt


def resume_command() -> str:
    """This command again, without what would throw the work away."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--overwrite"]
    return shlex.join(["srl-eval", *arguments])


def quiet_libraries() -> None:
    """No bars, banners and warnings of libraries between our own lines."""
    from transformers.utils import logging as transformers_logging

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # a line for each further attempt
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()


@cli.command("file")
@configured(EvalConfig)
def file_command(config: EvalConfig, dry_run: bool) -> None:
    """Problems of any file: --task-file with problem, answer and, if wanted, grader."""
    from srl_eval.problems import file_task

    path = config.data.task_file
    if path is None:
        raise ConfigError("srl-eval file needs --task-file")
    data = config.data.model_copy(update={"data_path": path})
    task = file_task(path, config.data.grader)
    run_task(task, config.model_copy(update={"data": data}), dry_run=dry_run)


@cli.command("suite")
@click.argument("suite_file", type=click.Path(path_type=str))
@click.option("--dry-run", is_flag=True, help="List the evaluations, then stop.")
def suite_command(suite_file: str, dry_run: bool) -> None:
    """Several models on several tasks, as a YAML file says; finished ones are not done again."""
    from srl_eval.suite import SuiteConfig, entries

    suite = load_config(SuiteConfig, suite_file)
    planned = list(entries(suite))
    if dry_run:
        for entry in planned:
            click.echo(f"{entry.model} on {entry.task.name} into {entry.folder}")
        return
    from srl_eval.display import run_and_show_suite

    with interruptible():
        run_and_show_suite(suite)


def task_command(task: TaskSpec, name: str) -> click.Command:
    """The subcommand of one task under one of its names; hidden unless it is the first.

    Each name has a body of its own: click takes a function's options away with its first command.
    """

    @configured(EvalConfig)
    def body(config: EvalConfig, dry_run: bool) -> None:
        run_task(task, config, dry_run=dry_run)

    text = f"{task.description[0].upper()}{task.description[1:]}."
    return click.command(name, help=text, hidden=name != task.name)(body)


for _task in TASKS.values():
    for _name in (_task.name, *_task.aliases):
        cli.add_command(task_command(_task, _name))
for _command in (report, compare, rescore):
    cli.add_command(_command)


def main() -> None:
    """Entry point of the console script."""
    run(cli, "srl-eval")
