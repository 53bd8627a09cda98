"""The command that continues an interrupted run, as the user would type it."""

import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from srl_data.config import ConfigTree, Section
from srl_data.errors import InterruptedRunError

MANIFEST = "MANIFEST.json"
"""The file that makes a folder a checkpoint; see `srl_grpo.checkpoint`."""
STEP_NAME = re.compile(r"step_(\d+)")
"""The name of a checkpoint's folder."""

FREE = ("output_dir", "checkpoint", "tracking", "launch", "evaluation")
"""Parts of a config that may change in the middle of a run without changing what is trained."""

REPLACED = ("--resume", "--output-dir")
"""Flags that the resuming command gives anew."""


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
    """`key: old -> new` for what a resumed run trains otherwise than before."""
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
    return InterruptedRunError(f"stopped; {kept}; go on with: {command}")
