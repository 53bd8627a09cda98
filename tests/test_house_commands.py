"""Every command under each of its names: the same flags, all in its help, and a dry run takes them.

Walks the groups themselves, so that a command or a name added later is held too.
"""

from collections.abc import Callable, Iterator, Sequence
from subprocess import CompletedProcess

import click
import pytest

from srl_data.cli import cli as data
from srl_data.command.config import leaves
from srl_data.command.flags import parameter_name
from srl_eval.cli import cli as evaluation
from srl_eval.config import EvalConfig
from srl_eval.tasks import TASKS
from srl_grpo.cli import cli as training

Run = Callable[[str | Sequence[str]], CompletedProcess[str]]
GROUPS = {"srl-data": data, "srl-eval": evaluation, "srl-grpo": training}
NAMES = [name for task in TASKS.values() for name in (task.name, *task.aliases)]


def walk(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], object]]:
    """Every command that does something, with the words that call it."""
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from walk(inner, (*path, name))
    else:
        yield path, command


COMMANDS = dict(found for name, group in GROUPS.items() for found in walk(group, (name,)))
DRY = {
    ("srl-data", "build", "answers"): ["--source", "a.jsonl", "--output-dir", "d"],
    ("srl-data", "build", "gsm8k"): [],
    ("srl-data", "build", "math"): [],
    ("srl-data", "build", "numinamath"): [],
    ("srl-data", "build", "s1k"): ["--output", "a.jsonl"],
    ("srl-data", "dedupe"): ["--source", "a.jsonl", "--output", "b.jsonl"],
    ("srl-data", "decontaminate"): ["a.jsonl", "--output", "b.jsonl", "--against", "c.jsonl"],
    ("srl-data", "grade"): ["a.jsonl"],
    ("srl-data", "inspect"): ["a.jsonl"],
    ("srl-data", "pairs"): ["--source", "a.jsonl", "--output", "b.jsonl"],
    ("srl-data", "render-eval"): ["--model", "m", "--source", "a.jsonl", "--output", "b.jsonl"],
    ("srl-data", "split"): ["--source", "a.jsonl", "--output", "b.jsonl"],
    ("srl-data", "stepify"): ["--source", "a.jsonl", "--output", "b.jsonl"],
    ("srl-data", "synth", "arithmetic"): ["--output", "a.jsonl"],
    ("srl-data", "synth", "chain"): ["--output", "a.jsonl"],
    ("srl-data", "traces"): ["--source", "a.jsonl", "--output", "b.jsonl", "--model", "m"],
    ("srl-eval", "file"): ["--task-file", "a.jsonl", "--grader", "math"],
    ("srl-grpo", "expert-iteration"): ["--model", "m", "--data", "a.jsonl"],
    ("srl-grpo", "sft"): ["--model", "m", "--data", "a.jsonl"],
    ("srl-grpo", "train"): ["--config", "smoke_test"],
    **{("srl-eval", name): [] for name in NAMES},
}
"""What each command that can be run dry needs at least."""


def value_of(parameter: click.Option) -> list[str]:
    """A value of the option's type; what it may be beyond that is not looked at here."""
    if parameter.is_flag:
        return []
    if isinstance(parameter.type, click.Choice):
        return [str(parameter.type.choices[0])]
    return ["1"]


def parsed(path: tuple[str, ...], words: list[str]) -> dict[str, object]:
    """What a command makes of its words."""
    command = COMMANDS[path]
    assert isinstance(command, click.Command)
    return dict(command.make_context(" ".join(path), words).params)


def test_the_walk_finds_the_commands() -> None:
    assert len(COMMANDS) > len(NAMES) > len(TASKS)
    takes_config = {
        path
        for path, command in COMMANDS.items()
        if isinstance(command, click.Command)
        and any("--config" in parameter.opts for parameter in command.params)
    }
    assert takes_config == set(DRY)


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_lists_every_flag_of_a_command(path: tuple[str, ...], run_inside: Run) -> None:
    command = COMMANDS[path]
    assert isinstance(command, click.Command)
    done = run_inside([*path, "--help"])
    assert done.returncode == 0, done
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert parameter.opts[0] in done.stdout
    if command.params and path in DRY:
        assert "--config" in done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_a_task_has_every_flag_under_each_of_its_names(name: str) -> None:
    first = COMMANDS["srl-eval", "aime24"]
    command = COMMANDS["srl-eval", name]
    assert isinstance(first, click.Command)
    assert isinstance(command, click.Command)
    assert [p.opts for p in command.params] == [p.opts for p in first.params]
    given = {parameter_name(leaf) for leaf in leaves(EvalConfig)}
    assert given <= {parameter.name for parameter in command.params}


@pytest.mark.parametrize("name", NAMES)
def test_every_flag_of_a_task_is_taken_under_each_of_its_names(name: str) -> None:
    command = COMMANDS["srl-eval", name]
    assert isinstance(command, click.Command)
    options = [p for p in command.params if isinstance(p, click.Option) and "--help" not in p.opts]
    assert len(options) > 30
    for parameter in options:
        words = [parameter.opts[0], *value_of(parameter)]
        assert parsed(("srl-eval", name), words)[str(parameter.name)] not in (None, False), words


@pytest.mark.parametrize("name", NAMES)
def test_a_dry_run_takes_a_flag_under_each_name(name: str, run_inside: Run) -> None:
    words = ["--model", "M", "--mode", "avg4", "--temperature", "0.7", "--limit", "3"]
    done = run_inside(["srl-eval", name, *words, "--dry-run"])
    assert done.returncode == 0, done
    shown = set(map(str.strip, done.stdout.splitlines()))
    assert {"model: M", "mode: avg4", "temperature: 0.7", "limit: 3"} <= shown
    assert f"would evaluate M on {canonical(name)}" in done.stdout


def canonical(name: str) -> str:
    """A task's first name."""
    return next(task.name for task in TASKS.values() if name in (task.name, *task.aliases))


@pytest.mark.parametrize("path", DRY, ids=" ".join)
def test_every_command_with_a_config_runs_dry(path: tuple[str, ...], run_inside: Run) -> None:
    done = run_inside([*path, *DRY[path], "--dry-run"])
    assert done.returncode == 0, done
    assert "# dry run: would " in done.stdout
