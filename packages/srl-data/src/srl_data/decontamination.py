"""Decontamination: training problems that overlap with evaluation sets are found and left out.

What overlaps is counted by benchmark for the manifest, and every pair is listed in a file, so that
a person can look. Left out: how texts are compared (`srl_data.overlap`).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import Field

from srl_data.columns import name_of
from srl_data.command.config import Section
from srl_data.command.errors import ConfigError, DataError
from srl_data.manifest import BenchmarkOverlap
from srl_data.overlap import NGRAM, Overlap, OverlapIndex
from srl_data.problem_text import problem_text
from srl_data.records import Row
from srl_data.sources import each_row
from srl_data.split_names import HELD_OUT, WHOLE
from srl_data.splits import heldout_split, open_splits


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


@dataclass
class Contamination:
    """What a pass over training problems found."""

    index: OverlapIndex
    sources: dict[str, str] = field(default_factory=dict)
    """What each benchmark was read from."""
    exact: dict[str, int] = field(default_factory=dict)
    ngram: dict[str, int] = field(default_factory=dict)
    touched: dict[str, set[str]] = field(default_factory=dict)
    note: Callable[[dict[str, object]], object] = lambda _: None
    """Takes each pair, as a line of the list of pairs."""

    def check(self, name: str, text: str) -> bool:
        """Whether a training problem overlaps with any benchmark; noted if so."""
        found = self.index.overlaps(text) if self.index.problems else []
        by_benchmark: dict[str, Overlap] = {}
        for overlap in found:
            problem = overlap.problem
            by_benchmark.setdefault(problem.benchmark, overlap)
            self.touched.setdefault(problem.benchmark, set()).add(problem.id)
            self.note(pair_of(name, text, overlap))
        for benchmark, closest in by_benchmark.items():
            counts = self.exact if closest.kind == "exact" else self.ngram
            counts[benchmark] = counts.get(benchmark, 0) + 1
        return bool(found)

    def counts(self) -> dict[str, BenchmarkOverlap]:
        """By benchmark, for the manifest; benchmarks without an overlap are there, too."""
        sizes: dict[str, int] = {}
        for problem in self.index.problems:
            sizes[problem.benchmark] = sizes.get(problem.benchmark, 0) + 1
        return {
            name: BenchmarkOverlap(
                source=self.sources.get(name, name),
                problems=size,
                exact=self.exact.get(name, 0),
                ngram=self.ngram.get(name, 0),
                problems_overlapped=len(self.touched.get(name, ())),
            )
            for name, size in sizes.items()
        }


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


def open_benchmarks(specs: Iterable[str], section: OverlapSection) -> Contamination:
    """The problems of all benchmarks: of each the held-out split, or all of what has no splits.

    Raises DataError where one cannot be read or holds no problem, ConfigError for two of one name.
    """
    found = Contamination(section.index())
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
