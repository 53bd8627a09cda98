"""What a run of `srl-data traces` came to, and the exit code that it deserves."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from srl_data.command.errors import CommandError, IncompleteError
from srl_data.http_client import RequestError
from srl_data.listing import Listed
from srl_data.traces.record import FOR_GOOD, Reason


@dataclass
class Outcome:
    """Counts, tokens and cost, of this run and of all runs for the output."""

    output: Path
    failures: Path
    questions: int = 0
    wanted: int = 0
    """Answers, of all questions and samples."""
    known: int = 0
    """Of those wanted, the ones that earlier runs brought."""
    answered: int = 0
    """In this run."""
    failed: Mapping[Reason, list[str]] = field(default_factory=dict)
    """Names of the questions that got no answer in this run."""
    skipped: Listed = field(default_factory=Listed)
    """Rows that were left out by --on-error skip."""
    others: int = 0
    """Answers in the file to what is not asked now."""
    cut: int = 0
    """Answers in the file that --max-tokens ended."""
    retries: int = 0
    tokens: Counter[str] = field(default_factory=Counter)
    """Of all runs."""
    cost: Decimal | None = None
    """Of all runs; None where there is no price."""
    unpriced: int = 0
    """Replies of unknown cost."""
    currency: str = "USD"
    as_of: str | None = None
    stopped: str | None = None
    fatal: RequestError | None = None
    seconds: float = 0.0

    @property
    def missing(self) -> int:
        """Answers that are still wanted."""
        return self.wanted - self.known - self.answered

    def check(self) -> None:
        """The error that the run ends with, if it did not bring all that can be had.

        Raises the RequestError that ended it, IncompleteError where a further run would bring
        more, CommandError where there is no answer at all.
        """
        again = f"{self.missing} answers are missing; run the same command again for them"
        if self.fatal is not None:
            raise self.fatal
        if self.stopped is not None:
            raise IncompleteError(f"{self.stopped}; {again}")
        if not self.missing:
            return
        reasons = ", ".join(f"{reason}: {len(names)}" for reason, names in self.failed.items())
        if not self.known + self.answered:
            raise CommandError(
                f"none of {self.wanted} questions was answered ({reasons}); see {self.failures}"
            )
        if any(reason not in FOR_GOOD for reason in self.failed):
            raise IncompleteError(f"{again} ({reasons}; see {self.failures})")
