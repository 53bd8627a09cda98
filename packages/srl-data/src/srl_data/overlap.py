"""Overlap of training problems with those of benchmarks: the same text, or n words in a row.

The same text is the same but for case, white space, LaTeX's spacing and the form of its Unicode;
the same question, in every command, is one of the same text. Words are letters and digits in lower
case, marks left out, so that punctuation does not hide a copy; a Chinese or Japanese character is a
word. An n-gram is n words in a row, 13 by default, as GPT-3's report (arXiv 2005.14165, appendix C)
and most after it count it; a text of fewer words has none and overlaps only as a whole. Only the
benchmarks' n-grams are in memory. Left out: what is done with what overlaps.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal
from unicodedata import normalize

CHARACTERS = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"  # kana and Chinese, which put no spaces
WORD = re.compile(f"[{CHARACTERS}]|[^\\W_{CHARACTERS}]+")
SPACING = re.compile(
    r"\\(?:left|right|displaystyle)(?![a-z])|\\[,;:!> ]|[\s$~]"
    r"|(?:(?<![.?!])|(?<=\\!))[.?!]++\s*+$"  # looks at a run of stops once
)
NGRAM = 13
"""Words in a row that make two problems overlap."""

Kind = Literal["exact", "ngram"]


def words_of(text: str) -> list[str]:
    """A text's words as they are compared."""
    return WORD.findall(text.casefold())


def whole_text(text: str) -> str:
    """A text as two of them are compared whole: without white space, spacing and a last stop."""
    plain = SPACING.sub("", normalize("NFC", text.casefold()))
    return plain.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac")


def ngrams(words: Sequence[str], size: int) -> Iterator[str]:
    """The n-grams of some words, in order."""
    return (" ".join(words[start : start + size]) for start in range(len(words) - size + 1))


@dataclass(frozen=True)
class BenchmarkProblem:
    """One problem of an evaluation set."""

    benchmark: str
    id: str
    text: str
    size: int
    """Its distinct n-grams."""


@dataclass(frozen=True)
class Overlap:
    """A benchmark's problem that a training problem overlaps with."""

    problem: BenchmarkProblem
    place: int
    """Of the problem among all benchmarks'."""
    kind: Kind
    shared: int
    """Distinct n-grams in common."""

    @property
    def share(self) -> float:
        """The part of the benchmark problem's n-grams that the training problem has, 0 to 1."""
        return 1.0 if self.kind == "exact" else self.shared / self.problem.size


@dataclass
class OverlapIndex:
    """The problems of benchmarks by their words and n-grams."""

    size: int = NGRAM
    min_share: float = 0.0
    """Least share of a benchmark problem's n-grams that counts; 0 is a single one in common."""
    common: int | None = None
    """N-grams that more training problems than this have do not count; None lets all count."""
    problems: list[BenchmarkProblem] = field(default_factory=list)
    seen: Counter[int] = field(default_factory=Counter)
    """Training problems that have each n-gram, for `common`; of all problems before any is asked.

    An n-gram's number is its place among those of the benchmarks, the same in every process.
    """
    _whole: dict[str, list[int]] = field(default_factory=dict)
    _numbers: dict[int, int] = field(default_factory=dict)
    """The number of each n-gram by its hash, which is another in each process."""
    _with: list[list[int]] = field(default_factory=list)
    """The problems that have each n-gram."""

    def __reduce__(self) -> tuple[Callable[..., "OverlapIndex"], tuple[object, ...]]:
        rules = (self.size, self.min_share, self.common)
        return copy_of_index, (*rules, self.problems, self.seen)

    def add(self, benchmark: str, name: str, text: str) -> None:
        """Add a benchmark's problem."""
        grams = dict.fromkeys(map(hash, ngrams(words_of(text), self.size)))
        place = len(self.problems)
        self.problems.append(BenchmarkProblem(benchmark, name, text, len(grams)))
        self._whole.setdefault(whole_text(text), []).append(place)
        for gram in grams:
            number = self._numbers.setdefault(gram, len(self._with))
            if number == len(self._with):
                self._with.append([])
            self._with[number].append(place)

    def numbers(self, text: str) -> set[int]:
        """The numbers of the n-grams that a training problem has in common with any benchmark."""
        found = map(self._numbers.get, map(hash, ngrams(words_of(text), self.size)))
        return {number for number in found if number is not None}

    def count(self, text: str) -> None:
        """Count a training problem's n-grams."""
        self.seen.update(self.numbers(text))

    def overlaps(self, text: str) -> list[Overlap]:
        """The benchmarks' problems that a training problem overlaps with, the closest first."""
        shared: Counter[int] = Counter()
        for number in self.numbers(text):
            if not self._is_common(number):
                shared.update(self._with[number])
        whole = self._whole.get(whole_text(text), [])
        found = [Overlap(self.problems[at], at, "exact", shared[at]) for at in whole]
        others = sorted(shared.keys() - set(whole))
        near = (Overlap(self.problems[at], at, "ngram", shared[at]) for at in others)
        found += [each for each in near if each.share >= self.min_share]
        return sorted(found, key=lambda each: (each.kind != "exact", -each.share, each.problem.id))

    def _is_common(self, number: int) -> bool:
        return self.common is not None and self.seen[number] > self.common


def copy_of_index(
    size: int,
    min_share: float,
    common: int | None,
    problems: Sequence[BenchmarkProblem],
    seen: Counter[int],
) -> OverlapIndex:
    """An index of these problems, in this process's hashes."""
    index = OverlapIndex(size, min_share, common, seen=seen)
    for problem in problems:
        index.add(problem.benchmark, problem.id, problem.text)
    return index
