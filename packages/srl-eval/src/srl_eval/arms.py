"""Which finished runs stand side by side: one group per task, in the order they were named.

What is named is a run's folder, or a folder with several runs of one model in it, as a suite
writes. Left out: what the runs scored (`compare.py`).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from srl_data.command.errors import DataError
from srl_eval.finished import FinishedRun, read_run


@dataclass(frozen=True)
class Named:
    """A finished run, and the folder under which it was named."""

    argument: Path
    run: FinishedRun


@dataclass(frozen=True)
class Group:
    """Runs of one task, the first of which the others are compared with."""

    names: list[str]
    runs: list[FinishedRun]


def read_named(folders: Sequence[Path]) -> list[Named]:
    """The runs in each folder; DataError where one holds none."""
    return [Named(folder, read_run(path)) for folder in folders for path in run_folders(folder)]


def run_folders(folder: Path) -> list[Path]:
    """The folder itself where it holds a run, else those within that do, by name."""
    if (folder / "run.json").exists():
        return [folder]
    found = sorted(path.parent for path in folder.rglob("run.json"))
    if not found:
        raise DataError(
            f"{folder} holds no run of srl-eval: no run.json in it or in the folders within"
        )
    return found


def groups(named: Sequence[Named]) -> tuple[list[Group], list[str]]:
    """Groups of at least two runs, and a line on each run that has no other to stand beside.

    Runs of a task are one group whatever their modes, unless a folder holds several of them; then
    each mode is a group. Raises DataError where there is no group.
    """
    several = repeated_tasks(named)
    by_key: dict[tuple[str, ...], list[Named]] = {}
    for each in named:
        task = each.run.task
        key = (task, each.run.mode) if task in several else (task,)
        by_key.setdefault(key, []).append(each)
    found = [group_of(members) for members in by_key.values() if len(members) > 1]
    if not found:
        tasks = ", ".join(sorted(" ".join(key) for key in by_key))
        raise DataError(f"runs of different tasks cannot be compared: {tasks}")
    alone = [
        f"{members[0].run.folder} is the only run of {' '.join(key)} and is left out"
        for key, members in by_key.items()
        if len(members) == 1
    ]
    return found, alone + missing_notes(by_key)


def repeated_tasks(named: Sequence[Named]) -> set[str]:
    """Tasks of which one folder that was named holds several runs."""
    counts = Counter((each.argument, each.run.task) for each in named if is_within(each))
    return {task for (_, task), count in counts.items() if count > 1}


def is_within(each: Named) -> bool:
    """Whether a run lies in a folder of several, in the place of being named itself."""
    return each.run.folder != each.argument


def group_of(members: Sequence[Named]) -> Group:
    """The members under the names of their folders, or of their own where a folder has several."""
    counts = Counter(each.argument for each in members if is_within(each))
    paths = [each.argument if counts[each.argument] == 1 else each.run.folder for each in members]
    return Group(short_names(paths), [each.run for each in members])


def missing_notes(by_key: dict[tuple[str, ...], list[Named]]) -> list[str]:
    """A line on each group that the first folder of several has no part in."""
    first = next(iter(by_key.values()))[0]
    if not is_within(first):
        return []
    return [
        f"{first.argument} has no run of {' '.join(key)}: differences are to {members[0].argument}"
        for key, members in by_key.items()
        if len(members) > 1 and members[0].argument != first.argument
    ]


def short_names(folders: Sequence[Path]) -> list[str]:
    """Folder names without what they all begin and end with."""
    parts = [folder.resolve().parts for folder in folders]
    shortest = min(map(len, parts)) - 1
    head = next((n for n in range(shortest) if len({p[n] for p in parts}) > 1), shortest)
    parts = [part[head:] for part in parts]
    shortest = min(map(len, parts)) - 1
    tail = next((n for n in range(shortest) if len({p[-1 - n] for p in parts}) > 1), shortest)
    return [str(Path(*part[: len(part) - tail])) for part in parts]
