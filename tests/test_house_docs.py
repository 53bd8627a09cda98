"""Every command that a document shows is one that our command lines take.

In fenced blocks marked `bash`, `console` or `sh`, each line that runs one of our commands is run
with `--dry-run`; commands without that flag, and those that read a named file or folder, are parsed
and not run. Lines may be continued with a backslash, start with `$ ` or `uv run`, or go through
torchrun (`-m srl_grpo`).
"""

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from subprocess import CompletedProcess

import click
import pytest
import yaml

from srl_data.command.config import unknown_keys
from srl_grpo.config.algorithm import AlgorithmSection
from srl_grpo.config.reward import RewardSection
from srl_grpo.config.train import TrainConfig
from srl_reward import REWARDS

Run = Callable[[str | Sequence[str]], CompletedProcess[str]]
ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^ *```(?:bash|console|sh)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
COMMANDS = ("srl-data", "srl-eval", "srl-grpo")
PAGES = [
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/**/*.md"),
    *ROOT.glob("docker/*.md"),
    *ROOT.glob("packages/*/README.md"),
]


def our_command(line: str) -> list[str] | None:
    """The arguments of the command of ours that a shell line runs, or None."""
    words = shlex.split(line.removeprefix("$ "), comments=True)
    for stop in (">", "|", "&&", "2>&1", "&"):
        words = words[: words.index(stop)] if stop in words else words
    if "-m" in words and "srl_grpo" in words:
        return ["srl-grpo", *words[words.index("srl_grpo") + 1 :]]
    while words and (words[0] in ("uv", "run") or "=" in words[0] or words[0].startswith("--")):
        words = words[1:]
    return words if words and words[0] in COMMANDS else None


def commands(page: Path) -> Iterator[list[str]]:
    """The commands of ours on a page."""
    for block in BLOCK.findall(page.read_text(encoding="utf-8")):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            found = our_command(line.strip())
            if found is not None:
                yield found


DOCUMENTED = [
    pytest.param(command, id=f"{page.relative_to(ROOT)}: {shlex.join(command)[:70]}")
    for page in sorted(PAGES)
    for command in commands(page)
]


def takes_dry_run(command: list[str], group: click.Command) -> bool:
    """Whether the subcommand can be run dry; parses the arguments where it cannot."""
    found = group
    words = command[1:]
    while isinstance(found, click.Group) and words and words[0] in found.commands:
        found, words = found.commands[words[0]], words[1:]
    reads_a_file = any(isinstance(parameter, click.Argument) for parameter in found.params)
    if not reads_a_file and any("--dry-run" in parameter.opts for parameter in found.params):
        return True
    found.make_context(command[0], list(words))
    return False


@pytest.mark.parametrize("command", DOCUMENTED)
def test_a_documented_command_is_accepted(command: list[str], run_inside: Run) -> None:
    from srl_data.cli import cli as data
    from srl_eval.cli import cli as evaluation
    from srl_grpo.cli import cli as training

    if {"--help", "--version"} & set(command):
        assert run_inside(command).returncode == 0
        return
    group = {"srl-data": data, "srl-eval": evaluation, "srl-grpo": training}[command[0]]
    if takes_dry_run(command, group):
        done = run_inside([*command, "--dry-run"])
        assert done.returncode == 0, done


def test_config_keys_that_the_training_guide_shows_are_known() -> None:
    text = (ROOT / "docs/guides/training.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert blocks
    for block in blocks:
        assert list(unknown_keys(yaml.safe_load(block), TrainConfig)) == []


def test_the_readme_shows_the_whole_chain() -> None:
    shown = {" ".join(command[:2]) for command in commands(ROOT / "README.md")}
    assert {"srl-data build", "srl-grpo train", "srl-eval aime24"} <= shown


def test_rlvr_after_srl_starts_from_its_model_and_names_the_change_of_template(
    run_inside: Run,
) -> None:
    shown = list(commands(ROOT / "docs/guides/stages.md"))
    first = next(each for each in shown if each[-1] == "runs/srl")
    second = next(each for each in shown if each[-1] == "runs/srl_rlvr")
    plans = [run_inside([*each, "--dry-run"]) for each in (first, second)]
    steps, answers = (yaml.safe_load(done.stdout) for done in plans)
    assert steps["reward"]["reward"] == ["step"]
    assert answers["model"]["path"] == f"{steps['output_dir']}/final"
    assert answers["reward"]["reward"] == ["math"]
    assert answers["data"]["template"] == "boxed"
    assert answers["data"]["path"] != steps["data"]["path"]


def test_scripts_that_documents_name_are_there() -> None:
    named = {
        name
        for page in PAGES
        for name in re.findall(
            r"\b(?:scripts|benchmarks|recipes)/[\w/]+\.(?:sh|py)", page.read_text("utf-8")
        )
    }
    assert sorted(name for name in named if not (ROOT / name).is_file()) == []


def test_the_readme_names_what_is_needed_before_its_first_command() -> None:
    before = (ROOT / "README.md").read_text(encoding="utf-8").partition("```")[0]
    for needed in ("Python 3.11", "Rust toolchain", "C++ compiler", "`uv sync`", "pip install -e"):
        assert needed in before


def test_the_readme_says_of_which_commands_config_and_dry_run_are() -> None:
    """`--config` and `--dry-run` together are of just the commands that it names."""
    from srl_data.cli import cli as data
    from srl_eval.cli import cli as evaluation
    from srl_grpo.cli import cli as training

    def takes(command: click.Command) -> bool:
        flags = {flag for parameter in command.params for flag in parameter.opts}
        return {"--config", "--dry-run"} <= flags

    assert "Every command takes `--help`. Those" in (ROOT / "README.md").read_text("utf-8")
    groups = {"srl-data": data, "srl-eval": evaluation, "srl-grpo": training}
    without = {
        f"{program} {name}"
        for program, group in groups.items()
        for name, command in group.commands.items()
        if not isinstance(command, click.Group) and not takes(command)
    }
    assert without == {
        *("srl-eval list", "srl-eval suite", "srl-eval report", "srl-eval compare"),
        *("srl-eval rescore", "srl-grpo report"),
    }


def test_the_reward_and_the_loss_are_the_ones_that_the_architecture_names() -> None:
    text = " ".join((ROOT / "docs/architecture.md").read_text("utf-8").split())
    assert "`--reward step` by default" in text
    assert "`--loss dapo` by default" in text
    assert RewardSection().reward == ("step",)
    assert AlgorithmSection().loss == "dapo"


def test_the_guide_names_every_reward_and_what_it_reads() -> None:
    text = (ROOT / "docs/guides/training-rewards.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (SRL instances|answers|either) \|", text, re.MULTILINE))
    reads = {"target_step": "SRL instances", "answer": "answers", None: "either"}
    assert rows == {name: reads[known.default_column] for name, known in REWARDS.items()}
