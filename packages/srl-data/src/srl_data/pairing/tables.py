"""What `srl-data pairs` prints when it is done. Only presentation."""

from pathlib import Path

from rich.text import Text

from srl_data.pairing.command import PairsReport
from srl_data.pairing.reasons import REASONS
from srl_data.tables import new_console, new_table, print_skipped


def print_pairs(report: PairsReport, output: Path) -> None:
    """The outcome of a run: where the pairs come from, what was left out, how many there are."""
    console = new_console()
    columns, counts = report.columns, report.tally.counts
    thinking = "no thinking"
    if columns.from_solution:
        thinking = "the solution as thinking, its box as answer"
    elif columns.thinks:
        thinking = f"thinking from {columns.thinking or 'the solution'}"
    source = f"problems from {columns.problem}, solutions from {columns.solution}, {thinking}"
    console.print(Text(source), soft_wrap=True)
    print_skipped(console, report.tally.skipped)
    if report.reasons:
        table = new_table("Left out")
        for name in ("reason", "count", "meaning", "for example"):
            table.add_column(name, justify="right" if name == "count" else "left")
        for reason, count in report.reasons.items():
            examples = ", ".join(report.tally.named[reason][:3])
            table.add_row(reason, str(count), Text(REASONS[reason]), Text(examples))
        console.print(table)
    correct = counts.get("pairs_correct")
    marked = f", {correct} of them graded correct" if correct else ""
    console.print(Text(f"{output}: {counts['pairs']} pairs{marked}"), soft_wrap=True)
