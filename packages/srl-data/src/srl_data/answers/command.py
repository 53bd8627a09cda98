"""Build splits of problems with answers: train, val and test, each with its manifest.

The files appear together, once all of them are written. Left out: what a row of each data set means
(`srl_data.answers.reading`) and where rows come from (`srl_data.answers.opening`).
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from srl_data.answers.choice import Choice, choose
from srl_data.answers.config import (
    Gsm8kConfig,
    MathConfig,
    NuminaMathConfig,
    SplitsConfig,
)
from srl_data.answers.math_folder import math500_prints
from srl_data.answers.opening import check_places, open_parts
from srl_data.answers.reading import Reader, boxed_gold, gsm8k_gold
from srl_data.answers.spool import RECORDS, Exclusions, Part, Spooled, Spooler, part_pass, spool
from srl_data.columns import columns_shown
from srl_data.command.errors import ConfigError, DataError
from srl_data.decontamination import (
    PAIRS,
    Benchmarks,
    add_benchmark,
    count_common,
    named_source,
    open_benchmarks,
)
from srl_data.files import atomic_writer, fsync_path, link_or_copy
from srl_data.listing import Listed
from srl_data.lock import FolderLock
from srl_data.manifest import BenchmarkOverlap, Manifest, with_manifests, write_manifest
from srl_data.passes.kept import kept_folder
from srl_data.records import PromptAnswer, parse_as
from srl_data.snapshot import RECORD
from srl_data.splits import check_outputs

OVERLAPS = "overlaps.jsonl"
"""The list of overlapping pairs."""
FILES = "files"
TRAIN, VAL, TEST = "train", "val", "test"
MATH500 = "math500"
OWN = (TEST, MATH500)
"""Names of a data set's own parts, to decontaminate against."""
PATHS = frozenset({"output_dir", "source", "cache_dir", "snapshot_dir", "workers"})
"""Options that a manifest leaves out: the source is recorded by what it is."""

PlacedLine = tuple[int, bytes]
"""A record as a line, with the place of its question."""

READERS: dict[type[SplitsConfig], tuple[str, Reader]] = {
    Gsm8kConfig: ("gsm8k", Reader("gsm8k", "answer", gsm8k_gold, "gsm8k")),
    MathConfig: ("math", Reader("math", "solution", boxed_gold, "math")),
    NuminaMathConfig: ("numinamath", Reader("numinamath", "solution", boxed_gold, "math")),
    SplitsConfig: ("answers", Reader("row")),
}
"""The command and the reader of each config."""


@dataclass
class Splitting:
    """What a build did."""

    benchmarks: Benchmarks
    choice: Choice = field(default_factory=Choice)
    excluded: dict[str, Exclusions] = field(default_factory=dict)
    """Rows of each part that give no record."""
    overlaps: dict[str, BenchmarkOverlap] = field(default_factory=dict)
    """What was left out of train, by evaluation set."""
    written: dict[Path, Manifest] = field(default_factory=dict)
    shared: dict[str, int] = field(default_factory=dict)
    """Records of one file whose question is in another, by both names."""
    skipped: Listed = field(default_factory=Listed)
    """Malformed rows of the source, found while the snapshot was taken."""


def build_splits(config: SplitsConfig) -> Splitting:
    """Write the files and their manifests.

    Raises ConfigError or DataError in one line; then no file of an earlier build has changed.
    """
    check_files(config)
    config.output_dir.mkdir(parents=True, exist_ok=True)
    lock = FolderLock()
    lock.take(config.output_dir)
    try:
        with building_folder(config.output_dir) as folder:
            return Build(config, folder).run()
    finally:
        lock.release()


def check_files(config: SplitsConfig) -> None:
    """ConfigError where a file of the build would take the place of what is read, or cannot be."""
    check_places(config)
    names = (f"{name}.jsonl" for name in (TRAIN, VAL, TEST, MATH500))
    files = with_manifests(config.output_dir / name for name in names)
    kept = [config.snapshot / name for name in (RECORD, f"{TRAIN}.jsonl")]
    others = [named_source(spec)[1] for spec in config.decontaminate if spec not in OWN]
    check_outputs([*files, config.output_dir / OVERLAPS, *kept], config.source, *others)


@contextmanager
def building_folder(output: Path) -> Iterator[Path]:
    """A folder whose `files` take their places in `output` together when the block ends well.

    What else is in it is there again for the run after a kill or an interrupt.
    """
    folder = output / ".building"
    files = folder / FILES
    with kept_folder(folder):
        shutil.rmtree(files, ignore_errors=True)
        files.mkdir(parents=True)
        yield folder
        remove_earlier(output)
        for path in sorted(files.iterdir()):
            path.replace(output / path.name)
        fsync_path(output)


def remove_earlier(output: Path) -> None:
    """Remove the files of an earlier build, told by their manifests."""
    for path in output.glob("*.manifest.json"):
        try:
            command = str(json.loads(path.read_bytes()).get("command"))
        except (ValueError, AttributeError):
            continue
        if command in {command_of(name) for name, _ in READERS.values()}:
            path.with_name(path.name.replace(".manifest.json", ".jsonl")).unlink(missing_ok=True)
            path.unlink()
            (output / OVERLAPS).unlink(missing_ok=True)


def command_of(name: str) -> str:
    """The command as manifests call it."""
    return f"srl-data build {name}"


class Build:
    """One build, into a folder."""

    def __init__(self, config: SplitsConfig, folder: Path) -> None:
        self.config, self.folder = config, folder
        self.name, self.reader = READERS[type(config)]
        self.apart = math500_prints() if isinstance(config, MathConfig) else frozenset()
        others = [name for name in config.decontaminate if name not in OWN]
        self.result = Splitting(open_benchmarks(others, config))
        self.parts, self.malformed = open_parts(config, self.result.skipped)
        self.questions: dict[str, set[int]] = {}
        if config.eval_n and VAL in self.parts.parts:
            raise ConfigError(
                f"{config.source} has a validation split of its own; leave --eval-n out (0)"
            )
        for name in config.decontaminate:
            self.check_own(name)

    def check_own(self, name: str) -> None:
        """ConfigError for a part of the data set's own that is not there to compare with."""
        if name == MATH500 and not self.apart:
            raise ConfigError("--decontaminate math500 is for build math; name a file instead")
        if name in OWN and TEST not in self.parts.parts:
            raise ConfigError(f"--decontaminate {name}: {self.config.source} has no test split")

    def run(self) -> Splitting:
        """Read each part, decide, write."""
        spools = {name: self.spool(name) for name in (TEST, VAL) if name in self.parts.parts}
        self.add_own(spools)
        spools[TRAIN] = self.spool(TRAIN)
        self.require_some(spools[TRAIN])
        self.result.overlaps = self.result.benchmarks.overlaps(spools[TRAIN].tally.counts)
        self.result.choice = choose(self.config, (at for at, _ in spools[TRAIN].places()))
        if self.config.decontaminate:
            link_or_copy(spools[TRAIN].paths[PAIRS], self.folder / FILES / OVERLAPS)
        for name, lines in self.files(spools):
            self.write(name, lines)
        return self.result

    def spool(self, name: str) -> Spooled:
        """Read one part's rows."""
        part, trains = Part(name, self.reader, self.config), name == TRAIN
        benchmarks = self.result.benchmarks if trains and self.config.decontaminate else None
        digest = benchmarks.digest if benchmarks else ""
        compares = benchmarks is not None
        work = part_pass(part, self.parts[name], self.folder, digest, pairs=compares)
        if benchmarks is not None:
            count_common(benchmarks, work, part.problem, self.folder)
        spooled = spool(work, Spooler(part, self.apart, benchmarks))
        self.result.excluded[name] = spooled.exclusions(self.malformed[name])
        return spooled

    def add_own(self, spools: Mapping[str, Spooled]) -> None:
        """Add those evaluation sets that are the data set's own."""
        found = self.result.benchmarks
        for name in self.config.decontaminate:
            if name not in OWN:
                continue
            records = (
                parse_as(PromptAnswer, line)
                for _, marked, line in spools[TEST].lines()
                if marked or name == TEST
            )
            add_benchmark(found.index, name, ((each.id, each.problem) for each in records))
            found.sources[name] = f"the {name} of {self.parts[TEST].origin.name}"

    def require_some(self, train: Spooled) -> None:
        """DataError where no training row gives a record."""
        if train.tally.counts.get(RECORDS):
            return
        first = next((row for _, row in self.parts[TRAIN].read("fail", lambda _: None)), None)
        if first is None:
            raise DataError(f"{self.config.source}: the split {TRAIN!r} holds no rows")
        counts = self.result.excluded[TRAIN].counts
        reasons = ", ".join(f"{name}: {n}" for name, n in counts.most_common())
        raise DataError(
            f"no row of {self.config.source} gives a problem with an answer ({reasons}); its "
            f"columns: {columns_shown(first)}; name them with --problem-field and "
            "--answer-field, --solution-field, or --messages-field"
        )

    def files(self, spools: Mapping[str, Spooled]) -> Iterator[tuple[str, Iterator[PlacedLine]]]:
        """The lines of each file, train's last."""
        choice = self.result.choice
        if TEST in spools:
            yield TEST, ((at, line) for at, _, line in spools[TEST].lines())
            if self.apart:
                yield MATH500, ((at, line) for at, marked, line in spools[TEST].lines() if marked)
        if VAL in spools:
            yield VAL, ((at, line) for at, _, line in spools[VAL].lines())
        train = spools[TRAIN].lines
        if self.config.eval_n:
            yield VAL, ((at, line) for at, _, line in train() if at in choice.held_out)
        yield TRAIN, ((at, line) for at, _, line in train() if choice.trains(at))

    def write(self, name: str, lines: Iterator[PlacedLine]) -> None:
        """One file and its manifest."""
        path, count = self.folder / FILES / f"{name}.jsonl", 0
        shared = {other: 0 for other in self.questions if (name, other) != (MATH500, TEST)}
        with atomic_writer(path) as file:
            for line in self.counted(name, lines, shared):
                file.write(line)
                count += 1
        self.result.shared |= {f"{name} and {other}": n for other, n in shared.items()}
        part = name if name in self.parts.parts else TEST if name == MATH500 else TRAIN
        exclusions = self.result.excluded[part]
        self.result.written[self.config.output_dir / path.name] = write_manifest(
            path,
            command=command_of(self.name),
            source=self.parts[part].origin,
            options=self.config.model_dump(mode="json", exclude=set(PATHS)),
            counts={
                "records_in_this_file": count,
                "rows_excluded": exclusions.counts.total(),
                **{f"also_in_{other}": n for other, n in shared.items()},
            },
            records=count,
            excluded=exclusions.ids,
            reasons=exclusions.counts,
            decontamination=self.result.overlaps if name == TRAIN else {},
        )

    def counted(
        self, name: str, lines: Iterator[PlacedLine], shared: dict[str, int]
    ) -> Iterator[bytes]:
        """The lines on their way to a file, their questions looked up in the files before.

        Train is written last: its questions need not be kept.
        """
        questions = self.questions.setdefault(name, set()) if name != TRAIN else None
        for place, line in lines:
            if questions is not None:
                questions.add(place)
            for other in shared:
                shared[other] += place in self.questions[other]
            yield line
