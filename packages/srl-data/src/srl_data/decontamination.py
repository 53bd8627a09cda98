"""Decontamination: training problems that overlap with evaluation sets are found and left out.

What overlaps is counted by benchmark for the manifest, and every pair is listed in a file, so that
a person can look. Left out: how texts are compared (`srl_data.overlap`).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import Field

from srl_data.columns import name_of
from srl_data.command.config import Section
from srl_data.command.errors import ConfigError, DataError
from srl_data.manifest import BenchmarkOverlap
from srl_data.overlap import NGRAM, Kind, Overlap, OverlapIndex
from srl_data.passes.chunks import NumberedRow
from srl_data.passes.draft import run_key
from srl_data.passes.kept import kept_pass
from srl_data.passes.run import Pass
from srl_data.passes.workers import Outcome
from srl_data.problem_text import problem_text
from srl_data.records import Row, encode_object, parse_object
from srl_data.sources import each_row
from srl_data.split_names import HELD_OUT, WHOLE
from srl_data.splits import heldout_split, open_splits

PAIRS = "overlaps"
"""The output of a pass that lists the pairs."""
SEEN = "seen"
Problem = Callable[[int, Row], str | None]
"""The problem of a row by its position; None for a row to pass over, ValueError for a bad one."""


class OverlapSection(Section):
    """What counts as an overlap."""

    ngram: int = Field(default=NGRAM, ge=2)
    """Words in a row that make two problems overlap; the same words from end to end always do."""
    min_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Least share of a benchmark problem's n-grams that the training problem has; 0: any one."""
    common: int | None = Field(default=None, ge=1)
    """N-grams that more than so many training problems have do not count (GPT-3 took 10): turns of
    phrase such as AIME's last sentence. Default: all count."""

    def index(self) -> OverlapIndex:
        """An index of these options without problems."""
        return OverlapIndex(self.ngram, self.min_share, self.common)


@dataclass(frozen=True)
class Comparison:
    """What a training problem has in common with the evaluation sets."""

    pairs: list[dict[str, object]]
    """A line of the list of pairs each; none where it overlaps with nothing."""
    counts: Counter[str]
    """To be added up over all training problems, for `Benchmarks.overlaps`."""

    def note(self, outcome: Outcome) -> None:
        """Add pairs and counts to the outcome of a pass."""
        for pair in self.pairs:
            outcome.write(PAIRS, encode_object(pair))
        outcome.counts.update(self.counts)


@dataclass
class Benchmarks:
    """Evaluation sets that training problems are compared with."""

    index: OverlapIndex
    sources: dict[str, str] = field(default_factory=dict)
    """What each was read from."""

    @property
    def digest(self) -> str:
        """A hash of all problems."""
        problems = [(each.benchmark, each.id, each.text) for each in self.index.problems]
        return run_key(problems)

    def compare(self, name: str, text: str) -> Comparison:
        """Compare a training problem with all of them."""
        found = self.index.overlaps(text) if self.index.problems else []
        kinds: dict[str, Kind] = {}
        for overlap in found:  # the closest first
            kinds.setdefault(overlap.problem.benchmark, overlap.kind)
        counts = Counter(f"{kind} in {benchmark}" for benchmark, kind in kinds.items())
        counts.update(f"touched {overlap.place}" for overlap in found)
        return Comparison([pair_of(name, text, overlap) for overlap in found], counts)

    def overlaps(self, counts: Mapping[str, int]) -> dict[str, BenchmarkOverlap]:
        """What the sums of all comparisons' counts say of each, also of those without overlaps."""
        sizes, touched = Counter[str](), Counter[str]()
        for place, problem in enumerate(self.index.problems):
            sizes[problem.benchmark] += 1
            touched[problem.benchmark] += counts.get(f"touched {place}", 0) > 0
        return {
            name: BenchmarkOverlap(
                source=self.sources.get(name, name),
                problems=size,
                exact=counts.get(f"exact in {name}", 0),
                ngram=counts.get(f"ngram in {name}", 0),
                problems_overlapped=touched[name],
            )
            for name, size in sizes.items()
        }


@dataclass(frozen=True)
class NgramCounter:
    """Counts the training problems that have each n-gram; the worker of a pass for `common`."""

    index: OverlapIndex
    problem: Problem

    def __call__(self, rows: Sequence[NumberedRow]) -> Outcome:
        """A line of counts for each chunk."""
        outcome, seen = Outcome(), Counter[int]()
        for position, row in rows:
            try:
                text = self.problem(position, row)
            except ValueError as error:
                outcome.refused.append((position, str(error)))
                continue
            if text is not None:
                seen.update(self.index.numbers(text))
        outcome.write(SEEN, encode_object({str(number): seen[number] for number in sorted(seen)}))
        return outcome


def count_common(benchmarks: Benchmarks, work: Pass, problem: Problem, folder: Path) -> None:
    """Find the n-grams that too many training problems have, in a pass before `work`."""
    if benchmarks.index.common is None or not benchmarks.index.problems:
        return
    path = folder / SEEN
    counting = replace(work, paths={SEEN: path}, label="counting")
    kept_pass(counting, partial(NgramCounter, benchmarks.index, problem))
    for line in path.read_bytes().splitlines():
        seen = parse_object(line)
        benchmarks.index.seen.update({int(number): int(str(n)) for number, n in seen.items()})


def pair_of(name: str, text: str, overlap: Overlap) -> dict[str, object]:
    """A training problem and the benchmark's, as a line of the list of pairs."""
    return {
        "id": name,
        "benchmark": overlap.problem.benchmark,
        "benchmark_id": overlap.problem.id,
        "kind": overlap.kind,
        "shared_ngrams": overlap.shared,
        "share": round(overlap.share, 4),
        "problem": text,
        "benchmark_problem": overlap.problem.text,
    }


def named_source(spec: str) -> tuple[str, str]:
    """`aime24=FILE` as a benchmark's name and source; a source alone is named by its last parts."""
    name, given, source = spec.partition("=")
    if given and name and source and not Path(spec).exists():
        return name, source
    path = Path(spec)
    stem = path.name.split(".")[0]
    plain = stem in ("test", "train", "data", *HELD_OUT) and path.parent.name
    return (path.parent.name if plain else stem) or spec, spec


def open_benchmarks(specs: Iterable[str], section: OverlapSection) -> Benchmarks:
    """The problems of all benchmarks: of each the held-out split, or all of what has no splits.

    Raises DataError where one cannot be read or holds no problem, ConfigError for two of one name.
    """
    found = Benchmarks(section.index())
    for spec in specs:
        name, source = named_source(spec)
        if name in found.sources:
            raise ConfigError(
                f"two benchmarks are called {name!r}; give one another name: NAME={source}"
            )
        found.sources[name] = Path(source).name if Path(source).exists() else source
        add_benchmark(found.index, name, benchmark_problems(source))
    return found


def add_benchmark(index: OverlapIndex, name: str, problems: Iterable[tuple[str, str]]) -> None:
    """Add a benchmark's problems, each an id and a text; DataError where there is none."""
    before = len(index.problems)
    for identity, text in problems:
        index.add(name, identity, text)
    if len(index.problems) == before:
        raise DataError(f"benchmark {name!r} holds no problems")


def benchmark_problems(source: str) -> Iterator[tuple[str, str]]:
    """Ids and texts of an evaluation set's problems; a bad row ends the command."""
    splits = open_splits(source)
    name = heldout_split(splits, None, None)
    if name is None and len(splits.parts) == 1:
        name = next(iter(splits.parts), WHOLE)
    if name is None:
        raise DataError(
            f"{source} has the splits {splits.names} and none is held out ({', '.join(HELD_OUT)}); "
            "give the file of one"
        )

    def read(row: Row, place: str) -> tuple[str, str]:
        return name_of({"id": row.get("id", row.get("unique_id"))}, place), problem_text(row)

    return each_row(splits[name], read, "fail", print)
