"""What `srl-data traces` prints when it is done. Only presentation."""

from rich.table import Table
from rich.text import Text

from srl_data.command.progress import duration
from srl_data.tables import new_console, new_table
from srl_data.traces.outcome import Outcome
from srl_data.traces.record import REASONS


def print_outcome(outcome: Outcome) -> None:
    """Counts, tokens, cost, and what got no answer."""
    console = new_console()
    there = outcome.known + outcome.answered
    now = f"{outcome.answered} now in {duration(outcome.seconds)}"
    whole = f"{there} of {outcome.wanted} answers to {outcome.questions} questions are there"
    lines = [f"{whole}: {outcome.known} from before, {now}"]
    if outcome.retries:
        lines.append(f"retries: {outcome.retries}")
    if outcome.cut:
        lines.append(f"{outcome.cut} answers were cut off (finish_reason length)")
    if outcome.others:
        lines.append(f"{outcome.others} answers in the file are to questions not asked now")
    lines += [f"left out: {line}" for line in outcome.skipped.shown(5)]
    lines.append(tokens_line(outcome))
    lines.append(cost_line(outcome))
    for line in lines:
        console.print(Text(line), soft_wrap=True)
    if outcome.failed:
        console.print(failures_table(outcome))
        console.print(Text(f"failures: {outcome.failures}"), soft_wrap=True)
    console.print(Text(f"{outcome.output}: {there + outcome.others} records"), soft_wrap=True)


def tokens_line(outcome: Outcome) -> str:
    """Tokens of all runs."""
    count = outcome.tokens
    return (
        f"tokens: {count['prompt_tokens']:,} of prompts ({count['cached_tokens']:,} cached), "
        f"{count['completion_tokens']:,} of answers ({count['reasoning_tokens']:,} of reasoning)"
    )


def cost_line(outcome: Outcome) -> str:
    """What they cost, as far as it is known."""
    if outcome.cost is None:
        return "cost: not known, no price; give --price-input and --price-output"
    day = f" at the prices of {outcome.as_of}" if outcome.as_of else ""
    unknown = f", without {outcome.unpriced} replies of unknown cost" if outcome.unpriced else ""
    return f"cost: {outcome.cost:f} {outcome.currency}{day}{unknown}"


def failures_table(outcome: Outcome) -> Table:
    """Questions without an answer by reason, with the first few names."""
    table = new_table("Without an answer")
    table.add_column("reason")
    table.add_column("count", justify="right")
    table.add_column("meaning")
    table.add_column("for example")
    for reason, names in outcome.failed.items():
        table.add_row(reason, str(len(names)), REASONS[reason], Text(", ".join(names[:3])))
    return table
