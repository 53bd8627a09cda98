"""The page put together: template, style, script and data in one file.

The script is allowed by its hash and nothing may be loaded from anywhere, so that a text that
slipped through escaping could still neither run nor call home.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from pathlib import Path

from srl_data.files import write_text
from srl_grpo.report import sections
from srl_grpo.report.charts import steps_range
from srl_grpo.report.data import data_section
from srl_grpo.report.rollouts import Sample, sample
from srl_grpo.report.series import collect
from srl_grpo.run.directory import RunDirectory, open_run
from srl_grpo.run.trackers import read_metrics


def write_report(run_dir: Path) -> Path:
    """Write `report.html` into a run directory; returns its path.

    Raises DataError (exit code 3) where `run_dir` holds no run, or a damaged file of one.
    """
    run = open_run(run_dir)
    # A lone surrogate, which a model's text may hold, has no UTF-8.
    text = render(run).encode("utf-8", errors="replace").decode("utf-8")
    write_text(run.report, text)
    return run.report


def render(run: RunDirectory) -> str:
    """The page's HTML."""
    data = collect(read_metrics(run.metrics)) if run.metrics.is_file() else {}
    config = sections.read_config(run)
    picture, drawn = sections.curves(data)
    chosen = sample(run)
    course = {
        "across": steps_range(data) if data else [0, 1],
        "charts": [chart.readout for chart in drawn],
    }
    script = asset("page.js")
    return fill(
        asset("page.html"),
        {
            "hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            "name": escape(run.path.resolve().name),
            "standing": escape(sections.standing(config, data))
            if data
            else "no steps recorded yet",
            "made_with": sections.made_with(run),
            "facts": sections.facts(config),
            "summary": sections.before_after(run) + sections.key_numbers(data),
            "curves": picture,
            "data": data_section(run),
            "reasons": sections.reasons(data),
            "time": sections.time_by_phase(data),
            "rollouts": asset("rollouts.html") if chosen.steps else "",
            "rollouts_note": escape(sample_note(chosen)),
            "config": config_text(run),
            "style": asset("page.css"),
            "script": script,
            "course_data": embed(course),
            "rollout_data": embed(chosen.steps),
        },
    )


def asset(name: str) -> str:
    """A file that lies beside this module."""
    return files("srl_grpo.report").joinpath(name).read_text(encoding="utf-8")


def fill(template: str, values: Mapping[str, str]) -> str:
    """`{{name}}` replaced by its value, in one pass for the template and one for its parts.

    Values other than parts are never searched for names: a model may write `{{script}}`.
    """
    part = template.replace("{{rollouts}}", values["rollouts"])
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], part)


def embed(value: object) -> str:
    """JSON that can stand inside a script element: no `<`, `>` or `&` as themselves."""
    text = json.dumps(value, separators=(",", ":"))
    for mark in "<>&":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text


def sample_note(chosen: Sample) -> str:
    """How much of what there is the page shows."""
    return (
        f"{chosen.shown:,} of {chosen.seen:,} rollouts, from {len(chosen.steps):,} of "
        f"{chosen.all_steps:,} recorded steps."
    )


def config_text(run: RunDirectory) -> str:
    """The whole config, folded away."""
    text = sections.read_text(run.config)
    if not text:
        return ""
    return (
        f"<section><details><summary>Config</summary><pre>{escape(text)}</pre></details></section>"
    )
