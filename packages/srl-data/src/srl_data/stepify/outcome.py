"""What a run of `srl-data stepify` makes: its records, and what it counts on the way."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from srl_data.listing import keep_first
from srl_data.manifest import Manifest, beside
from srl_data.passes.draft import Tally
from srl_data.records import Record, Text, Unicode
from srl_data.stepify.measures import Measures
from srl_data.stepify.solution_text import Columns
from srl_reward import NonConforming, parse_solution

MALFORMED = "malformed_row"


def answers_path(output: Path) -> Path:
    """Where the answers of a teacher are kept."""
    return beside(output, "teacher")


class SteppedSolution(Record):
    """A problem and its solution in numbered steps, as `build` reads it."""

    problem: Text
    solution: Text
    answer: Unicode | None = None


@dataclass
class Outcome:
    """What a run did, for the command to show."""

    columns: Columns
    measures: Measures
    rows: int = 0
    solutions: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    """Solutions that were left out, and bad rows, by reason."""
    excluded: dict[str, list[str]] = field(default_factory=dict)
    """The ids of the former and lines of the latter, by the same reasons; of many the first."""
    shown: list[SteppedSolution] = field(default_factory=list)
    manifest: Manifest | None = None
    asked: int = 0
    """Requests to the teacher; answers that were known from an earlier run are not asked again."""

    def exclude(self, reason: str, name: str) -> None:
        """Note a solution that was left out."""
        self.reasons[reason] += 1
        keep_first(self.excluded.setdefault(reason, []), [name])

    def skip(self, line: str) -> None:
        """Note a bad row that was left out."""
        self.exclude(MALFORMED, line)

    def measure(self, record: SteppedSolution, preview: int) -> None:
        """Measure a record as it is read back; the first ones are shown, too."""
        parsed = parse_solution(record.solution)
        assert not isinstance(parsed, NonConforming), "what is written is read back"
        self.measures.add(str(record.meta["cut_by"]), [step.text for step in parsed.steps])
        if len(self.shown) < preview:
            self.shown.append(record)

    def take(self, tally: Tally) -> None:
        """Take over what a pass found."""
        self.rows, self.solutions = tally.taken, tally.counts.get("solutions", 0)
        self.reasons = Counter(tally.left_out)
        self.excluded = dict(tally.named)
        if tally.skipped.count:
            self.reasons[MALFORMED] = tally.skipped.count
            self.excluded[MALFORMED] = tally.skipped.first
