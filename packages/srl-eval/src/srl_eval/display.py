"""What a run shows: its settings before the first token, its scores after the last."""

from collections.abc import Sequence

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from srl_eval.compare import compare_all
from srl_eval.comparison_display import show_comparison, show_notes
from srl_eval.comparison_files import write_comparison
from srl_eval.comparison_text import error, percent, span, with_error
from srl_eval.config import EvalConfig
from srl_eval.grading import get_grader
from srl_eval.metrics import Metrics, Score, category_label, footnotes
from srl_eval.plan import Plan, prepare
from srl_eval.report import named_scores, write_report
from srl_eval.run import execute
from srl_eval.suite import Entry, SuiteConfig, comparable, run_suite
from srl_eval.tasks import TaskSpec

_PROMPT_HEAD, _PROMPT_TAIL = 1000, 600  # characters of the first prompt: its problem is at its end


def settings(plan: Plan) -> list[tuple[str, str]]:
    """What is in effect, by name: defaults settled, the data counted and hashed."""
    sampling, subject = plan.sampling, plan.subject
    decoding = (
        "greedy"
        if sampling.greedy
        else f"temperature {sampling.temperature}, top_p {sampling.top_p}, top_k {sampling.top_k}, "
        f"min_p {sampling.min_p}"
    )
    solve = "step by step" if plan.stepwise else "in one answer"
    chat = "with" if plan.in_chat else "without"
    if sampling.stop:
        decoding += f", until {' or '.join(map(repr, sampling.stop))}"
    cap = f"at most {sampling.max_new_tokens} tokens"
    if plan.stepwise:
        longest = plan.config.decoding.max_new_tokens
        cap += f" a step, {plan.config.prompt.max_steps} steps, {longest} tokens in all"
    fewshot = plan.fewshot and f"{len(plan.fewshot.examples)} examples, {plan.fewshot.source}"
    rows = (
        ("task", f"{plan.task.name} ({plan.task.harness_name}), {plan.task.description}"),
        ("data", f"{len(plan.data.problems)} problems, {plan.data.source}"),
        ("sha256", plan.data.sha256),
        ("grader", get_grader(plan.task.grader).description),
        ("model", f"{subject.label} ({plan.config.backend.backend})"),
        ("template", f"{subject.template.label}, {solve}"),
        ("", f"{chat} the model's chat template"),
        ("few-shot", fewshot or ""),
        ("decoding", f"{decoding}, {cap}"),
        ("samples", f"{plan.samples} a problem, seed {plan.config.decoding.seed}"),
        ("output", str(plan.output_dir)),
    )
    return [(name, value) for name, value in rows if value]


def announce(plan: Plan, console: Console) -> None:
    """The effective settings, the first rendered prompt, the data's hash and count."""
    grid = Table.grid(padding=(0, 2))
    for name, value in settings(plan):
        grid.add_row(Text(name, style="bold"), Text(value))
    for note in plan.notes:
        grid.add_row(Text("note", style="bold yellow"), Text(note))
    console.print(grid)
    shown = Text(shortened(plan.prompts[0]))
    console.print(Panel(shown, title="first prompt", title_align="left", style="dim"))


def shortened(prompt: str) -> str:
    """A prompt, or both its ends."""
    cut = len(prompt) - _PROMPT_HEAD - _PROMPT_TAIL
    if cut <= 0:
        return prompt
    return f"{prompt[:_PROMPT_HEAD]}\n[... {cut} characters ...]\n{prompt[-_PROMPT_TAIL:]}"


def in_percent(score: Score) -> tuple[str, str, str]:
    """Mean, standard error and interval in percent."""
    return percent(score.mean), error(score.stderr), span((score.low, score.high))


def results_table(metrics: Metrics) -> Table:
    """Scores with errors and intervals."""
    partial = " (partial)" if metrics.partial else ""
    table = Table(
        title=f"{metrics.task}, {metrics.mode}: {metrics.problems} problems{partial}",
        title_justify="left",
    )
    table.add_column("score")
    for name in ("%", "std. error", "95 % interval"):
        table.add_column(name, justify="right")
    for n, (name, score) in enumerate(named_scores(metrics)):
        table.add_row(name, *in_percent(score), style="" if n else "bold")
    return table


def format_table(metrics: Metrics) -> Table:
    """Samples by the format of their answers and whether those are right."""
    table = Table(title="answers by format", title_justify="left")
    table.add_column("category")
    for name in ("samples", "%"):
        table.add_column(name, justify="right")
    for name, found in metrics.categories.items():
        table.add_row(category_label(name), str(found.count), f"{100 * found.share:.1f}")
    return table


def show_metrics(metrics: Metrics, console: Console) -> None:
    """The tables and the counts under them."""
    console.print(results_table(metrics))
    show_notes(footnotes(dict(named_scores(metrics))), console)
    console.print(format_table(metrics))
    counts = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in metrics.verdicts.items())
    console.print(f"samples: {counts}; {metrics.cut_off} cut off by a cap")
    console.print(
        f"tokens: {metrics.mean_completion_tokens:.0f} on average, "
        f"{metrics.max_completion_tokens} at most"
    )


def suite_table(finished: Sequence[tuple[Entry, Metrics]]) -> Table:
    """Models down, tasks and modes across: accuracy with its standard error."""
    table = Table(title="accuracy in %, with its standard error", title_justify="left")
    table.add_column("model", overflow="fold")
    columns = list(dict.fromkeys(entry.folder.name for entry, _ in finished))
    for name in columns:
        table.add_column(name, justify="right", overflow="fold")
    rows: dict[str, dict[str, str]] = {}
    for entry, metrics in finished:
        score = with_error(metrics.accuracy.mean, metrics.accuracy.stderr)
        partial = " (partial)" if metrics.partial else ""
        rows.setdefault(entry.model, {})[entry.folder.name] = f"{score}{partial}"
    for model, cells in rows.items():
        table.add_row(model, *(cells[name] for name in columns))
    return table


def run_and_show(task: TaskSpec, config: EvalConfig) -> Metrics:
    """One evaluation: announced, run, its report written and its scores shown."""
    console = Console()
    plan = prepare(task, config)
    announce(plan, Console(stderr=True))
    metrics = execute(plan)
    write_report(plan.output_dir)
    show_metrics(metrics, console)
    written = f"wrote {plan.output_dir}/results.jsonl, metrics.json and report.html"
    if config.output.summary is not None:
        written += f", and {config.output.summary}"
    console.print(written, markup=False, highlight=False, soft_wrap=True)
    return metrics


def run_and_show_suite(suite: SuiteConfig) -> None:
    """Run a suite, showing each evaluation, and write a comparison a task and mode."""
    console = Console()
    finished = run_suite(suite, run_and_show)
    console.print(suite_table(finished))
    if len(suite.models) > 1:
        for name, folders in comparable(suite).items():
            side = compare_all(folders)
            show_comparison(side, console)
            write_comparison(side, suite.output_dir, f"compare_{name}")
