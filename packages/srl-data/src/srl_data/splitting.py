"""`srl-data split`: records into a part to train on and a held-out one, by whole questions.

Held out are the questions whose hash with the seed is smallest, so that a question's place does not
depend on the rows around it, and all of its records go the same way. Two passes: the first notes
the questions in an index on disk, the second writes.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from srl_data.columns import value_with_meta
from srl_data.command.config import Flag
from srl_data.command.errors import ConfigError, DataError
from srl_data.file_formats import is_data_name, split_name
from srl_data.manifest import Manifest, with_manifests, write_manifest
from srl_data.passes.chunks import NumberedRow
from srl_data.passes.draft import Tally, holding
from srl_data.passes.index import KeyIndex, key_index, open_index
from srl_data.passes.indexing import Keys, fill_index, group_of, keys_of, question_key
from srl_data.passes.run import Pass, PassSection, run_pass
from srl_data.passes.workers import Outcome
from srl_data.question_columns import first_rows, question_column
from srl_data.records import OnError, encode_object
from srl_data.sources import RowSource
from srl_data.splits import check_outputs, is_glob, open_source

COMMAND = "srl-data split"
TRAIN, VAL, FILTERED = "train", "val", "train_filtered"
FRACTION = 0.05


class SplitConfig(PassSection):
    """Config of `srl-data split`."""

    source: Annotated[str, Flag(aliases=("infile",))] = Field(min_length=1)
    """Pairs, or records of any kind with a question: a file (JSON, JSON Lines, CSV, Parquet,
    Arrow), a glob, a folder, or a data set on the hub."""
    output: Annotated[Path | None, Flag(aliases=("outfile",))] = None
    """The name from which those of the parts are made: sft.jsonl gives sft_train.jsonl,
    sft_val.jsonl and sft_train_filtered.jsonl. Default: the source's own, where that is a file."""
    revision: str | None = None
    """Commit, branch or tag of a hub data set."""
    val_size: int | None = Field(default=None, ge=1)
    """Questions held out. Default: 5 % of them."""
    val_fraction: float | None = Field(default=None, gt=0, lt=1)
    """The share of the questions that is held out, in place of a number."""
    question_field: str | None = None
    """The column that tells questions apart. Default: prompt, problem, question, instruction or
    messages, the first that there is."""
    stratify: str | None = None
    """A column, of the record or its meta, such as level: of each of its values the same share of
    questions is held out."""
    filtered: bool | None = None
    """Also write the records to train on that are graded correct. Default: where srl-data grade
    has marked records."""
    seed: int = 42
    """Decides which questions are held out."""
    on_error: OnError = "fail"

    @model_validator(mode="after")
    def _one_size(self) -> "SplitConfig":
        if self.val_size is not None and self.val_fraction is not None:
            raise ValueError("--val-size and --val-fraction both say how much; give one of them")
        return self


@dataclass(frozen=True)
class SplitReport:
    """What was written, and what is in it."""

    tally: Tally
    questions: Mapping[str, int]
    """Questions of each stratum."""
    held_out: Mapping[str, int]
    """Those of them that are held out."""
    written: Mapping[Path, Manifest]
    stale: Path | None = None
    """A file of an earlier split, which this one did not write."""


def part_paths(config: SplitConfig) -> dict[str, Path]:
    """Where the parts go; ConfigError where the source is no file to name them by."""
    base = config.output or Path(config.source)
    if config.output is None and (base.is_dir() or is_glob(base) or not is_data_name(base)):
        raise ConfigError(
            f"--source {config.source} is not one file, whose name the parts could take; give "
            "--output NAME.jsonl"
        )
    if base.name in ("", ".."):
        raise ConfigError(f"{base} is a folder; give --output NAME.jsonl")
    stem = split_name(base)[0] if config.output is None else base.name.removesuffix(".jsonl")
    paths = {name: base.with_name(f"{stem}_{name}.jsonl") for name in (TRAIN, VAL, FILTERED)}
    check_outputs(with_manifests(paths.values()), config.source)
    return paths


def wanted(config: SplitConfig, questions: int) -> int:
    """How many questions are held out; ConfigError where none would be left to train on."""
    fraction = config.val_fraction or FRACTION
    size = config.val_size or max(1, round(fraction * questions))
    if size >= questions:
        raise ConfigError(
            f"{size} questions held out leave nothing to train on: there are {questions}; give a "
            "smaller --val-size"
        )
    return size


def shares(groups: Mapping[str, int], size: int) -> dict[str, int]:
    """How many of each group's questions are held out: in proportion, `size` in all.

    What rounding leaves over goes to the largest remainders.
    """
    total = sum(groups.values())
    exact = {name: size * count / total for name, count in groups.items()}
    found = {name: int(share) for name, share in exact.items()}
    by_rest = sorted(groups, key=lambda name: (found[name] - exact[name], name))
    for name in by_rest[: size - sum(found.values())]:
        found[name] += 1
    return found


@dataclass(frozen=True)
class Splitter:
    """Puts each record into its part; the worker of the second pass."""

    index: KeyIndex
    column: str
    config: SplitConfig
    filtered: bool

    def __call__(self, rows: Sequence[NumberedRow]) -> Outcome:
        """The records as lines of their parts."""
        outcome = Outcome()
        for position, row in rows:
            try:
                if self.config.stratify is not None:
                    group_of(row, self.config.stratify)
                held = self.index.is_held_out(question_key(row, self.column, self.config.seed))
            except ValueError as error:
                outcome.refused.append((position, str(error)))
                continue
            names = [VAL if held else TRAIN]
            if self.filtered and not held and value_with_meta(row, "exact") is True:
                names.append(FILTERED)
            line = encode_object(row)
            for name in names:
                outcome.write(name, line)
                outcome.counts[name] += 1
        return outcome


def open_splitter(path: Path, column: str, config: SplitConfig, *, filtered: bool) -> Splitter:
    """The worker of one process."""
    return Splitter(open_index(path), column, config, filtered)


def split(config: SplitConfig) -> SplitReport:
    """Write the parts with their manifests.

    Raises DataError at the first row without a question, ConfigError where nothing would be left
    to train on.
    """
    paths = part_paths(config)
    source = open_source(config.source, config.revision)
    rows = first_rows(source, config.on_error)
    column = config.question_field or question_column(source, rows, "--question-field")
    with held_out_index(config, source, column, paths) as found:
        index, groups, sizes, graded = found
        filtered = graded > 0 if config.filtered is None else config.filtered
        left = None if filtered else paths.pop(FILTERED)
        options = config.model_dump(mode="json", exclude={"source", "output", "workers"})
        options |= {"question_field": column, "filtered": filtered}
        options |= {"val_size": sum(sizes.values()), "val_fraction": None}
        unused = () if left is None else (left,)
        work = Pass(COMMAND, source, paths, options, config.on_error, config.workers, unused=unused)
        opened = partial(open_splitter, index.path, column, config, filtered=filtered)
        tally = run_pass(work, opened, partial(check, filtered=filtered))
    written = {
        path: write_manifest(
            path,
            command=COMMAND,
            source=source.origin,
            options=options,
            counts={
                "rows_read": tally.taken,
                "rows_skipped": tally.skipped.count,
                "questions": sum(groups.values()),
                "questions_held_out": sum(sizes.values()),
                **{f"records_{part}": tally.counts.get(part, 0) for part in paths},
                **{f"held out of {name}": count for name, count in sizes.items() if name},
            },
            records=tally.counts.get(name, 0),
        )
        for name, path in paths.items()
    }
    stale = left if left is not None and left.exists() else None
    return SplitReport(tally, groups, sizes, written, stale)


@contextmanager
def held_out_index(
    config: SplitConfig, source: RowSource, column: str, paths: Mapping[str, Path]
) -> Iterator[tuple[KeyIndex, dict[str, int], dict[str, int], int]]:
    """The questions, some of them held out, with their numbers by stratum, and graded records."""
    with key_index(paths[TRAIN]) as index:
        opened = partial(open_keys, column, config.seed, config.stratify)
        with holding(paths[TRAIN]):
            graded = fill_index(index, source, config.on_error, config.workers, opened)
        groups = index.groups()
        sizes = shares(groups, wanted(config, sum(groups.values())))
        for name, size in sizes.items():
            index.hold_out(name, size)
        yield index, groups, sizes, graded


def open_keys(column: str, seed: int, group: str | None) -> partial[Keys]:
    """The worker of the first pass."""
    return partial(keys_of, key=partial(question_key, column=column, seed=seed), group=group)


def check(tally: Tally, *, filtered: bool) -> None:
    """DataError where the records that are graded correct are asked for and there are none."""
    if filtered and not tally.counts.get(FILTERED):
        raise DataError(
            f"none of the {tally.counts.get(TRAIN, 0)} records to train on is graded correct; see "
            "to the grades, or give --no-filtered"
        )
