"""Run the quickstart with some seeds; write its figures into the README and draw its picture.

    uv run python scripts/quickstart_figures.py --runs runs/figures

A run that is finished in `--runs` is not run again. The table stands between two comments in the
README; nothing else there is touched. The picture is docs/quickstart.svg, of the same runs.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from quickstart_picture import Curve, Panel, TableRow, course, picture

from srl_data.files import write_text
from srl_grpo.run.trackers import read_metrics

README = Path(__file__).parents[1] / "README.md"
PICTURE = README.parent / "docs" / "quickstart.svg"
BEGIN, END = "<!-- quickstart figures: begin -->", "<!-- quickstart figures: end -->"
ROWS = (
    ("next step exactly the expert's, sampled", "exact", True),
    ("reward, sampled", "reward", False),
    ("problems solved by chaining the model's own steps", "final_answer", True),
)
"""Label, metric, and whether it is a share."""
SHORT = {"final_answer": "problems solved by own steps"}
"""Labels where there is little room."""
PHASES = ("sft", "rollout", "update", "eval")

Summary = Mapping[str, Mapping[str, float]]


def finished(run: Path, seed: int) -> Path:
    """The folder of a finished quickstart of a seed, run now where it is not there."""
    if not (run / "summary.json").is_file():
        command = ["train", "--config", "quickstart", "--seed", str(seed)]
        place = ["--output-dir", str(run), "--resume", "auto"]
        subprocess.run([sys.executable, "-m", "srl_grpo", *command, *place], check=True)
    return run


def change_cells(summary: Summary, name: str, is_share: bool) -> tuple[str, str]:
    """`before → after`, and the interval of the change."""
    scale, digits = (100, 1) if is_share else (1, 3)
    before, after = summary["before"][name] * scale, summary["after"][name] * scale
    low, high = (end * scale for end in summary["intervals"][name])
    unit = " %" if is_share else ""
    pair = f"{before:.{digits}f} → {after:.{digits}f}{unit}"
    return pair, f"{low:+.{digits}f} … {high:+.{digits}f}"


def phase_seconds(run: Path) -> dict[str, float]:
    """Seconds of each phase: the supervised stage as a whole, and the steps' own phases."""
    rows = list(read_metrics(run / "metrics.jsonl"))
    first = sum(row["step_time"] for row in read_metrics(run / "sft/metrics.jsonl"))
    found = {name: sum(row.get(f"time/{name}", 0.0) for row in rows) for name in PHASES[1:]}
    summary = json.loads((run / "summary.json").read_text())
    found["eval"] += summary["seconds"]["before"] + summary["seconds"]["after"]
    return {"sft": first, **found, "total": summary["seconds"]["total"]}


def table(runs: Mapping[int, Path]) -> str:
    """The figures as Markdown."""
    summaries = {seed: json.loads((run / "summary.json").read_text()) for seed, run in runs.items()}
    lines = [
        "| held out, before → after |" + "".join(f" seed {seed} |" for seed in runs),
        "| --- |" + " ---: |" * len(runs),
    ]
    for label, name, is_share in ROWS:
        cells = [change_cells(summary, name, is_share) for summary in summaries.values()]
        points = ", points" if is_share else ""
        lines.append(row(label, [pair for pair, _ in cells]))
        lines.append(row(f"change, paired 95 % interval{points}", [span for _, span in cells]))
    seconds = [phase_seconds(run) for run in runs.values()]
    timed = (*PHASES, "total")
    rows = [row(f"seconds, {name}", [f"{found[name]:.0f}" for found in seconds]) for name in timed]
    return "\n".join([*lines, *rows])


def row(label: str, cells: Sequence[str]) -> str:
    """A row of a Markdown table."""
    return f"| {label} | " + " | ".join(cells) + " |"


def drawing(runs: Mapping[int, Path]) -> str:
    """The figures as a picture: the curves of the two shares, and the table."""
    summaries = [json.loads((run / "summary.json").read_text()) for run in runs.values()]
    rows = [
        TableRow(
            SHORT.get(name, label), [change_cells(summary, name, is_share) for summary in summaries]
        )
        for label, name, is_share in ROWS
    ]
    panels = [
        Panel(SHORT.get(name, label), name, {seed: curve(run, name) for seed, run in runs.items()})
        for label, name, is_share in ROWS
        if is_share
    ]
    return picture(
        "srl-grpo train --config quickstart",
        f"{summaries[0]['problems']} held-out additions, on CPU. Dots: held out. Faint: sampled in "
        "training, means of ten steps.",
        panels,
        rows,
        "Intervals are paired and clustered by problem. Step 0 is the model after its supervised "
        "stage.",
    )


def curve(run: Path, name: str) -> Curve:
    """A share of a run: held out from before to after, and while training where it is logged."""
    summary = json.loads((run / "summary.json").read_text())
    rows = list(read_metrics(run / "metrics.jsonl"))
    held_out = [
        (0.0, summary["before"][name]),
        *((row["step"], row[f"eval/{name}"]) for row in rows if f"eval/{name}" in row),
    ]
    logged = [row[f"reward/{name}"] for row in rows if f"reward/{name}" in row]
    return Curve(held_out, course(logged))


def machine(run: Path) -> str:
    """What the last digits depend on, in a sentence."""
    found = json.loads((run / "sys/hardware.json").read_text())
    arithmetic = found["arithmetic"]
    return (
        f"{found['cpu']}, torch {arithmetic['torch']} with {arithmetic['cpu_capability']}, "
        f"{arithmetic['blas']}, threads: {arithmetic['threads']}"
    )


def main() -> None:
    """Run what is missing, write the table, draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 1, 2])
    parser.add_argument("--note", default="", help="what else ran on the machine")
    options = parser.parse_args()
    runs = {seed: finished(options.runs / f"s{seed}", seed) for seed in options.seeds}
    pairs = (next(iter(runs.values())) / "sft/pairs.jsonl").read_text().count("\n")
    beside = f"; {options.note}" if options.note else ""
    text = (
        f"{table(runs)}\n\n"
        f"Made by `scripts/quickstart_figures.py` on {machine(next(iter(runs.values())))}{beside}. "
        f"The supervised stage reads {pairs:,} pairs once. The same machine gives the same digits; "
        "another processor, BLAS or number of threads may not (`sys/hardware.json` has them), and "
        "differs by a few points of the exact share.\n"
    )
    old = README.read_text(encoding="utf-8")
    head, _, rest = old.partition(BEGIN)
    write_text(README, f"{head}{BEGIN}\n\n{text}\n{END}{rest.partition(END)[2]}")
    write_text(PICTURE, drawing(runs))


if __name__ == "__main__":
    main()
