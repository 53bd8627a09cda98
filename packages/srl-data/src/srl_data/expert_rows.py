"""The pass over expert solutions: the instances of each on disk, beside its question's place.

It is the work that takes long, in any number of processes. Which questions are held out is decided
afterwards, and a run that was killed meanwhile takes what the pass has written as it is.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from srl_data.held_out import question_place
from srl_data.instances import Targets
from srl_data.passes.chunks import NumberedRow
from srl_data.passes.workers import Outcome
from srl_data.records import SftPair, encode
from srl_data.solutions import ExpertSolution, Fields, Steps, candidates, read_solution
from srl_reward.steps import Preamble

INSTANCES, PAIRS, PLACES = "instances", "pairs", "places"
HEADING = "heading "
"""Before the heading that a count is of."""


def solution_name(row: int, steps: Steps = "numbered") -> str:
    """The id of a row's solution, e.g. `s1k-00002`, `gsm8k-00002`."""
    return f"{'s1k' if steps == 'numbered' else steps}-{row:05d}"


@dataclass(frozen=True)
class SolutionReader:
    """Rows to instances, or the reasons why they give none; the worker of the pass."""

    fields: Fields
    preamble: Preamble
    targets: Targets
    seed: int
    title_hint: bool
    sft: bool

    def __call__(self, rows: Sequence[NumberedRow]) -> Outcome:
        """Instances, pairs and places as lines."""
        outcome = Outcome()
        for position, row in rows:
            solution = read_solution(row, self.fields, self.preamble)
            name = solution_name(position, self.fields.steps)
            if isinstance(solution, ExpertSolution):
                self.take(position, name, solution, outcome)
                continue
            outcome.leave_out(solution.reason, name)
            if solution.heading:
                outcome.counts[HEADING + solution.heading] += 1
        return outcome

    def take(self, row: int, name: str, solution: ExpertSolution, outcome: Outcome) -> None:
        """Write the good instances of a solution that conforms; the others are noted."""
        lines = []
        for candidate in candidates(name, solution, self.targets):
            fault = candidate.fault
            if fault:
                outcome.leave_out(fault, candidate.id)
            else:
                lines.append(encode(candidate.instance(row, title_hint=self.title_hint)))
        if not lines:
            return
        place = question_place(solution.problem, self.seed)
        outcome.write(PLACES, b"%032x %d\n" % (place, len(lines)))
        outcome.lines.setdefault(INSTANCES, []).extend(lines)
        if self.sft:
            outcome.write(PAIRS, encode(pair_of(row, name, solution)))
        outcome.counts["solutions"] += 1
        outcome.counts["steps"] += len(solution.steps)
        outcome.counts["instances"] += len(lines)
        outcome.counts["thinking"] += solution.thinking_blocks > 0


def pair_of(row: int, name: str, solution: ExpertSolution) -> SftPair:
    """A problem with its whole solution."""
    text = solution.text[solution.steps[0].start :].strip()
    return SftPair(id=name, prompt=solution.problem, response=text, meta=solution.meta(row))


@dataclass(frozen=True)
class SolutionLines:
    """What a solution has given."""

    place: int
    """Of its question in the order in which questions are held out."""
    instances: list[bytes]
    pair: bytes | None


def places_in(paths: Mapping[str, Path]) -> Iterator[tuple[int, int]]:
    """The place of each solution's question, and how many instances it gives."""
    with paths[PLACES].open("rb") as file:
        for line in file:
            place, count = line.split()
            yield int(place, 16), int(count)


def solutions_in(paths: Mapping[str, Path]) -> Iterator[SolutionLines]:
    """What each solution has given, in the order of the rows."""
    pairs = paths.get(PAIRS)
    with paths[INSTANCES].open("rb") as instances:
        if pairs is None:
            for place, count in places_in(paths):
                yield SolutionLines(place, list(islice(instances, count)), None)
            return
        with pairs.open("rb") as file:
            for (place, count), pair in zip(places_in(paths), file, strict=True):
                yield SolutionLines(place, list(islice(instances, count)), pair)
