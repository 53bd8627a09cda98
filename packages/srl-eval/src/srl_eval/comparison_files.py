"""A comparison's files: Markdown, a page, and JSON with every number and every flipped problem."""

import json
from dataclasses import asdict
from pathlib import Path

from srl_data.files import write_text
from srl_eval.compare import Comparison, Row, SideBySide
from srl_eval.comparison_page import comparison_page
from srl_eval.comparison_text import as_markdown


def write_comparison(side: SideBySide, folder: Path, name: str = "compare") -> None:
    """Write NAME.md, NAME.html and NAME.json."""
    write_text(folder / f"{name}.md", as_markdown(side))
    write_text(folder / f"{name}.html", comparison_page(side))
    write_text(folder / f"{name}.json", encoded(side))


def encoded(side: SideBySide) -> str:
    """The comparison as JSON: shares from 0 to 1, differences to the first run of each task."""
    found = {"tasks": [task_data(each) for each in side.comparisons], "notes": side.notes}
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def task_data(comparison: Comparison) -> dict[str, object]:
    """One task."""
    return {
        "task": comparison.task,
        "problems": comparison.problems,
        "first": comparison.rows[0].name,
        "runs": [run_data(row) for row in comparison.rows],
        "notes": comparison.notes,
    }


def run_data(row: Row) -> dict[str, object]:
    """One run, its flips apart in better and worse."""
    found = asdict(row)
    flips = found.pop("flips")
    if row.difference is None:
        return found
    better, worse = (
        [data for flip, data in zip(row.flips, flips, strict=True) if flip.is_better is side]
        for side in (True, False)
    )
    return {**found, "better": better, "worse": worse}
