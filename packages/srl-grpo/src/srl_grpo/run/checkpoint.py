"""Checkpoints: written beside, verified, renamed; a folder without a good manifest is none.

`step_N/` is a plain transformers folder; `trainer/` inside it holds what continues the run. The
manifest, with sizes and SHA-256 of every file, is written last. Nothing is unpickled freely: see
`srl_grpo.learner.engine`. Left out: when to write one.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import PreTrainedTokenizerBase

from srl_data.command.errors import CommandError, ConfigError, DataError
from srl_data.files import fsync_path, sha256_file, write_json, write_text
from srl_data.prompt_record import PromptRecord, write_record
from srl_grpo.config.sections import CheckpointSection
from srl_grpo.learner.distributed import World
from srl_grpo.learner.engine import TrainingEngine
from srl_grpo.learner.finite import check_savable
from srl_grpo.learner.model_folder import open_to_umask, save_model_folder
from srl_grpo.run.inputs import Inputs
from srl_grpo.run.resume import FINAL, MANIFEST, ROUNDS, STEP_NAME, is_checkpoint_path

TRAINER = "trainer"
STATE = "state.json"
BEST = "best.json"

Note = Callable[[str], None]
"""Shows a line to the user."""


class FileEntry(BaseModel):
    """Size and checksum of one file of a checkpoint."""

    model_config = ConfigDict(extra="forbid")
    bytes: int = Field(ge=0)
    sha256: str


class Manifest(BaseModel):
    """Every file of a checkpoint, by its path inside."""

    model_config = ConfigDict(extra="forbid")
    step: int = Field(ge=0)
    files: dict[str, FileEntry]


class TrainerState(BaseModel):
    """The counters that continue a run; all randomness is a function of them and the seed."""

    model_config = ConfigDict(extra="forbid")
    step: int = Field(default=0, ge=0)
    """Batches done."""
    num_tokens: int = Field(default=0, ge=0)
    """Tokens generated or, by a stage that generates none, trained on."""
    updates: int = Field(default=0, ge=0)
    """Steps that changed the weights."""
    stage: str = ""
    """The stage that trains, by its name."""
    stage_state: dict[str, object] = Field(default_factory=dict)
    """What the stage remembers: written and read by it alone."""
    best_step: int | None = None
    best_metric: str = "eval/reward"
    best_value: float | None = None
    inputs: Inputs | None = None
    """Data and model that the run began with."""
    start: str | None = None
    """Fingerprint of the policy that the run began with; see `srl_grpo.run.reference`."""
    run: str | None = None
    """The run's folder, where the checkpoint was written."""
    world_size: int = Field(default=1, ge=1)
    zero_stage: int = Field(default=0, ge=0, le=3)


def step_folder(run: Path, step: int, stage: str = "") -> Path:
    """Where the checkpoint of `step` stands, or where `stage` is to write it."""
    of_round = run / f"ei_step_{step}"
    return of_round if stage == ROUNDS or of_round.is_dir() else run / f"step_{step}"


def save_checkpoint(
    run: Path,
    engine: TrainingEngine,
    tokenizer: PreTrainedTokenizerBase,
    prompts: PromptRecord,
    state: TrainerState,
    world: World,
    parts: Sequence[Callable[[Path], None]] = (),
) -> Path:
    """Write `step_N/` of `run`; on return it is whole and durable. Collective.

    `parts` write on rank 0 what else continues the run, into its `trainer/`. An interrupted or
    failed write leaves only a `.tmp` folder, which the next write removes.
    """
    weights = engine.model_state()
    kept = world.from_main(max(steps_of(run), default=0))
    check_savable(engine, weights, state.step, kept, world)
    final = step_folder(run, state.step, state.stage)
    work = final.with_name(f".{final.name}.tmp")
    if world.is_main:
        for left in run.glob(".*step_*.tmp"):
            shutil.rmtree(left, ignore_errors=True)
        (work / TRAINER).mkdir(parents=True)
    world.barrier()
    with disk_errors(work):
        if world.is_main:
            write_model(work, engine, weights, tokenizer, prompts)
            write_text(work / TRAINER / STATE, state.model_dump_json(indent=2) + "\n")
            for part in parts:
                part(work / TRAINER)
        save_random_state(work / TRAINER / f"random_{world.rank}.safetensors")
        engine.save(work / TRAINER)
    world.barrier()
    if world.is_main:
        open_to_umask(work)
        seal(work, state.step)
        replace_folder(work, final)
    world.barrier()
    return final


def replace_folder(work: Path, final: Path) -> None:
    """Move `work` to `final`; what stood there goes only after that."""
    aside = final.with_name(f".{final.name}.old")
    shutil.rmtree(aside, ignore_errors=True)
    if final.exists():
        final.rename(aside)
    work.rename(final)
    fsync_path(final.parent)
    shutil.rmtree(aside, ignore_errors=True)


def rewind(run: Path, state: TrainerState, options: CheckpointSection) -> None:
    """Rename checkpoints after the state's step: a run resumed from it would write them anew.

    They stay loadable under their new names, no `--resume auto` finds them, and `best.json` names
    the best step up to there.
    """
    (run / BEST).unlink(missing_ok=True)
    if not options.save_final_only:
        mark_best(run, state)
    for later in steps_of(run):
        if later > state.step:
            folder = step_folder(run, later)
            put_aside(folder)
    final = run / FINAL
    if (final / MANIFEST).is_file() and read_manifest(final).step > state.step:
        put_aside(final)


def put_aside(folder: Path) -> None:
    """Rename a checkpoint so that no run is resumed from it."""
    aside = folder.with_name(f"abandoned_{folder.name}")
    shutil.rmtree(aside, ignore_errors=True)
    folder.rename(aside)


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """One clear line where writing fails; safetensors and torch have errors of their own for it."""
    try:
        yield
    except (SafetensorError, OSError, RuntimeError) as error:
        marks = ("StreamWriter", "inline_container", "iostream")
        if isinstance(error, RuntimeError) and not any(mark in str(error) for mark in marks):
            raise  # only torch's file writer reports a full disk as a RuntimeError
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CommandError(
            f"cannot write the checkpoint {folder}: {reason}; free some space, then continue from "
            "the one before with --resume auto"
        ) from error


def write_model(
    folder: Path,
    engine: TrainingEngine,
    weights: dict[str, torch.Tensor],
    tokenizer: PreTrainedTokenizerBase,
    prompts: PromptRecord,
) -> None:
    """The transformers part: config, safetensors, tokenizer; and how the model was prompted."""
    save_model_folder(folder, engine.policy.model, weights, tokenizer)
    write_record(folder, prompts)


def save_random_state(path: Path) -> None:
    """torch's generators; unused by the loop, whose draws are counter-based, kept all the same."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    save_file(states, path)


def load_random_state(path: Path) -> None:
    """Restore what `save_random_state` wrote."""
    try:
        states = load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path}: cannot read the random state: {error}") from error
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])


def seal(folder: Path, step: int) -> None:
    """Flush every file to disk and write the manifest over them."""
    entries = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        fsync_path(path)
        entries[path.relative_to(folder).as_posix()] = FileEntry(
            bytes=path.stat().st_size, sha256=sha256_file(path)
        )
    manifest = Manifest(step=step, files=entries)
    write_text(folder / MANIFEST, manifest.model_dump_json(indent=2) + "\n")


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a checkpoint folder; DataError saying why the folder is not a checkpoint."""
    path = folder / MANIFEST
    if not folder.is_dir():
        raise DataError(f"no checkpoint folder at {folder}")
    if not path.is_file():
        raise DataError(
            f"{folder} is not a checkpoint: it has no {MANIFEST} (was its writing cut short?)"
        )
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise DataError(f"{path} is damaged: {error.errors()[0]['msg']}") from error


def verify(folder: Path, contents: bool = True) -> Manifest:
    """Check a checkpoint against its manifest; DataError naming the first file that differs.

    Args:
        folder: a `step_N/` folder.
        contents: whether to compare checksums too, or only names and sizes.
    """
    manifest = read_manifest(folder)
    for name, entry in manifest.files.items():
        path = folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise DataError(f"{folder / MANIFEST} names a file outside the checkpoint: {name!r}")
        if not path.is_file():
            raise DataError(f"{folder} is not a whole checkpoint: {name} is missing")
        size = path.stat().st_size
        if size != entry.bytes:
            raise DataError(f"{folder}: {name} has {size} bytes, the manifest says {entry.bytes}")
        if contents and sha256_file(path) != entry.sha256:
            raise DataError(f"{folder}: {name} does not match its checksum")
    return manifest


def begun_steps(run: Path) -> list[int]:
    """Steps with a checkpoint folder in a run folder, whole or not, ascending."""
    paths = run.iterdir() if run.is_dir() else ()
    matches = [STEP_NAME.fullmatch(path.name) for path in paths if path.is_dir()]
    return sorted(int(match.group(1)) for match in matches if match)


def steps_of(run: Path) -> list[int]:
    """Steps with a sealed checkpoint in a run folder, ascending; contents are not read."""
    return [step for step in begun_steps(run) if (step_folder(run, step) / MANIFEST).is_file()]


def newest(run: Path, note: Note = lambda _text: None) -> Path | None:
    """The newest checkpoint of a run that verifies, or None; `note` hears of those passed over."""
    for step in sorted(begun_steps(run), reverse=True):
        folder = step_folder(run, step)
        try:
            verify(folder)
        except DataError as error:
            note(f"passed over: {error}")
            continue
        return folder
    return None


def whole_final(run: Path) -> Path | None:
    """The `final/` of a run that kept no other checkpoint; DataError where it is damaged."""
    folder = run / FINAL
    if not (folder / MANIFEST).is_file():
        return None
    verify(folder)
    return folder


def find_resume(
    resume: str, output_dir: Path | None, note: Note = lambda _text: None
) -> Path | None:
    """The checkpoint behind `--resume`; None for "auto" where there is none yet.

    `note` hears of damaged checkpoints that were passed over. Raises DataError if a named folder
    is neither a good checkpoint nor a run that holds one.
    """
    if resume == "auto":
        if output_dir is None:
            raise ConfigError("--resume auto needs --output-dir, to know where to look")
        found = newest(output_dir, note)
        sealed = steps_of(output_dir)
        if found is None and sealed:
            verify(step_folder(output_dir, sealed[-1]))  # says what is wrong with it
        return found or whole_final(output_dir)
    folder = Path(resume)
    if is_checkpoint_path(folder):
        verify(folder)
        return folder
    found = newest(folder, note) or whole_final(folder)
    if found is None:
        raise DataError(f"--resume {resume}: neither a checkpoint nor a run folder that holds one")
    return found


def read_state(folder: Path) -> TrainerState:
    """The counters of a checkpoint."""
    path = folder / TRAINER / STATE
    try:
        return TrainerState.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise DataError(f"{path}: cannot read the trainer's state: {error}") from error


def check_fit(folder: Path, state: TrainerState, zero_stage: int, world_size: int) -> None:
    """ConfigError where a checkpoint's shards are not those of this run."""
    for name, was, now in (
        ("--zero-stage", state.zero_stage, zero_stage),
        ("the number of processes", state.world_size, world_size),
    ):
        if was != now:
            raise ConfigError(f"{folder} was written with {name} {was}, this run has {now}")


def load_checkpoint(folder: Path, engine: TrainingEngine, world: World) -> None:
    """Restore engine and random state. Collective; `check_fit` must have passed."""
    engine.load(folder / TRAINER)
    load_random_state(folder / TRAINER / f"random_{world.rank}.safetensors")


def mark_best(run: Path, state: TrainerState) -> None:
    """Write `best.json`: the best checkpoint by the held-out metric, if any was evaluated."""
    if state.best_step is None:
        return
    best = {"step": state.best_step, "metric": state.best_metric, "value": state.best_value}
    folder = step_folder(run, state.best_step, state.stage)
    write_json(run / BEST, {**best, "path": folder.name})


def keep_checkpoints(run: Path, state: TrainerState, options: CheckpointSection) -> None:
    """After a checkpoint: name the best one, and remove those that the config does not keep."""
    if options.save_final_only:
        prune(run, 1, None)
        return
    mark_best(run, state)
    prune(run, options.keep_last, state.best_step)


def prune(run: Path, keep_last: int | None, best_step: int | None) -> None:
    """Remove all but the newest `keep_last` checkpoints and the best one."""
    if keep_last is None:
        return
    for step in steps_of(run)[:-keep_last]:
        if step != best_step:
            remove_checkpoint(step_folder(run, step))


def remove_checkpoint(folder: Path) -> None:
    """Remove a checkpoint, its manifest first: a half-removed folder is not a checkpoint."""
    (folder / MANIFEST).unlink()
    shutil.rmtree(folder)
