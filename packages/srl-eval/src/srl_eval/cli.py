"""The command line of `srl-eval`: a subcommand a task; parse, validate, call one function."""

import shlex
import signal
import sys
from types import FrameType

import rich_click as click

from srl_data.command import run
from srl_data.errors import InterruptedRunError
from srl_data.flags import configured, print_plan
from srl_eval.config import EvalConfig
from srl_eval.tasks import TASKS, TaskSpec


@click.group()
@click.version_option(package_name="srl-eval")
def cli() -> None:
    """Benchmarks for reasoning models: seeded, resumable, with honest errors."""


@cli.command("list")
def list_tasks() -> None:
    """Show the tasks with their sizes, graders and sources."""
    from rich.console import Console
    from rich.table import Table

    table = Table("task", "problems", "grader", "hub", "about")
    for task in TASKS.values():
        name = ", ".join((task.name, *task.aliases))
        table.add_row(name, str(task.size or ""), task.grader, task.hub, task.description)
    Console().print(table)


def run_task(task: TaskSpec, config: EvalConfig, *, dry_run: bool) -> None:
    """One evaluation, from the command line's point of view."""
    if dry_run:
        print_plan(config, f"evaluate {config.model.name or 'no model (give one)'} on {task.name}")
        return
    from rich.console import Console

    from srl_eval.display import announce, show_metrics
    from srl_eval.run import execute, prepare

    quiet_libraries()
    signal.signal(signal.SIGTERM, interrupt)
    try:
        plan = prepare(task, config)
        announce(plan, Console(stderr=True))
        metrics = execute(plan)
    except KeyboardInterrupt as error:
        raise InterruptedRunError(f"interrupted; go on with: {resume_command()}") from error
    show_metrics(metrics, Console())
    click.echo(f"wrote {plan.output_dir}/results.jsonl and metrics.json")


def interrupt(_signal: int, _frame: FrameType | None) -> None:
    """SIGTERM is Ctrl-C."""
    raise KeyboardInterrupt


def resume_command() -> str:
    """This command again, without what would throw the work away."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--overwrite"]
    return shlex.join(["srl-eval", *arguments])


def quiet_libraries() -> None:
    """No bars and banners of libraries between our own lines."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()


def add_task(task: TaskSpec) -> None:
    """The subcommand of one task, under its name and hidden under its aliases."""

    @configured(EvalConfig)
    def body(config: EvalConfig, dry_run: bool) -> None:
        run_task(task, config, dry_run=dry_run)

    body.__doc__ = f"{task.description[0].upper()}{task.description[1:]}."
    for name in (task.name, *task.aliases):
        cli.command(name, help=body.__doc__, hidden=name != task.name)(body)


for _task in TASKS.values():
    add_task(_task)


def main() -> None:
    """Entry point of the console script."""
    run(cli, "srl-eval")
