"""`srl-data grade FILE`: score each record's completion with a reward; mark all or keep the good.

It streams: some chunks of records at a time are in memory. What becomes of a record is
`srl_data.grader`'s.
"""

import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

from srl_data.command.errors import ConfigError, DataError
from srl_data.command.progress import Meter, meter
from srl_data.files import is_stream, result_writer
from srl_data.grade_config import GradeConfig
from srl_data.grader import GRADED, Grader
from srl_data.listing import Listed
from srl_data.manifest import with_manifests, write_manifest
from srl_data.passes.draft import Tally
from srl_data.passes.run import Pass, run_pass, stream_pass
from srl_data.sources import RowSource
from srl_data.splits import check_outputs, open_source
from srl_reward import REWARDS

COMMAND = "srl-data grade"
REASON = "reason "


@dataclass(frozen=True)
class Grades:
    """What one pass over a file found."""

    tally: Tally

    @property
    def skipped(self) -> Listed:
        """A line for each bad record that was left out."""
        return self.tally.skipped

    @property
    def counts(self) -> dict[str, int]:
        """Every count, for the manifest."""
        found = self.tally.counts
        first = {name: found.get(name, 0) for name in ("read", "graded", "exact", "written")}
        reasons = {name: found[name] for name in sorted(found) if name.startswith(REASON)}
        return {**first, "skipped": self.skipped.count, **reasons}

    @property
    def summary(self) -> str:
        """One line for the user."""
        counts, found = self.counts, self.tally.counts
        read, graded, exact = counts["read"], counts["graded"], counts["exact"]
        if not graded:
            return f"{read} records read, none graded: the reward applies to none of them"
        common = sorted(counts.items(), key=lambda item: -item[1])
        reasons = ", ".join(
            f"{name.removeprefix(REASON)} {count}"
            for name, count in common
            if name in found and name.startswith(REASON)
        )
        return (
            f"{graded} of {read} records graded: mean reward {self.tally.total / graded:.4f}, "
            f"exact {exact / graded:.1%}, {counts['written']} written"
            f"{f'; {reasons}' if reasons else ''}"
        )


def grade(config: GradeConfig) -> Grades:
    """Grade the file and write what `mode` asks for.

    Raises:
        ConfigError: the reward or an option of it is unknown.
        DataError: at the first record that cannot be graded (with `on_error` "fail"), or where
            there is none.
    """
    if config.min_reward is not None and config.mode == "mark":
        raise ConfigError("--min-reward selects records: give --mode keep with it")
    if config.output is not None and not is_stream(config.output):
        check_outputs(with_manifests([config.output]), config.file)
    source = open_source(config.file)
    Grader(config)  # before anything is read or written
    options = config.model_dump(mode="json", exclude={"file", "output", "workers"})
    paths = {} if config.output is None else {GRADED: config.output}
    work = Pass(
        command=COMMAND,
        source=source,
        paths=paths,
        options=options,
        on_error=config.on_error,
        workers=config.workers,
        resumable=config.reward in REWARDS,  # a function of the user's may change meanwhile
    )
    opened, check = partial(Grader, config), partial(check_read, config)
    if config.output is None or is_stream(config.output):
        with result_writer(config.output) as sink, shown_progress(config, source) as progress:
            return Grades(stream_pass(work, opened, sink, progress, check))
    grades = Grades(run_pass(work, opened, check))
    write_manifest(
        config.output,
        command=COMMAND,
        source=source.origin,
        options=options,
        counts=grades.counts,
        records=grades.counts["written"],
    )
    return grades


def check_read(config: GradeConfig, tally: Tally) -> None:
    """DataError where there was nothing to grade."""
    if not tally.counts.get("read"):
        raise DataError(f"{config.file}: no record to grade; expected one JSON object per line")


def shown_progress(config: GradeConfig, source: RowSource) -> AbstractContextManager[Meter]:
    """A meter on standard error; none on a terminal that takes the records themselves."""
    if config.output is None and sys.stdout is not None and sys.stdout.isatty():
        return nullcontext(Meter("grade", None, "rows"))
    return meter("grade", source.count(), "rows")
