"""The weights that a run began with, kept in its folder for rounds that train from them again.

As the engine's own state, optimizer included, so that the process, the model and the engine stay
and every ZeRO stage comes back exactly.
"""

import shutil

from srl_data.command.errors import DataError
from srl_data.files import fsync_path
from srl_grpo.config.run import RunConfig
from srl_grpo.learner.engine import TrainingEngine
from srl_grpo.run.checkpoint import replace_folder
from srl_grpo.run.directory import RunDirectory
from srl_grpo.run.reference import bring_along, runs_behind
from srl_grpo.run.session import Session
from srl_grpo.run.start import StartingPoint

BASE = "base"
"""Where it lies."""


def keep_base(session: Session[RunConfig]) -> None:
    """Write the base of a fresh run; see that a resumed one has it. Collective."""
    folder, start = session.directory.path / BASE, session.setup.start
    if start.checkpoint is not None:
        session.world.of_main(lambda: find_base(session.directory, start))
        return
    work = folder.with_name(f".{BASE}.tmp")
    if session.world.is_main:
        for left in (work, folder):  # of a run that ended before its first checkpoint
            shutil.rmtree(left, ignore_errors=True)
        work.mkdir()
    session.world.barrier()
    session.engine.save(work)
    session.world.barrier()
    if session.world.is_main:
        for path in work.rglob("*"):
            fsync_path(path)
        replace_folder(work, folder)
    session.world.barrier()


def find_base(directory: RunDirectory, start: StartingPoint) -> None:
    """Bring the base along where a run is continued in another folder; DataError without one."""
    kept = directory.path / BASE
    if kept.is_dir():
        return
    assert start.checkpoint is not None
    places = [run / BASE for run in runs_behind(start.checkpoint, start.state.run)]
    found = next((place for place in places if place.is_dir()), None)
    if found is None:
        raise DataError(
            f"{start.checkpoint}: the weights that its run began with are not in "
            f"{' or '.join(map(str, places))}; resume with --start-from last, or begin another run"
        )
    bring_along(found, kept)


def return_to_base(engine: TrainingEngine, directory: RunDirectory) -> None:
    """Put weights and optimizer back to what they were when the run began. Collective."""
    engine.load(directory.path / BASE)
