"""Configs, flags and exit codes, on a small command of the tests' own."""

import errno
from pathlib import Path
from typing import Annotated, Literal

import pytest
import rich_click as click
import yaml
from pydantic import Field, model_validator

from srl_data.command.config import (
    Flag,
    Positional,
    Section,
    dump_yaml,
    load_config,
    validate,
)
from srl_data.command.errors import ConfigError, DataError, IncompleteError
from srl_data.command.flags import configured, print_plan
from srl_data.command.frame import execute
from srl_data.synth_chain import ChainConfig


class Rollout(Section):
    group_size: int = Field(default=4, ge=2)
    """Completions per prompt."""
    temperatures: list[float] = Field(default_factory=lambda: [1.0])


class Run(Section):
    name: Annotated[str, Positional()]
    """What to call it."""
    model_path: Annotated[str | None, Flag("model")] = None
    mode: Literal["a", "b"] = "a"
    fast: bool = True
    where: Path | None = None
    rollout: Rollout = Field(default_factory=Rollout)

    @model_validator(mode="after")
    def _both(self):
        if self.mode == "b" and not self.fast:
            raise ValueError("mode b is always fast; drop --no-fast")
        return self


@click.command()
@configured(Run)
def program(config: Run, dry_run: bool) -> None:
    """Do it."""
    if dry_run:
        print_plan(config, "do it")
        return
    click.echo(repr(config.rollout.group_size))


def run(capsys, *argv):
    code = execute(program, "prog", list(argv))
    out, err = capsys.readouterr()
    return code, out, err


def test_flag_beats_file_beats_default(tmp_path, capsys):
    file = tmp_path / "c.yaml"
    assert run(capsys, "x")[:2] == (0, "4\n")
    file.write_text("rollout: {group_size: 8}\n")
    assert run(capsys, "x", "--config", str(file))[:2] == (0, "8\n")
    assert run(capsys, "x", "--config", str(file), "--group-size", "6")[:2] == (0, "6\n")


def test_every_field_is_reached_by_its_flag(capsys):
    argv = ["x", "--model", "m", "--mode", "b", "--temperatures", "[0.5, 1]", "--where", "/w"]
    code, out, _ = run(capsys, *argv, "--fast", "--dry-run")
    assert code == 0
    plain, _, plan = out.rpartition("# ")
    assert plan == "dry run: would do it\n"
    expected = Run(
        name="x",
        model_path="m",
        mode="b",
        where=Path("/w"),
        rollout=Rollout(temperatures=[0.5, 1.0]),
    )
    assert plain == dump_yaml(expected)


def test_dumped_yaml_loads_to_an_equal_config(tmp_path):
    config = Run(name="1e3", fast=False, where=Path("a b"))
    file = tmp_path / "c.yaml"
    file.write_text(dump_yaml(config))
    assert load_config(Run, str(file)) == config


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["x", "--group-size", "1"], "rollout.group_size = 1: input should be greater"),
        (["x", "--group-size", "1"], "(--group-size)"),
        (["x", "--group-size", "one"], "'one' is not a valid int"),
        (["x", "--mode", "c"], "'c' is not one of 'a', 'b'"),
        (["x", "--temperatures", "[1"], "is not valid YAML"),
        (["x", "--grup-size", "3"], "Did you mean '--group-size'?"),
        (["x", "--mode", "b", "--no-fast"], "mode b is always fast; drop --no-fast"),
        (["x", "--config", "none.yaml"], "--config 'none.yaml' is neither a file"),
        ([], "name (NAME) is required"),
    ],
)
def test_misuse_is_one_line_and_exit_2(capsys, argv, message):
    code, out, err = run(capsys, *argv)
    assert (code, out) == (2, "")
    assert err.startswith("prog: error: ")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rollout: {grupsize: 8}", "unknown key 'rollout.grupsize'; did you mean"),
        ("groupsize: 8", "did you mean 'rollout.group_size'?"),
        ("zzz: 8", "unknown key 'zzz'; --help lists the known keys"),
        ("- 1", "expected a mapping of sections at the top, found list"),
        ("a: [", "not valid YAML"),
    ],
)
def test_a_bad_config_file_names_the_key_and_the_nearest_one(tmp_path, capsys, text, message):
    file = tmp_path / "c.yaml"
    file.write_text(text)
    code, _, err = run(capsys, "x", "--config", str(file))
    assert code == 2
    assert message in err


def test_help_shows_docstrings_defaults_and_arguments(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert "NAME" in out
    assert "Completions per prompt. [default: 4]" in out


def failing(error):
    @click.command()
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ConfigError("c"), 2, "p: error: c"),
        (DataError("d"), 3, "p: error: d"),
        (IncompleteError("i"), 4, "p: error: i"),
        (KeyboardInterrupt(), 130, "p: error: interrupted"),
        (OSError(errno.ENOSPC, "", "f"), 1, "p: error: cannot write f: no space left; free"),
        (OSError(errno.EACCES, "", "f"), 1, "p: error: cannot use f: permission denied; give"),
    ],
)
def test_exit_codes(capsys, error, code, line):
    assert execute(failing(error), "p", []) == code
    assert capsys.readouterr().err.strip("\n").startswith(line)


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        execute(failing(ZeroDivisionError()), "p", [])
    with pytest.raises(FileNotFoundError):
        execute(failing(FileNotFoundError(errno.ENOENT, "", "f")), "p", [])


def test_a_command_s_own_exit_code_is_kept():
    @click.command()
    @click.pass_context
    def command(context) -> None:
        context.exit(4)

    assert execute(command, "p", []) == 4


def test_a_list_of_numbers_is_given_number_by_number_or_as_yaml(capsys):
    for argv in (["--temperatures", "[0.5, 1]"], ["--temperatures", "0.5", "--temperatures", "1"]):
        code, out, _ = run(capsys, "x", *argv, "--dry-run")
        assert code == 0
        assert yaml.safe_load(out)["rollout"]["temperatures"] == [0.5, 1.0]


def test_a_list_with_too_few_values_is_named_with_its_flag():
    with pytest.raises(ConfigError, match=r"careful = \[0\.5\]: has too few values \(--careful\)"):
        validate({"output": "a.jsonl", "careful": [0.5]}, ChainConfig, "command line")
    with pytest.raises(ConfigError, match=r"careful\.1 = 2: .*\(--careful\)"):
        validate({"output": "a.jsonl", "careful": [0.5, 2, 0.5]}, ChainConfig, "command line")
