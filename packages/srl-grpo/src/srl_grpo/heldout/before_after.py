"""Before and after: held-out metrics at a run's two ends, with paired intervals.

Written as summary.json and shown as a table. The evaluation before is kept in the run folder, so
that an interrupted run still compares with its own beginning.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Protocol

from rich.console import Console
from rich.table import Table

from srl_data.files import write_json, write_text
from srl_grpo.config.run import RunConfig
from srl_grpo.heldout.evaluation import Values, means
from srl_grpo.heldout.paired import Interval, paired_interval
from srl_grpo.run.session import Session

PERCENT = (
    *("exact", "invalid", "greedy_exact", "final_answer", "format_reward", "accuracy"),
    *("reward_answer", "reward_format"),
)


class Compared(Protocol):
    """A held-out set whose values at two times are compared."""

    @property
    def instances(self) -> int:
        """Records that are evaluated."""

    @property
    def problems(self) -> int:
        """Problems that are solved by the model's own steps."""

    def clusters(self, metric: str) -> list[str]:
        """The problem of each value of a metric."""


@dataclass
class BeforeAfter:
    """The comparison of a run's two ends; does nothing where the config does not ask for it."""

    session: Session[RunConfig]
    held_out: Compared | None
    evaluate: Callable[[], Values]
    """Held-out values of the present weights. Collective."""
    began: float
    """When the process began to set up the run, on the monotonic clock."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall time of `setup` (load and warm start), `before`, `train`, `after` and `total`."""
    values_before: Values = field(default_factory=dict)
    trained_from: float = field(default_factory=monotonic)

    @property
    def wanted(self) -> bool:
        """Whether the config asks for it."""
        return self.session.config.evaluation.before_after and self.held_out is not None

    @property
    def path(self) -> Path:
        """The evaluation before, in the run's folder."""
        return self.session.directory.before

    def before(self) -> None:
        """Evaluate a fresh run's policy, or read what was found when the run began. Collective."""
        session = self.session
        if not self.wanted:
            return
        if session.setup.start.checkpoint is not None:
            if self.path.is_file():
                self.values_before = json.loads(self.path.read_text(encoding="utf-8"))
            return
        start = monotonic()
        self.seconds["setup"] = start - self.began
        session.display.phase("evaluate")
        self.values_before = self.evaluate()
        found = means(self.values_before)
        session.display.evaluated(0, {f"eval/{name}": value for name, value in found.items()})
        if session.world.is_main:
            write_text(self.path, json.dumps(self.values_before))
        self.trained_from = monotonic()
        self.seconds["before"] = self.trained_from - start

    def after(self) -> None:
        """Evaluate the trained policy and write summary.json. Collective."""
        if not self.values_before or self.held_out is None:
            return
        session = self.session
        start = monotonic()
        self.seconds["train"] = start - self.trained_from
        session.display.phase("evaluate")
        values = self.evaluate()
        self.seconds["after"] = monotonic() - start
        self.seconds["total"] = monotonic() - self.began
        if session.world.is_main:
            summary = {
                "before": means(self.values_before),
                "after": means(values),
                "intervals": intervals(self.values_before, values, self.held_out),
                "instances": self.held_out.instances,
                "problems": self.held_out.problems,
                "seconds": {name: round(value, 2) for name, value in self.seconds.items()},
            }
            write_json(session.directory.summary, summary)

    def show(self) -> None:
        """Print the table of before and after, and where the run lies."""
        console, directory = Console(), self.session.directory
        if directory.summary.is_file() and self.wanted:
            found = json.loads(directory.summary.read_text(encoding="utf-8"))
            console.print(summary_table(found["before"], found["after"], found["intervals"]))
        console.print(f"run: {directory.path}", highlight=False, soft_wrap=True)


def intervals(before: Values, after: Values, held_out: Compared) -> dict[str, Interval | None]:
    """Paired 95 % intervals of each metric's change, clustered by problem."""
    return {
        name: paired_interval(
            before[name], after[name], held_out.clusters(name), is_bounded=name != "loss"
        )
        for name in after
        if name in before
    }


def summary_table(
    before: dict[str, float], after: dict[str, float], spans: Mapping[str, Sequence[float] | None]
) -> Table:
    """Before, after, change and its interval, one row per metric."""
    table = Table(title="held-out, before and after", title_justify="left", box=None)
    table.add_column("metric")
    for heading in ("before", "after", "change", "95 % interval"):
        table.add_column(heading, justify="right")
    for name, start in before.items():
        if name not in after:  # as pass@k of another number of samples
            continue
        end = after[name]
        form = "{:.1%}" if name in PERCENT or name.startswith("pass@") else "{:.3f}"
        signed = form.replace(":", ":+")
        span = " … ".join(signed.format(edge) for edge in spans[name] or ()) or "–"
        label = name.replace("_", " ")
        table.add_row(label, form.format(start), form.format(end), signed.format(end - start), span)
    return table
