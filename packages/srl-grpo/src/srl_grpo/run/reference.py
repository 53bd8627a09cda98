"""The policy that a KL term refers to: the one that the run began with, or a later one of its own.

A model from a hub or a folder is loaded from there again, at the revision that the run began with;
one made or warm-started by the run is kept in its folder, and goes along where the run is continued
in another. A fingerprint in the state tells whether it is the same. Once it was refreshed
(`srl_grpo.stages.moving_reference`) it is in each checkpoint.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

from transformers import PreTrainedModel

from srl_data.command.config import read_tree
from srl_data.command.errors import DataError
from srl_data.files import link_or_copy
from srl_grpo.config.sections import ModelSection
from srl_grpo.config.train import TrainConfig
from srl_grpo.learner.fingerprint import fingerprint
from srl_grpo.learner.model import load_trainable, prepare_model
from srl_grpo.learner.model_folder import save_model_folder
from srl_grpo.learner.policy import Policy
from srl_grpo.run.checkpoint import TRAINER
from srl_grpo.run.directory import RunDirectory
from srl_grpo.run.inputs import Inputs
from srl_grpo.run.prompted_model import PromptedModel
from srl_grpo.run.resume import value_at
from srl_grpo.run.session import Setup
from srl_grpo.run.start import StartingPoint

REFERENCE = "reference"
"""Where a run with a KL term keeps the policy it began with, if that is nowhere else; and, inside a
checkpoint's `trainer/`, a reference that was refreshed since."""
REFRESHED = "reference_step"
"""The entry of a stage's state that says after which step it was refreshed last."""


def is_kept(config: TrainConfig) -> bool:
    """Whether the policy that the run begins with is nowhere else."""
    return config.model.build is not None or config.warm_start.steps > 0


def make_reference(
    setup: Setup[TrainConfig],
    policy: Policy,
    model: PromptedModel,
    inputs: Inputs,
    directory: RunDirectory,
) -> Policy | None:
    """The reference, frozen; None without a KL term. Collective.

    Raises DataError where a resumed run's is missing or is another model than before.
    """
    config, device = setup.config, setup.world.device
    if config.algorithm.beta == 0:
        return None
    refreshed = refreshed_folder(setup.start)
    if refreshed is not None:
        source = source_at(config, refreshed)
    elif is_kept(config):
        source = kept_source(setup, policy, directory)
    else:
        revision = inputs.commit or config.model.revision
        source = config.model.model_copy(update={"revision": revision})
    loaded = load_trainable(source, device, model.tokenizer, config.seed)
    reference = prepare_model(loaded, source, device)
    if refreshed is None:
        check_same(reference, setup.start.state.start, str(source.path))
    return Policy(reference.requires_grad_(False).eval())


def source_at(config: TrainConfig, folder: Path) -> ModelSection:
    """The config's model, from a folder of the run's own."""
    place = {"path": str(folder), "build": None, "revision": None}
    return config.model.model_copy(update=place)


def refreshed_folder(start: StartingPoint) -> Path | None:
    """Where a checkpoint holds the reference that was refreshed before it; None where none was.

    DataError where it is not there.
    """
    step = start.state.stage_state.get(REFRESHED)
    if start.checkpoint is None or step is None:
        return None
    folder = start.checkpoint / TRAINER / REFERENCE
    if not folder.is_dir():
        raise DataError(
            f"{start.checkpoint} lacks the reference of its KL term, which was refreshed after "
            f"step {step}: it was written with --beta 0; resume from a checkpoint before that, or "
            "with --beta 0"
        )
    return folder


def kept_source(setup: Setup[TrainConfig], policy: Policy, directory: RunDirectory) -> ModelSection:
    """Where the run keeps its reference: saved now by a fresh run, else brought along."""
    kept = directory.path / REFERENCE

    def keep() -> None:
        if setup.start.checkpoint is None:
            save_model_folder(kept, policy.model, policy.model.state_dict(), None)
        elif not kept.is_dir():
            bring_along(find_kept(setup.start, kept), kept)

    setup.world.of_main(keep)
    return source_at(setup.config, kept)


def find_kept(start: StartingPoint, kept: Path) -> Path:
    """The reference of the run that a checkpoint came from; DataError where it is not found."""
    checkpoint = start.checkpoint
    assert checkpoint is not None
    places = [run / REFERENCE for run in runs_behind(checkpoint, start.state.run)]
    found = next((place for place in places if place.is_dir()), None)
    if found is None:
        raise DataError(
            f"{checkpoint}: the reference model of its KL term is not in "
            f"{' or '.join(map(str, places))}; copy the folder {REFERENCE!r} of the run that began "
            f"with it to {kept}, or resume with --beta 0"
        )
    return found


def runs_behind(checkpoint: Path, written_in: str | None) -> Iterator[Path]:
    """The folders of the runs that a checkpoint comes from, the latest first."""
    todo = [checkpoint.parent, *([Path(written_in)] if written_in else [])]
    seen: set[Path] = set()
    while todo:
        run = todo.pop(0).resolve()
        if run in seen:
            continue
        seen.add(run)
        yield run
        config = RunDirectory(run).config
        resume = value_at(read_tree(config), ("checkpoint", "resume")) if config.is_file() else None
        if isinstance(resume, str) and resume != "auto":
            todo.append(Path(resume).parent)


def bring_along(source: Path, target: Path) -> None:
    """Make `target` a copy of a folder, by hard links where the file system has them."""

    def link(old: str, new: str) -> None:
        link_or_copy(Path(old), Path(new))

    work = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(source, work, copy_function=link)
    work.rename(target)


def check_same(model: PreTrainedModel, before: str | None, path: str) -> None:
    """DataError where a reference is not the model that the run began with."""
    now = fingerprint(model)
    dtypes = [(text or "").partition(":")[0] for text in (before, now)]
    if before is not None and dtypes[0] == dtypes[1] and before != now:
        raise DataError(
            f"{path} is not the model that this run began with, to which its KL term refers: its "
            "weights have changed; put that model back, or resume with --beta 0"
        )
