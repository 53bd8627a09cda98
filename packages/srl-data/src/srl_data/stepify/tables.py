"""What `srl-data stepify` prints when it is done. Only presentation."""

from collections import Counter

from rich import box
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from srl_data.instances import step_instance
from srl_data.prompts import get_template, with_roles
from srl_data.stepify.measures import Measures, quartiles
from srl_data.stepify.outcome import Outcome, SteppedSolution
from srl_data.stepify.reasons import REASONS
from srl_data.tables import new_console, new_table
from srl_reward import split_steps


def print_outcome(outcome: Outcome, output: str | None) -> None:
    """The outcome of a run: what was left out, the report, and records as a model sees them."""
    console = new_console()
    steps = outcome.measures.solutions
    console.print(f"{steps} of {outcome.solutions} solutions are in steps")
    if outcome.excluded:
        console.print(left_out(outcome))
    console.print(measures_table(outcome.measures))
    if outcome.asked:
        console.print(f"The teacher was asked {outcome.asked} times.")
    for line in outcome.measures.warnings():
        console.print(Text(f"warning: {line}"), soft_wrap=True)
    for record in outcome.shown:
        for panel in preview(record):
            console.print(panel)
    if output is not None and outcome.manifest is not None:
        console.print(Text(f"{output}: {outcome.manifest.records} records"), soft_wrap=True)


def left_out(outcome: Outcome) -> Table:
    """Solutions without steps by reason, with the first few ids."""
    table = new_table("Left out")
    for name in ("reason", "count", "meaning", "for example"):
        table.add_column(name, justify="right" if name == "count" else "left")
    for reason, count in sorted(outcome.reasons.items(), key=lambda item: -item[1]):
        examples = Text(", ".join(outcome.excluded[reason][:3]))
        table.add_row(reason, str(count), Text(REASONS[reason]), examples)
    return table


def measures_table(measures: Measures) -> Table:
    """Steps, lengths and separation."""
    table = new_table("The cut")
    table.add_column("of", no_wrap=True)
    table.add_column("figures")
    rules = ", ".join(f"{rule} {count}" for rule, count in measures.rules.most_common())
    table.add_row("cut by", rules)
    table.add_row("steps per solution", figures(measures.steps))
    table.add_row("characters per step", figures(measures.lengths))
    share = sum(measures.shares) / max(len(measures.shares), 1)
    table.add_row("longest step's share", f"{share:.0%} of its text on average")
    apart = measures.separation()
    if apart is not None:
        table.add_row("separation", f"the true step scores 1 ({apart.pairs} pairs)")
        table.add_row("  another step", f"{apart.within:.3f} of the same solution")
        table.add_row("  another solution", f"{apart.across:.3f} its step of the same place")
    return table


def figures(counts: Counter[int]) -> str:
    """A distribution in a line."""
    return ", ".join(f"{name} {value:g}" for name, value in quartiles(counts).items())


def preview(record: SteppedSolution) -> list[Panel]:
    """A record's middle step as a model will see it: the prompt, and the step expected."""
    steps = [step.text for step in split_steps(record.solution)]
    index = len(steps) // 2 + 1
    instance = step_instance(record.id, record.problem, steps, index)
    messages = get_template("srl").messages(**instance.model_dump(exclude={"id", "meta"}))
    title = Text(f"{record.id}: step {index} of {len(steps)}")
    return [
        Panel(Text(with_roles(messages)), title=title, title_align="left", box=box.ROUNDED),
        Panel(Text(steps[index - 1]), title="expected", title_align="left", box=box.ROUNDED),
    ]
