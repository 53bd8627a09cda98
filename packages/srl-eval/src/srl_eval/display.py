"""What a run shows: its settings before the first token, its scores after the last."""

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from srl_eval.metrics import Metrics, Score
from srl_eval.run import Plan

_PROMPT_CHARACTERS = 1500


def announce(plan: Plan, console: Console) -> None:
    """The effective settings, the first rendered prompt, the data's hash and count."""
    sampling = plan.sampling
    decoding = (
        "greedy"
        if sampling.greedy
        else f"temperature {sampling.temperature}, top_p {sampling.top_p}, top_k {sampling.top_k}, "
        f"min_p {sampling.min_p}"
    )
    grid = Table.grid(padding=(0, 2))
    solve = "step by step" if plan.stepwise else "in one answer"
    for name, value in (
        (
            "task",
            f"{plan.task.name} ({plan.task.harness_name}), {plan.task.description}",
        ),
        ("data", f"{len(plan.data.problems)} problems, {plan.data.source}"),
        ("sha256", plan.data.sha256),
        ("model", f"{plan.subject.label} ({plan.config.backend.backend})"),
        ("template", f"{plan.subject.template.name}/{plan.subject.template.version}, {solve}"),
        ("decoding", f"{decoding}, at most {sampling.max_new_tokens} tokens"),
        ("samples", f"{plan.samples} a problem, seed {plan.config.decoding.seed}"),
        ("output", str(plan.output_dir)),
    ):
        grid.add_row(Text(name, style="bold"), Text(value))
    for note in plan.notes:
        grid.add_row(Text("note", style="bold yellow"), Text(note))
    console.print(grid)
    prompt = plan.prompts[0]
    cut = prompt[:_PROMPT_CHARACTERS] + (" ..." if len(prompt) > _PROMPT_CHARACTERS else "")
    console.print(Panel(Text(cut), title="first prompt", title_align="left", style="dim"))


def percent(score: Score) -> tuple[str, str, str]:
    """Mean, standard error and interval in percent."""
    interval = f"{100 * score.low:.1f} to {100 * score.high:.1f}"
    return f"{100 * score.mean:.1f}", f"{100 * score.stderr:.1f}", interval


def results_table(metrics: Metrics) -> Table:
    """Scores with errors and intervals."""
    count = metrics.samples_per_problem
    partial = " (partial)" if metrics.partial else ""
    table = Table(
        title=f"{metrics.task}, {metrics.mode}: {metrics.problems} problems{partial}",
        title_justify="left",
    )
    table.add_column("score")
    for name in ("%", "std. error", "95 % interval"):
        table.add_column(name, justify="right")
    first = (
        "greedy accuracy" if count == 1 and not metrics.mode.startswith("avg") else f"avg@{count}"
    )
    table.add_row(first, *percent(metrics.accuracy), style="bold")
    if count > 1:
        for k, score in metrics.pass_at.items():
            if k > 1:
                table.add_row(f"pass@{k}", *percent(score))
        ties = f" ({metrics.majority_ties} ties)" if metrics.majority_ties else ""
        table.add_row(f"maj@{count}{ties}", *percent(metrics.majority))
    return table


def show_metrics(metrics: Metrics, console: Console) -> None:
    """The table and the counts under it."""
    console.print(results_table(metrics))
    counts = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in metrics.verdicts.items())
    console.print(f"samples: {counts}; {metrics.cut_off} cut off by a cap")
    console.print(
        f"tokens: {metrics.mean_completion_tokens:.0f} on average, "
        f"{metrics.max_completion_tokens} at most"
    )
