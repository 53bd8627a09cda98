"""Build splits of problems with answers: train, val and test, each with its manifest.

The files appear together, once all of them are written. Left out: what a row of each data set means
(`srl_data.answers.reading`) and where rows come from (`srl_data.answers.opening`).
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from srl_data.answers.config import (
    Gsm8kConfig,
    MathConfig,
    NuminaMathConfig,
    SplitsConfig,
)
from srl_data.answers.math_folder import math500_print, math500_prints
from srl_data.answers.opening import open_parts
from srl_data.answers.reading import Reader, boxed_gold, gsm8k_gold
from srl_data.answers.survey import Exclusions, Part, Survey, question_place, survey
from srl_data.command.errors import ConfigError
from srl_data.decontamination import Contamination, add_benchmark, open_benchmarks
from srl_data.files import atomic_writer, fsync_path
from srl_data.lock import FolderLock
from srl_data.manifest import Manifest, write_manifest
from srl_data.overlap import whole_text
from srl_data.records import PromptAnswer, encode_object, write_records
from srl_data.splits import Splits

PAIRS = "overlaps.jsonl"
"""The list of overlapping pairs."""
TEST = "test"
MATH500 = "math500"
OWN = (TEST, MATH500)
"""Names of a data set's own parts, to decontaminate against."""
PATHS = frozenset({"output_dir", "source", "cache_dir", "snapshot_dir"})
"""Options that a manifest leaves out: the source is recorded by what it is."""

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

    survey: Survey
    contamination: Contamination
    test: Exclusions = field(default_factory=Exclusions)
    """Rows of the test split that give no record."""
    written: dict[Path, Manifest] = field(default_factory=dict)
    shared: dict[str, int] = field(default_factory=dict)
    """Records of one file whose question is in another, by both names."""
    skipped: list[str] = field(default_factory=list)
    """Malformed rows of the source, found while the snapshot was taken."""


def build_splits(config: SplitsConfig) -> Splitting:
    """Write the files and their manifests.

    Raises ConfigError or DataError in one line; then no file of an earlier build has changed.
    """
    config.output_dir.mkdir(parents=True, exist_ok=True)
    lock = FolderLock()
    lock.take(config.output_dir)
    try:
        with building_folder(config.output_dir) as folder:
            return Build(config, folder).run()
    finally:
        lock.release()


@contextmanager
def building_folder(output: Path) -> Iterator[Path]:
    """A folder whose files take their places in `output` together when the block ends well."""
    folder = output / ".building"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
        remove_earlier(output)
        for path in sorted(folder.iterdir()):
            path.replace(output / path.name)
        fsync_path(output)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
            (output / PAIRS).unlink(missing_ok=True)


def command_of(name: str) -> str:
    """The command as manifests call it."""
    return f"srl-data build {name}"


class Build:
    """One build, into a folder."""

    def __init__(self, config: SplitsConfig, folder: Path) -> None:
        self.config, self.folder = config, folder
        self.name, self.reader = READERS[type(config)]
        self.result = Splitting(Survey(), Contamination(config.index()))
        self.parts, self.malformed = open_parts(config, self.result.skipped.append)
        self.train = self.part("train")
        self.apart = math500_prints() if isinstance(config, MathConfig) else frozenset()
        self.questions: dict[str, set[int]] = {}
        if config.eval_n and "val" in self.parts.parts:
            raise ConfigError(
                f"{config.source} has a validation split of its own; leave --eval-n out (0)"
            )

    def part(self, name: str) -> Part:
        """One of the source's parts."""
        return Part(name, self.parts[name], self.reader, self.config)

    def run(self) -> Splitting:
        """Look, decide, write."""
        self.result.contamination = self.open_contamination()
        with self.pairs_file():
            self.result.survey = survey(self.train, self.apart, self.result.contamination)
        self.result.survey.exclusions.add_many("malformed_row", self.malformed["train"])
        self.result.test.add_many("malformed_row", self.malformed.get(TEST, 0))
        self.write_test()
        if "val" in self.parts.parts:
            self.write("val", self.native("val"), self.parts)
        elif self.config.eval_n:
            self.write("val", self.chosen(held_out=True), self.parts)
        self.write("train", self.chosen(held_out=False), self.parts)
        return self.result

    def open_contamination(self) -> Contamination:
        """The evaluation sets to compare with, the data set's own among them."""
        own = [name for name in self.config.decontaminate if name in OWN]
        others = [name for name in self.config.decontaminate if name not in OWN]
        found = open_benchmarks(others, self.config)
        for name in own:
            if name == MATH500 and not self.apart:
                raise ConfigError("--decontaminate math500 is for build math; name a file instead")
            if "test" not in self.parts.parts:
                raise ConfigError(f"--decontaminate {name}: {self.config.source} has no test split")
            records = self.math500() if name == MATH500 else self.native(TEST)
            add_benchmark(found.index, name, ((each.id, each.problem) for each in records))
            found.sources[name] = f"the {name} of {self.parts[TEST].origin.name}"
        if self.config.common is not None and found.index.problems:
            for _, record in self.train.records("counting"):
                found.index.count(record.problem)
        return found

    @contextmanager
    def pairs_file(self) -> Iterator[None]:
        """The list of pairs, where there is something to compare with."""
        if not self.config.decontaminate:
            yield
            return
        with atomic_writer(self.folder / PAIRS) as file:
            self.result.contamination.note = lambda pair: file.write(encode_object(pair))
            yield

    def native(self, name: str, exclusions: Exclusions | None = None) -> Iterator[PromptAnswer]:
        """The records of a split as they are."""
        return (record for _, record in self.part(name).records(name, exclusions))

    def math500(self) -> Iterator[PromptAnswer]:
        """The test problems that are MATH-500's."""
        return (each for each in self.native(TEST) if math500_print(each.problem) in self.apart)

    def write_test(self) -> None:
        """The test split, where there is one, and of MATH its 500."""
        if TEST not in self.parts.parts:
            return
        self.write(TEST, self.native(TEST, self.result.test), self.parts)
        if self.apart:
            self.write(MATH500, self.math500(), self.parts)

    def chosen(self, *, held_out: bool) -> Iterator[PromptAnswer]:
        """The held-out records of the training split, or those to train on."""
        found, seen = self.result.survey, set[int]()
        label = "val" if held_out else "train"
        for position, record in self.train.records(label):
            place = question_place(record.problem, self.config.seed)
            if position in found.left_out or (place in found.held_out) != held_out:
                continue
            if not held_out and found.drawn is not None:
                if place not in found.drawn or place in seen:
                    continue
                seen.add(place)
            yield record

    def write(self, name: str, records: Iterator[PromptAnswer], parts: Splits) -> None:
        """One file and its manifest."""
        path = self.folder / f"{name}.jsonl"
        shared = {other: 0 for other in self.questions if (name, other) != (MATH500, TEST)}
        counted = self.counted(name, records, shared)
        count = write_records(path, counted)
        self.result.shared |= {f"{name} and {other}": n for other, n in shared.items()}
        origin = parts[name if name in parts.parts else TEST if name == MATH500 else "train"].origin
        is_test = name in OWN
        exclusions = self.result.test if is_test else self.result.survey.exclusions
        self.result.written[self.config.output_dir / path.name] = write_manifest(
            path,
            command=command_of(self.name),
            source=origin,
            options=self.config.model_dump(mode="json", exclude=set(PATHS)),
            counts={
                "records_in_this_file": count,
                "rows_excluded": exclusions.counts.total(),
                **{f"also_in_{other}": n for other, n in shared.items()},
            },
            records=count,
            excluded=exclusions.ids,
            reasons=exclusions.counts,
            decontamination=self.result.contamination.counts() if name == "train" else {},
        )

    def counted(
        self, name: str, records: Iterator[PromptAnswer], shared: dict[str, int]
    ) -> Iterator[PromptAnswer]:
        """The records on their way to a file, their questions looked up in the files before.

        Train is written last: its questions need not be kept.
        """
        keys = self.questions.setdefault(name, set()) if name != "train" else None
        for record in records:
            key = hash(whole_text(record.problem))
            if keys is not None:
                keys.add(key)
            for other in shared:
                shared[other] += key in self.questions[other]
            yield record
