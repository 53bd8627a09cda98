"""How a run is continued: the command for it, and what it takes from the run's own config."""

import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from srl_data.command.config import ConfigTree, Section, read_tree
from srl_data.command.errors import InterruptedRunError

MANIFEST = "MANIFEST.json"
"""The file that makes a folder a checkpoint; see `srl_grpo.run.checkpoint`."""
FINAL = "final"
"""The folder of a finished run's model; see `srl_grpo.run.final`."""
STEP_NAME = re.compile(r"(?:ei_)?step_(\d+)")
"""The name of a checkpoint's folder: a step's, or a round's of expert iteration."""
ROUNDS = "expert-iteration"
"""The stage whose steps are rounds."""

FREE = ("output_dir", "checkpoint", "tracking", "launch", "evaluation")
"""Parts of a config that may change in the middle of a run without changing what is trained."""

REPLACED = ("--resume", "--output-dir")
"""Flags that the resuming command gives anew."""


NOT_TAKEN = (
    ("output_dir",),
    ("checkpoint", "resume"),
    ("checkpoint", "force"),
    ("launch", "node_rank"),
    ("launch", "rdzv_endpoint"),
)
"""What a resumed run does not take from the config before: what holds for one start alone."""
INSTEAD = {
    ("num_steps",): (("num_epochs",),),
    ("num_epochs",): (("num_steps",),),
    ("model", "path"): (("model", "build"),),
    ("model", "build"): (("model", "path"), ("model", "revision")),
    ("rollout", "use_vllm"): (("rollout", "backend"),),
    ("data", "path"): (("synthetic",), ("warm_start",)),
    ("synthetic",): (("data", "path"), ("data", "val_path")),
}
"""Keys that, where they are given, replace others."""


def value_at(tree: ConfigTree, path: Sequence[str]) -> object:
    """The value at a key path; None where there is none."""
    value: object = tree
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def remove_at(tree: ConfigTree, path: Sequence[str]) -> None:
    """Take a key out, where it is there."""
    parent = value_at(tree, path[:-1])
    if isinstance(parent, dict):
        parent.pop(path[-1], None)


def config_of_run(resume: str, output_dir: Path | None) -> Path | None:
    """The config of the run that `--resume` means; None where none is kept.

    A run that is forked off a checkpoint of another's takes that one's.
    """
    named = output_dir if resume == "auto" else Path(resume)
    if named is None:
        return None
    path = (named.parent if is_checkpoint_path(named) else named) / "config.yaml"
    return path if path.is_file() else None


def recorded_config(given: ConfigTree) -> tuple[ConfigTree, str] | None:
    """For a run to be resumed, its own config without what `given` replaces, and its name."""
    resume, output_dir = value_at(given, ("checkpoint", "resume")), given.get("output_dir")
    if not isinstance(resume, str):
        return None
    path = config_of_run(resume, Path(str(output_dir)) if output_dir is not None else None)
    if path is None:
        return None
    tree = read_tree(path)
    replaced = [
        key
        for given_key, keys in INSTEAD.items()
        if value_at(given, given_key) is not None
        for key in keys
    ]
    if value_at(given, ("rollout", "backend")) == "hf" or (
        value_at(given, ("rollout", "use_vllm")) is False
    ):
        replaced.append(("rollout", "vllm"))  # what it would refuse beside another backend
    for key in (*NOT_TAKEN, *replaced):
        remove_at(tree, key)
    return tree, str(path)


def is_checkpoint_path(folder: Path) -> bool:
    """Whether a path names a checkpoint, whole or not, and no run folder."""
    return STEP_NAME.fullmatch(folder.name) is not None or (folder / MANIFEST).is_file()


def without_flags(arguments: Sequence[str], flags: Sequence[str]) -> list[str]:
    """`arguments` without `--flag value` and `--flag=value` of the given flags."""
    kept: list[str] = []
    skip = False
    for argument in arguments:
        if skip:
            skip = False
        elif argument in flags:
            skip = True
        elif argument.partition("=")[0] not in flags:
            kept.append(argument)
    return kept


def resume_command(run: Path, arguments: Sequence[str]) -> str:
    """`srl-grpo train …` with the arguments of this process, resuming `run`."""
    kept = without_flags(arguments, REPLACED)
    return shlex.join(["srl-grpo", *kept, "--output-dir", str(run), "--resume", "auto"])


def flat(tree: ConfigTree, prefix: str = "") -> dict[str, object]:
    """A config's leaves by their dotted names."""
    leaves: dict[str, object] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            leaves |= flat(value, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves


def changed_keys(before: ConfigTree, config: Section) -> list[str]:
    """`key: old -> new` for each option of a resumed run that differs from before."""
    old, new = flat(before), flat(config.model_dump(mode="json"))
    return [
        f"{key}: {old.get(key)} -> {new.get(key)}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and key.partition(".")[0] not in FREE
    ]


def interrupted(run: Path, step: int) -> InterruptedRunError:
    """The error that ends a run stopped by a signal; `step` is that of its newest checkpoint."""
    command = resume_command(run, sys.argv[1:])
    kept = f"its checkpoint is step {step}" if step else "it had no checkpoint yet"
    return InterruptedRunError(f"stopped; {kept}; resume with: {command}")
