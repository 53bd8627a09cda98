"""The first pass over the training rows: what gives a record, and where each question goes.

A question's place is the hash of its text with the seed, so that it does not depend on the rows
around it: the smallest are held out, the next are drawn. Rows that ask the same question go the
same way. In memory are as many hashes as questions are held out and drawn.
"""

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256

from srl_data.answers.config import SplitsConfig
from srl_data.answers.math_folder import math500_print
from srl_data.answers.reading import Reader, RefusedRowError
from srl_data.columns import columns_shown
from srl_data.command.errors import ConfigError, DataError
from srl_data.command.progress import track
from srl_data.decontamination import Contamination
from srl_data.overlap import whole_text
from srl_data.records import PromptAnswer, Row
from srl_data.sources import RowSource

LISTED = 100
"""Ids that a manifest names for each reason."""


def question_place(problem: str, seed: int) -> int:
    """A question's place in the order in which questions are held out and drawn."""
    text = f"{seed}\n{whole_text(problem)}".encode("utf-8", "surrogatepass")
    return int.from_bytes(sha256(text).digest()[:16], "big")


@dataclass
class Smallest:
    """The so many smallest of the distinct numbers that were added."""

    size: int
    _heap: list[int] = field(default_factory=list)
    _held: set[int] = field(default_factory=set)

    def add(self, number: int) -> None:
        """Add a number."""
        if not self.size or number in self._held:
            return
        if len(self._heap) == self.size and number >= -self._heap[0]:
            return
        self._held.add(number)
        if len(self._heap) < self.size:
            heapq.heappush(self._heap, -number)
        else:
            self._held.discard(-heapq.heapreplace(self._heap, -number))

    def ordered(self) -> list[int]:
        """The numbers, the smallest first."""
        return sorted(self._held)


@dataclass
class Exclusions:
    """Rows that are in no file, by reason."""

    counts: Counter[str] = field(default_factory=Counter)
    ids: dict[str, list[str]] = field(default_factory=dict)
    """The first of them."""

    def add(self, reason: str, name: str) -> None:
        """Note a row."""
        self.counts[reason] += 1
        listed = self.ids.setdefault(reason, [])
        if len(listed) < LISTED:
            listed.append(name)

    def add_many(self, reason: str, count: int) -> None:
        """Count rows that have no ids."""
        if count:
            self.counts[reason] += count
            self.ids.setdefault(reason, [])


@dataclass(frozen=True)
class Part:
    """The rows of one split with how they are read."""

    name: str
    source: RowSource
    reader: Reader
    config: SplitsConfig

    def records(
        self, label: str, exclusions: Exclusions | None = None
    ) -> Iterator[tuple[int, PromptAnswer]]:
        """Records by position, with a bar over the rows; rows that give none are noted."""
        rows = self.source.read("fail", lambda _: None)
        for position, row in track(rows, label, self.source.count(), unit="rows"):
            name = f"{self.reader.prefix}-{self.name}-{position:05d}"
            try:
                yield position, self.reader.read(row, name, self.config)
            except RefusedRowError as error:
                if exclusions is not None:
                    exclusions.add(str(error), name)

    def first_row(self) -> Row:
        """The first row; DataError where there is none."""
        for _, row in self.source.read("fail", lambda _: None):
            return row
        raise DataError(f"{self.config.source}: the split {self.name!r} holds no rows")


@dataclass
class Survey:
    """What the first pass found."""

    questions: int = 0
    """Rows that may be trained on or held out."""
    left_out: set[int] = field(default_factory=set)
    """Positions of rows that overlap, or are kept apart."""
    exclusions: Exclusions = field(default_factory=Exclusions)
    held_out: set[int] = field(default_factory=set)
    """Places of the questions that are held out."""
    drawn: set[int] | None = None
    """Places of the questions that are drawn; None for all that are not held out."""


def survey(part: Part, apart: frozenset[str], contamination: Contamination) -> Survey:
    """Read the training rows once and decide where each goes.

    Raises DataError where no row gives a record, ConfigError where holding out leaves none.
    """
    config, found = part.config, Survey()
    smallest = Smallest(config.eval_n + config.sample_n)
    one_more = Smallest(config.eval_n + 1)
    for position, record in part.records("looking", found.exclusions):
        reason = None
        if apart and math500_print(record.problem) in apart:
            reason = "math500"
        elif contamination.check(record.id, record.problem):
            reason = "overlap"
        if reason is not None:
            found.left_out.add(position)
            found.exclusions.add(reason, record.id)
            continue
        found.questions += 1
        place = question_place(record.problem, config.seed)
        smallest.add(place)
        one_more.add(place)
    require_some(part, found, len(one_more.ordered()))
    places = smallest.ordered()
    found.held_out = set(places[: config.eval_n])
    found.drawn = set(places[config.eval_n :]) if config.sample_n else None
    return found


def require_some(part: Part, found: Survey, distinct: int) -> None:
    """DataError where no row is left, ConfigError where as many are held out."""
    if not found.questions:
        reasons = ", ".join(f"{name}: {n}" for name, n in found.exclusions.counts.most_common())
        raise DataError(
            f"no row of {part.config.source} gives a problem with an answer ({reasons}); its "
            f"columns: {columns_shown(part.first_row())}; name them with --problem-field and "
            "--answer-field, --solution-field, or --messages-field"
        )
    if distinct <= part.config.eval_n:
        raise ConfigError(
            f"--eval-n {part.config.eval_n} leaves nothing to train on: there are {distinct} "
            "questions; hold out fewer"
        )
