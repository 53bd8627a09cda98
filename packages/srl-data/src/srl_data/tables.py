"""What commands print when they are done: tables on standard output, plain in a log.

Only presentation; the numbers come from `srl_data.build` and `srl_data.inspection`.
"""

from pathlib import Path

from rich import box
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from srl_data.build import Report
from srl_data.inspection import Findings, first_lines, histogram, quantiles
from srl_data.listing import Listed
from srl_data.rendering import OTHERWISE, RenderReport
from srl_data.solutions import REASONS
from srl_data.splitting import SplitReport

PLAIN_WIDTH = 120
"""Columns where the output is not a terminal, so that tables in logs are not squeezed."""


def new_console() -> Console:
    """Standard output, as wide as the terminal or `PLAIN_WIDTH`."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)


def new_table(title: str) -> Table:
    """A table in the house's style."""
    return Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)


def reasons_table(report: Report) -> Table:
    """Excluded solutions and instances by reason, with the first few ids."""
    table = new_table("Excluded")
    table.add_column("reason")
    table.add_column("count", justify="right")
    table.add_column("meaning")
    table.add_column("for example")
    survey = report.survey
    for reason, count in sorted(survey.reasons.items(), key=lambda item: -item[1]):
        meaning = Text(REASONS[reason])
        if reason == "other_headings":
            meaning.append(f": {spellings(report)}")
        table.add_row(reason, str(count), meaning, Text(", ".join(survey.excluded[reason][:3])))
    return table


def spellings(report: Report, most: int = 5) -> str:
    """How excluded solutions begin their steps, the commonest first."""
    found = report.survey.headings.most_common()
    shown = [f"{heading!r} {count}" for heading, count in found[:most]]
    return ", ".join([*shown, "…"] if len(found) > most else shown)


def print_build(report: Report, asked_for_problem: str | None) -> None:
    """The outcome of a build."""
    console = new_console()
    survey = report.survey
    if asked_for_problem is None and report.fields.problem != "question":
        console.print("No column 'question' in the source: the problems are read from 'problem'.")
    console.print(
        f"{survey.solutions} of {survey.rows} solutions conform: "
        f"{survey.steps} steps, {survey.instances} instances"
    )
    if survey.thinking:
        console.print(f"Thinking was taken out of {survey.thinking} of them.")
    if survey.excluded:
        console.print(reasons_table(report))
    for path, manifest in report.written.items():
        solutions = manifest.counts["solutions_in_this_file"]
        text = f"{path}: {manifest.records} records of {solutions} solutions"
        console.print(Text(text), soft_wrap=True)


def print_skipped(console: Console, skipped: Listed) -> None:
    """The first of the bad rows that were left out, and how many there are."""
    for line in skipped.shown(10):
        console.print(Text(f"skipped: {line}"), soft_wrap=True)


def print_split(report: SplitReport) -> None:
    """The outcome of a split."""
    console = new_console()
    print_skipped(console, report.tally.skipped)
    if len(report.questions) > 1:
        table = new_table("Strata")
        for name in ("value", "questions", "held out"):
            table.add_column(name, justify="left" if name == "value" else "right")
        for name, count in report.questions.items():
            table.add_row(Text(name), str(count), str(report.held_out[name]))
        console.print(table)
    held, questions = sum(report.held_out.values()), sum(report.questions.values())
    console.print(f"{held} of {questions} questions held out")
    for path, manifest in report.written.items():
        console.print(Text(f"{path}: {manifest.records} records"), soft_wrap=True)
    if report.stale is not None:
        console.print(Text(f"{report.stale} is of an earlier split: no record is graded now"))


def print_rendered(report: RenderReport, output: Path) -> None:
    """The outcome of rendering."""
    console = new_console()
    print_skipped(console, report.tally.skipped)
    for line in report.notes:
        console.print(Text(f"note: {line}"), soft_wrap=True)
    counts = report.tally.counts
    how = f"tokenize the prompts with add_special_tokens={report.special}"
    if report.special is None:
        how = "no one way of tokenizing gives the prompts' ids; see the manifest's counts"
    if others := counts.get(OTHERWISE):
        how += f"; {others} of them spell control tokens, which plain tokenizing takes for tokens"
    console.print(Text(how), soft_wrap=True)
    numbers = f"{counts['gold_num']} golds are numbers"
    console.print(Text(f"{output}: {report.manifest.records} prompts, {numbers}"), soft_wrap=True)


def lengths_table(findings: Findings) -> Table:
    """Length distributions, a row each."""
    table = new_table("Lengths")
    table.add_column("of", no_wrap=True)
    rows = {name: quantiles(lengths) for name, lengths in findings.lengths.items()}
    for name in next(iter(rows.values())):
        table.add_column(name, justify="right")
    table.add_column("min to 99 %", no_wrap=True)
    for name, row in rows.items():
        cells = [str(value) for value in row.values()]
        table.add_row(name, *cells, histogram(findings.lengths[name]))
    return table


def print_findings(findings: Findings, name: str) -> None:
    """The outcome of an inspection."""
    console = new_console()
    head = f"{name}: {findings.records} {findings.kind} records"
    console.print(Text(f"{head}, {len(findings.problems)} problems"), soft_wrap=True)
    console.print(Text(f"manifest: {findings.manifest}"), soft_wrap=True)
    print_skipped(console, findings.skipped)
    for line in first_lines(findings.notes):
        console.print(Text(f"note: {line}"), soft_wrap=True)
    if findings.lengths:
        console.print(lengths_table(findings))
    for record, prompt, expected in findings.shown:
        title = f"{record} as seen through {findings.template!r}"
        console.print(Panel(Text(prompt), title=Text(title), title_align="left", box=box.ROUNDED))
        console.print(Panel(Text(expected), title="expected", title_align="left", box=box.ROUNDED))
