"""The README's picture says what its table says, and needs nothing from elsewhere."""

import importlib.util
import json
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

SVG = "{http://www.w3.org/2000/svg}"
METRICS = ("exact", "reward", "final_answer")


@pytest.fixture
def picture(root: Path) -> str:
    """The picture as it is committed."""
    return (root / "docs/quickstart.svg").read_text(encoding="utf-8")


@pytest.fixture
def figures(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """scripts/quickstart_figures.py as a module."""
    monkeypatch.syspath_prepend(str(root / "scripts"))
    path = root / "scripts/quickstart_figures.py"
    spec = importlib.util.spec_from_file_location("quickstart_figures", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.modules.pop("quickstart_picture", None)


def readme_table(root: Path) -> list[list[str]]:
    """The README's table of figures, without its first column: head, then rows."""
    text = (root / "README.md").read_text(encoding="utf-8")
    inner = text.partition("<!-- quickstart figures: begin -->")[2].partition("<!-- quick")[0]
    lines = [line.strip("| ").split(" | ") for line in inner.splitlines() if line.startswith("|")]
    return [line[1:] for line in lines if not line[0].startswith("---")]


def texts(picture: str) -> list[str]:
    """What the picture says, in order."""
    return [element.text or "" for element in ET.fromstring(picture).iter(f"{SVG}text")]


def heights(picture: str, metric: str, seed: str) -> list[float]:
    """The shares in percent that a curve's dots stand at, by the picture's own axis."""
    tree = ET.fromstring(picture)
    labels = {e.text: float(e.get("y", "")) - 4 for e in tree.iter(f"{SVG}text")}
    zero, whole = labels["0 %"], labels["100 %"]
    (group,) = (g for g in tree.iter(f"{SVG}g") if g.get("id") == f"{metric}-{seed}")
    return [100 * (zero - float(dot.get("cy", ""))) / (zero - whole) for dot in group]


def test_the_picture_has_the_figures_of_the_readme(root: Path, picture: str) -> None:
    head, *rows = readme_table(root)
    shown = texts(picture)
    assert len(head) == 3
    for cell in (*head, *(cell for row in rows[:6] for cell in row)):
        assert cell in shown
    # Each metric is two rows of the table, and in the picture as well.
    order = [text for text in shown if "→" in text or "…" in text][1:]
    assert order == [
        cell for n in (0, 2, 4) for pair in zip(*rows[n : n + 2], strict=True) for cell in pair
    ]


@pytest.mark.parametrize("metric", ["exact", "final_answer"])
def test_curves_begin_and_end_where_the_table_says(root: Path, picture: str, metric: str) -> None:
    head, *rows = readme_table(root)
    cells = rows[2 * METRICS.index(metric)]
    for seed, cell in zip(head, cells, strict=True):
        before, after = (float(end) for end in cell.removesuffix(" %").split(" → "))
        found = heights(picture, metric, seed.removeprefix("seed "))
        assert len(found) > 2
        assert (found[0], found[-1]) == pytest.approx((before, after), abs=0.1)


def test_the_picture_is_small_and_whole_in_light_and_dark(root: Path, picture: str) -> None:
    assert len(picture) < 20_000
    assert "prefers-color-scheme:dark" in picture
    assert not re.search(r"href|<script|@import|url\(|https?://(?!www\.w3\.org/2000/svg)", picture)
    assert "](docs/quickstart.svg)" in (root / "README.md").read_text(encoding="utf-8")


def finished_run(folder: Path, before: float, after: float) -> Path:
    """What the script reads of a run of four steps that is evaluated at 2 and 4."""
    folder.mkdir()
    names = ("exact", "reward", "final_answer")
    summary = {
        "before": dict.fromkeys(names, before),
        "after": dict.fromkeys(names, after),
        "intervals": {name: [0.1, 0.3] for name in names},
        "problems": 7,
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    rows: list[dict[str, float]] = [{"step": n, "reward/exact": before} for n in (1, 2, 3, 4)]
    rows[1] |= {"eval/exact": after - 0.1, "eval/final_answer": after}
    rows[3] |= {"eval/exact": after, "eval/final_answer": after}
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_the_script_draws_what_the_runs_hold(figures: ModuleType, tmp_path: Path) -> None:
    runs = {5: finished_run(tmp_path / "a", 0.25, 0.5), 6: finished_run(tmp_path / "b", 0.0, 1.0)}
    drawn = figures.drawing(runs)
    assert heights(drawn, "exact", "5") == pytest.approx([25, 40, 50], abs=0.1)
    assert heights(drawn, "final_answer", "6") == pytest.approx([0, 100, 100], abs=0.1)
    shown = texts(drawn)
    assert "7 held-out additions, on CPU." in shown[1]
    assert shown.count("25.0 → 50.0 %") == 2
    assert "+10.0 … +30.0" in shown
    assert {"seed 5", "seed 6", "0.000 → 1.000"} <= set(shown)
    assert drawn == figures.drawing(runs)
