"""`srl-data dedupe`: of records that say the same, the first is kept.

The same is what is equal in the chosen columns, white space and the form of its Unicode aside. Two
passes: the first notes where each record came first, in an index on disk, the second writes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import Field

from srl_data.columns import name_of
from srl_data.command.config import Flag
from srl_data.command.errors import DataError
from srl_data.manifest import Manifest, with_manifests, write_manifest
from srl_data.passes.chunks import NumberedRow
from srl_data.passes.draft import Tally, holding
from srl_data.passes.index import KeyIndex, key_index, open_index
from srl_data.passes.indexing import Keys, fill_index, keys_of, record_key
from srl_data.passes.run import Pass, PassSection, run_pass
from srl_data.passes.workers import Outcome
from srl_data.question_columns import first_rows, identity_columns
from srl_data.records import OnError, encode_object
from srl_data.splits import check_outputs, open_source

COMMAND = "srl-data dedupe"
KEPT = "kept"


class DedupeConfig(PassSection):
    """Config of `srl-data dedupe`."""

    source: Annotated[str, Flag(aliases=("infile",))] = Field(min_length=1)
    """Records of any kind: a file (JSON, JSON Lines, CSV, Parquet, Arrow), a glob of shards, a
    folder, or a data set on the hub."""
    output: Annotated[Path, Flag(aliases=("outfile",))]
    """Where the records go that are kept, with a manifest beside."""
    revision: str | None = None
    """Commit, branch or tag of a hub data set."""
    by: tuple[str, ...] = ()
    """A column that is compared; give it once for each. Default: the question's (prompt, problem,
    question, instruction, messages) and those of its answer (response, content, completion,
    solution, target_step), as far as there are any."""
    on_error: OnError = "fail"


@dataclass(frozen=True)
class DedupeReport:
    """What was kept."""

    tally: Tally
    columns: tuple[str, ...]
    manifest: Manifest

    @property
    def duplicates(self) -> int:
        """Records that were left out."""
        return self.tally.left_out.get("duplicate", 0)


@dataclass(frozen=True)
class Deduper:
    """Lets the first of equal records through; the worker of the second pass."""

    index: KeyIndex
    columns: tuple[str, ...]

    def __call__(self, rows: Sequence[NumberedRow]) -> Outcome:
        """The records that came first, as lines."""
        outcome = Outcome()
        for position, row in rows:
            try:
                first = self.index.first(record_key(row, self.columns))
            except ValueError as error:
                outcome.refused.append((position, str(error)))
                continue
            if first == position:
                outcome.write(KEPT, encode_object(row))
                outcome.counts[KEPT] += 1
            else:
                outcome.leave_out("duplicate", name_of(row, f"row-{position:05d}"))
        return outcome


def open_deduper(path: Path, columns: tuple[str, ...]) -> Deduper:
    """The worker of one process."""
    return Deduper(open_index(path), columns)


def open_keys(columns: tuple[str, ...]) -> partial[Keys]:
    """The worker of the first pass."""
    return partial(keys_of, key=partial(record_key, columns=columns))


def require_some(tally: Tally) -> None:
    """DataError where nothing would be written."""
    if not tally.counts.get(KEPT):
        bad = tally.skipped.first
        why = f": all {tally.taken} rows were skipped; {bad[0]}" if bad else ""
        raise DataError(f"no records{why}; nothing is written")


def dedupe(config: DedupeConfig) -> DedupeReport:
    """Write the records that came first, with a manifest; DataError at the first bad row."""
    check_outputs(with_manifests([config.output]), config.source)
    source = open_source(config.source, config.revision)
    rows = first_rows(source, config.on_error)
    columns = config.by or identity_columns(source, rows, "--by")
    options = config.model_dump(mode="json", exclude={"source", "output", "workers"})
    options |= {"by": list(columns)}
    with key_index(config.output) as index:
        with holding(config.output):
            fill_index(index, source, config.on_error, config.workers, partial(open_keys, columns))
        paths = {KEPT: config.output}
        work = Pass(COMMAND, source, paths, options, config.on_error, config.workers)
        tally = run_pass(work, partial(open_deduper, index.path, columns), require_some)
    kept, reasons = tally.counts.get(KEPT, 0), tally.reasons
    manifest = write_manifest(
        config.output,
        command=COMMAND,
        source=source.origin,
        options=options,
        counts={"rows_read": tally.taken, "rows_skipped": tally.skipped.count, KEPT: kept},
        records=kept,
        reasons=reasons,
        excluded=tally.named,
    )
    return DedupeReport(tally, columns, manifest)
