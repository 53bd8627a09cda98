"""The page's parts, each from the data to HTML; a part with nothing to say is the empty string."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from html import escape
from pathlib import Path

import yaml

from srl_grpo.report.chart_list import CHARTS, ELSEWHERE, MAX_OTHER, QUIET
from srl_grpo.report.charts import Chart, Drawn, Line, draw, spark, steps_range
from srl_grpo.report.series import Kind, Series, ends, mean, say, span, thin
from srl_grpo.run.directory import RunDirectory

Data = Mapping[str, Series]

KEY_NUMBERS: tuple[tuple[str, str, Kind, bool | None], ...] = (
    ("reward", "Reward", "number", False),
    ("reward/exact", "Exact", "share", False),
    ("reward/invalid", "Invalid", "share", True),
    ("eval/reward", "Held-out reward", "number", False),
    ("eval/exact", "Held-out exact", "share", False),
    ("eval/final_answer", "Held-out final answer", "share", False),
    ("ei/correct", "Right", "share", False),
    ("ei/filtered_samples", "Kept", "count", None),
    ("ei/sft_loss", "Loss on what was kept", "number", True),
    ("loss", "Loss", "number", True),
    ("train/loss", "Loss", "number", True),
    ("eval/loss", "Held-out loss", "number", True),
    ("eval/format_reward", "Held-out answers in form", "share", False),
    ("eval/accuracy", "Held-out accuracy", "share", False),
    ("completions/mean_length", "Completion length", "count", None),
)
"""Metric, name, how it is written, and whether lower is better (None: neither)."""

FACTS = (
    ("model", ("model.path", "model", "model.build.hidden_size")),
    ("data", ("data.path", "data", "synthetic.num_problems")),
    ("steps", ("num_steps",)),
    ("rounds", ("n_ei_steps",)),
    ("epochs", ("num_epochs",)),
    ("batch", ("rollout.batch_size", "batch_size")),
    ("group", ("rollout.group_size", "group_size")),
    ("reward", ("reward.reward", "reward")),
    ("loss", ("algorithm.loss", "loss")),
    ("learning rate", ("optimizer.learning_rate", "learning_rate", "lr")),
    ("temperature", ("rollout.temperature", "temperature")),
    ("KL weight", ("algorithm.beta", "beta")),
    ("ZeRO", ("engine.zero_stage",)),
    ("seed", ("seed",)),
)
SHARES = {"exact", "invalid", "greedy_exact", "final_answer", "format_reward", "accuracy"}


def flat(tree: object, prefix: str = "") -> dict[str, object]:
    """A config tree as dotted keys."""
    if not isinstance(tree, dict):
        return {prefix: tree} if prefix else {}
    found: dict[str, object] = {}
    for key, value in tree.items():
        found |= flat(value, f"{prefix}.{key}" if prefix else str(key))
    return found


def read_text(path: Path) -> str:
    """A file's text; empty where there is none."""
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def read_config(run: RunDirectory) -> dict[str, object]:
    """The resolved config as dotted keys; empty where it is missing or damaged."""
    try:
        return flat(yaml.safe_load(read_text(run.config)))
    except yaml.YAMLError:
        return {}


def read_json(path: Path) -> dict[str, object]:
    """A JSON object; empty where the file is missing or damaged."""
    try:
        value = json.loads(read_text(path) or "{}")
    except json.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def numbers_in(value: object) -> dict[str, float]:
    """The numeric entries of an object; empty for anything else."""
    if not isinstance(value, dict):
        return {}
    return {str(k): float(v) for k, v in value.items() if isinstance(v, int | float)}


def fact(config: Mapping[str, object], label: str, keys: Iterable[str]) -> tuple[str, str] | None:
    """Label and text of the first of `keys` that the config sets."""
    for key in keys:
        if (value := config.get(key)) is None:
            continue
        if key == "model.build.hidden_size":
            layers = config.get("model.build.num_layers")
            return label, f"made on the spot, {value} dimensions, {layers} layers"
        if key == "synthetic.num_problems":
            return label, f"{value} arithmetic problems"
        return label, ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return None


def facts(config: Mapping[str, object]) -> str:
    """The config in short, as a definition list."""
    found = [fact(config, label, keys) for label, keys in FACTS]
    pairs = "".join(
        f"<div><dt>{escape(pair[0])}</dt><dd>{escape(pair[1])}</dd></div>" for pair in found if pair
    )
    return f'<dl class="facts">{pairs}</dl>' if pairs else ""


def standing(config: Mapping[str, object], data: Data) -> str:
    """How far the run came, when, and how long it took."""
    last = max((series.steps[-1] for series in data.values()), default=0)
    total = config.get("num_steps")
    if isinstance(total, int) and last < total:
        parts = [f"{last:,.0f} of {total:,} steps so far"]
    else:
        parts = [f"{last:,.0f} step{'' if last == 1 else 's'}"]
    if "step_time" in data:
        parts.append(say(sum(data["step_time"].values), "seconds"))
    if "num_tokens" in data:
        parts.append(f"{data['num_tokens'].values[-1]:,.0f} tokens")
    if "time" in data:
        ended = datetime.fromtimestamp(data["time"].values[-1], UTC)
        parts.append(f"last step {ended:%Y-%m-%d %H:%M} UTC")
    return " · ".join(parts)


def made_with(run: RunDirectory) -> str:
    """Commit and hardware of the run."""
    git, machine = (read_json(run.environment / f"{name}.json") for name in ("git", "hardware"))
    parts = []
    if sha := git.get("sha"):
        changed = git.get("changed")
        parts.append(f"commit {str(sha)[:10]}{' with changes' if changed else ''}")
    gpus = machine.get("gpus")
    if isinstance(gpus, list) and gpus and isinstance(gpus[0], dict):
        parts.append(f"{len(gpus)} × {gpus[0].get('name')}")
    elif machine.get("cpu"):
        parts.append(f"{machine.get('cpus')} × {machine['cpu']}")
    return escape(" · ".join(parts))


def key_row(series: Series, name: str, kind: Kind, lower: bool | None) -> str:
    """One metric's course in a row."""
    short = ends(series, bool(lower))
    best = "" if lower is None else f"{say(short.best, kind)}"
    where = "" if lower is None else f"step {short.best_step:,.0f}"
    return (
        f'<tr><th scope="row">{escape(name)}</th><td>{say(short.first, kind)}</td>'
        f'<td class="strong">{say(short.last, kind)}</td><td>{best}</td>'
        f'<td class="quiet">{where}</td><td class="course">{spark(series)}</td></tr>'
    )


def key_numbers(data: Data) -> str:
    """First, last and best of the metrics that matter."""
    rows = "".join(
        key_row(data[metric], name, kind, lower)
        for metric, name, kind, lower in KEY_NUMBERS
        if metric in data and not (metric == "loss" and "reward" in data)
    )
    if not rows:
        return ""
    few = span(max(len(data[metric]) for metric, *_ in KEY_NUMBERS if metric in data))
    note = f"First and last are means over {few} steps; " if few > 1 else ""
    return (
        "<section><h2>In short</h2><table class='numbers'><thead><tr><th></th><th>first</th>"
        "<th>last</th><th>best</th><th></th><th></th></tr></thead>"
        f"<tbody>{rows}</tbody></table><p class='note'>{note}best is that of the smoothed course. "
        "A held-out metric's ends are means over a tenth of its evaluations.</p></section>"
    )


def interval_mark(low: float, high: float, change: float, reach: float) -> str:
    """An interval on a line around zero, the change a dot in it."""
    x, y, z = (f"{500 + 480 * value / reach:.1f}" for value in (low, high, change))
    return (
        '<svg class="interval" viewBox="0 0 1000 1000" preserveAspectRatio="none" '
        'aria-hidden="true"><path class="hair" d="M500,0V1000"/>'
        f'<path class="thin a" d="M{x},500H{y}"/><path class="dots a" d="M{z},500h0"/></svg>'
    )


def pair_of(value: object) -> tuple[float, float] | None:
    """An interval from JSON; None for anything else."""
    if (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(v, int | float) for v in value)
    ):
        return float(value[0]), float(value[1])
    return None


def change_text(value: float, kind: Kind) -> str:
    """A difference with its sign, in points where it is of shares."""
    if kind == "share":
        return f"{100 * value:+.1f}".replace("-", "−")
    return f"{value:+.3f}".replace("-", "−")


def before_after(run: RunDirectory) -> str:
    """Held-out results at the run's two ends, with the intervals of their change."""
    summary = read_json(run.summary)
    before, after = numbers_in(summary.get("before")), numbers_in(summary.get("after"))
    spans = summary.get("intervals")
    bounds = {k: pair_of(v) for k, v in spans.items()} if isinstance(spans, dict) else {}
    names = [name for name in before if name in after]
    if not names:
        return ""
    reach = max(
        [1e-9, *(abs(after[n] - before[n]) for n in names)]
        + [abs(edge) for pair in bounds.values() if pair for edge in pair]
    )
    rows = "".join(
        change_row(name, before[name], after[name], bounds.get(name), reach) for name in names
    )
    heads = "<th></th><th>before</th><th>after</th><th>change</th>"
    if bounds:
        heads += "<th colspan='2'>95 % interval of the change</th>"
    counts = " ".join(
        f"{summary[key]} held-out {key}." for key in ("instances", "problems") if key in summary
    )
    return (
        f"<section><h2>Before and after, held out</h2><table class='numbers'><thead><tr>{heads}"
        f"</tr></thead><tbody>{rows}</tbody></table><p class='note'>{escape(counts)} Changes of "
        "shares are in percentage points.</p></section>"
    )


def change_row(
    name: str, before: float, after: float, bounds: tuple[float, float] | None, reach: float
) -> str:
    """One metric before and after."""
    kind: Kind = "share" if name in SHARES else "number"
    change = after - before
    row = (
        f'<tr><th scope="row">{escape(name.replace("_", " ").capitalize())}</th>'
        f'<td>{say(before, kind)}</td><td class="strong">{say(after, kind)}</td>'
        f"<td>{change_text(change, kind)}</td>"
    )
    if bounds:
        low, high = (change_text(edge, kind) for edge in bounds)
        row += f'<td class="quiet">{low} … {high}</td>'
        row += f'<td class="course">{interval_mark(*bounds, change, reach)}</td>'
    return row + "</tr>"


def other_charts(data: Data) -> list[Chart]:
    """A chart each for metrics that nothing else on the page shows."""
    known = QUIET | set().union(*(chart.metrics for chart in CHARTS))
    names = [n for n in data if n not in known and not n.startswith(ELSEWHERE)]
    return [other_chart(name) for name in sorted(names)[:MAX_OTHER]]


def other_chart(name: str) -> Chart:
    """A plain chart of one metric under its own name."""
    held = name.startswith("eval/")
    label = f"Held out: {name.removeprefix('eval/').replace('_', ' ')}" if held else name
    kind: Kind = "share" if name.removeprefix("eval/") in SHARES else "number"
    return Chart(label, (Line(name, "", "held" if held else "a"),), kind)


def is_flat_zero(chart: Chart, data: Data) -> bool:
    """Whether a chart would show nothing but zeros."""
    series = [data[line.metric] for line in chart.lines if line.metric in data]
    return not chart.hero and bool(series) and not any(any(one.values) for one in series)


def curves(data: Data) -> tuple[str, list[Drawn]]:
    """All charts, large ones first, and what their cursor reads."""
    if not data:
        return "", []
    across = steps_range(data)
    supervised = "reward" not in data and ("loss" in data or "train/loss" in data)
    charts = [*CHARTS, *other_charts(data)]
    zero = [chart.title for chart in charts if is_flat_zero(chart, data)]
    drawn = [
        (as_hero(chart) if supervised and chart.title == "Loss" else chart)
        for chart in charts
        if chart.title not in zero
    ]
    pictures = [picture for chart in drawn if (picture := draw(chart, data, across))]
    notes = (
        "Faint: each step. Firm: centred moving mean. Band: ± one standard deviation in the batch."
    )
    if zero:
        notes += f" Zero throughout: {', '.join(title.lower() for title in zero)}."
    body = "".join(picture.html for picture in pictures)
    markup = (
        f"<section><h2>Course</h2><div class='charts'>{body}</div>"
        f"<p class='note'>{escape(notes)}</p></section>"
    )
    return markup, pictures


def as_hero(chart: Chart) -> Chart:
    """The same chart, large."""
    return Chart(chart.title, chart.lines, chart.kind, chart.band, chart.from_zero, hero=True)


def reasons(data: Data) -> str:
    """Why outputs were invalid, the most frequent reason first."""
    prefix = "reward/invalid/"
    found = {name.removeprefix(prefix): data[name] for name in data if name.startswith(prefix)}
    ranked = sorted(found.items(), key=lambda item: -mean(item[1].values))
    rows = "".join(
        f'<tr><th scope="row">{escape(name.replace("_", " "))}</th>'
        f"<td>{say(ends(series).first, 'share')}</td><td class='strong'>"
        f"{say(ends(series).last, 'share')}</td><td class='course'>{spark(series, 'b')}</td></tr>"
        for name, series in ranked
        if any(series.values)
    )
    if not rows:
        return ""
    return (
        "<section><h2>Why outputs were invalid</h2><table class='numbers'><thead><tr><th></th>"
        f"<th>first</th><th>last</th><th></th></tr></thead><tbody>{rows}</tbody></table></section>"
    )


def time_by_phase(data: Data) -> str:
    """Where the time went: one bar for the run, a row and a course for each phase."""
    found = {n.removeprefix("time/"): data[n] for n in data if n.startswith("time/")}
    ranked = sorted(found.items(), key=lambda item: -sum(item[1].values))
    whole = sum(sum(series.values) for _, series in ranked)
    if not whole:
        return ""
    ranked = [(name, series) for name, series in ranked if sum(series.values) > 0]
    bars, rows = "", ""
    for index, (name, series) in enumerate(ranked):
        total = sum(series.values)
        bars += (
            f'<i class="p{index % 8}" style="flex:{total / whole:.5f}" title="{escape(name)}"></i>'
        )
        rows += (
            f'<tr><th scope="row"><i class="swatch p{index % 8}"></i>{escape(name)}</th>'
            f"<td class='strong'>{say(total / whole, 'share')}</td>"
            f"<td>{say_each(series)}</td><td>{say(total, 'seconds')}</td>"
            f"<td class='course'>{spark(thin(series, 120), 'ink')}</td></tr>"
        )
    return (
        f"<section><h2>Time by phase</h2><div class='bar'>{bars}</div><table class='numbers'>"
        "<thead><tr><th></th><th>share</th><th>median, when it ran</th><th>in all</th><th></th>"
        "</tr></thead>"
        f"<tbody>{rows}</tbody></table></section>"
    )


def say_each(series: Series) -> str:
    """The median of the steps in which a phase took time at all."""
    ran = sorted(value for value in series.values if value > 0)
    return say(ran[len(ran) // 2], "seconds")
