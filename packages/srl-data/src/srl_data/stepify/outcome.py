"""What a run of `srl-data stepify` makes: its records, and what it counts on the way."""

from dataclasses import dataclass, field

from srl_data.manifest import Manifest
from srl_data.records import Record, Text, Unicode
from srl_data.stepify.measures import Measures
from srl_data.stepify.solution_text import Columns


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
    excluded: dict[str, list[str]] = field(default_factory=dict)
    """Ids of solutions that were left out, by reason."""
    shown: list[SteppedSolution] = field(default_factory=list)
    manifest: Manifest | None = None
    asked: int = 0
    """Requests to the teacher; answers that were known from an earlier run are not asked again."""

    def exclude(self, reason: str, name: str) -> None:
        """Note a solution that was left out."""
        self.excluded.setdefault(reason, []).append(name)
