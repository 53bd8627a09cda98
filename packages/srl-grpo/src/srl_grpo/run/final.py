"""`final/`: the model of a run that did its last step, under a name that does not depend on steps.

A real folder with a manifest of its own: what transformers loads, how the model was prompted, and
the counters, but not the optimizer's state. Its files are hard links to the last checkpoint's where
the file system has them.
"""

import shutil
from pathlib import Path

from srl_data.command.errors import ConfigError, DataError
from srl_data.files import fsync_path, link_or_copy, write_text
from srl_grpo.config.sections import CheckpointSection
from srl_grpo.run.checkpoint import (
    STATE,
    TRAINER,
    Manifest,
    disk_errors,
    read_manifest,
    remove_checkpoint,
    replace_folder,
    step_folder,
    steps_of,
    verify,
)
from srl_grpo.run.resume import FINAL, MANIFEST

COUNTERS = f"{TRAINER}/{STATE}"


def is_kept(name: str) -> bool:
    """Whether a file of a checkpoint, by its path inside, belongs to `final/` too."""
    return not name.startswith(f"{TRAINER}/") or name == COUNTERS


def seal_final(run: Path, step: int, options: CheckpointSection) -> Path:
    """Make `final/` of the checkpoint of `step`, whole or not at all; then keep it alone if asked.

    CommandError where the disk is full; the checkpoint stays.
    """
    final = run / FINAL
    if not is_sealed(run, step):
        work = run / f".{FINAL}.tmp"
        shutil.rmtree(work, ignore_errors=True)
        with disk_errors(work):
            fill(step_folder(run, step), work)
        replace_folder(work, final)
    if options.save_final_only:
        for left in steps_of(run):
            remove_checkpoint(step_folder(run, left))
    return final


def fill(checkpoint: Path, work: Path) -> None:
    """Put a checkpoint's files into `work` and seal it."""
    whole = verify(checkpoint, contents=False)
    kept = {name: entry for name, entry in whole.files.items() if is_kept(name)}
    for name in kept:
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(checkpoint / name, work / name)
        fsync_path(work / name)
    for folder in {(work / name).parent for name in kept}:
        fsync_path(folder)
    manifest = Manifest(step=whole.step, files=kept)
    write_text(work / MANIFEST, manifest.model_dump_json(indent=2) + "\n")


def is_sealed(run: Path, step: int) -> bool:
    """Whether `final/` is there and of `step`; names and sizes are compared."""
    try:
        return verify(run / FINAL, contents=False).step == step
    except DataError:
        return False


def is_final(folder: Path) -> bool:
    """Whether a checkpoint is one without the optimizer's state."""
    try:
        files = read_manifest(folder).files
    except DataError:
        return False
    return COUNTERS in files and not any(
        name.startswith(f"{TRAINER}/") and name != COUNTERS for name in files
    )


def refuse_final(folder: Path, step: int, num_steps: int | None) -> None:
    """ConfigError where a run would be trained on from a `final/`."""
    raise ConfigError(
        f"{folder} is at step {step} of {num_steps} and has no optimizer state to resume from; "
        f"give --model {folder} and another --output-dir to start a new run from its weights"
    )


def leftovers(run: Path, options: CheckpointSection) -> bool:
    """Whether checkpoints lie beside a `final/` that should be alone."""
    return options.save_final_only and bool(steps_of(run))
