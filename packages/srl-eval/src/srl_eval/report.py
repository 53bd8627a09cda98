"""Pages that need no network: a run's report, and a comparison.

The report is a page of our own with the run's data put in as JSON; long responses are cut in the
middle, since they stand whole in results.jsonl. Mathematics is typeset as `typeset.py` says.
"""

import html
import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path

from srl_data.files import write_text
from srl_eval.compare import HEADERS, INTERVALS, Comparison, cells
from srl_eval.finished import FinishedRun, read_run
from srl_eval.metrics import Metrics, Score, category_label, footnotes
from srl_eval.samples import Sample
from srl_eval.typeset import Typesetter

_HEAD, _TAIL = 3000, 5000  # characters of a response that are kept from either end


def write_report(folder: Path, output: Path | None = None) -> Path:
    """Write report.html of a finished run, into its folder by default; where it was written."""
    path = output or folder / "report.html"
    write_text(path, render_report(read_run(folder)))
    return path


def render_report(run: FinishedRun) -> str:
    """The page of a run."""
    metrics = run.metrics()
    typesetter = Typesetter()
    problems = [
        {"id": p.id, "problem": typesetter.pieces(p.problem), "answer": p.answer}
        for p in run.problems
    ]
    data = {
        "metrics": asdict(metrics),
        "categories": [
            (category_label(name), found.count, found.share)
            for name, found in metrics.categories.items()
        ],
        "scores": [(name, asdict(score)) for name, score in named_scores(metrics)],
        "model": str(run.identity.get("model")),
        "template": str(run.identity.get("template")),
        "identity": dict(run.identity),
        "footnotes": footnotes([score for _, score in named_scores(metrics)]),
        "problems": problems,
        "samples": samples_data(run.samples, typesetter),
        "formulas": typesetter.formulas,
        "untypeset": typesetter.left_out,
    }
    page = (files("srl_eval") / "report_page.html").read_text(encoding="utf-8")
    # "<" would let a response end the script element that holds it.
    text = json.dumps(data, ensure_ascii=True).replace("<", "\\u003c")
    return page.replace("/*DATA*/", text)


def named_scores(metrics: Metrics) -> list[tuple[str, Score]]:
    """The scores of a run in the order of its table."""
    count = metrics.samples_per_problem
    average = metrics.mode.startswith("avg")
    rows = [(f"avg@{count}" if average else f"{metrics.mode} accuracy", metrics.accuracy)]
    if count > 1:
        rows += [(f"pass@{k}", score) for k, score in metrics.pass_at.items() if k > 1]
        ties = f" ({metrics.majority_ties} ties)" if metrics.majority_ties else ""
        rows.append((f"maj@{count}{ties}", metrics.majority))
    return rows


def samples_data(samples: Sequence[Sample], typesetter: Typesetter) -> list[dict[str, object]]:
    """All samples in order; what may be typeset goes to the first samples of every problem."""
    order = sorted(range(len(samples)), key=lambda n: (samples[n].sample, samples[n].doc))
    shown = {n: sample_data(samples[n], typesetter) for n in order}
    return [shown[n] for n in range(len(samples))]


def sample_data(sample: Sample, typesetter: Typesetter) -> dict[str, object]:
    """What the page shows of a sample."""
    text = sample.response
    if len(text) > _HEAD + _TAIL:
        cut = len(text) - _HEAD - _TAIL
        text = f"{text[:_HEAD]}\n[... {cut} characters, see results.jsonl ...]\n{text[-_TAIL:]}"
    return {
        "doc": sample.doc,
        "sample": sample.sample,
        "verdict": sample.verdict,
        "extracted": sample.extracted and sample.extracted[:200],
        "tokens": sample.completion_tokens,
        "finish": sample.finish_reason,
        "steps": sample.steps,
        "reason": sample.reason,
        "in_format": sample.in_format,
        "response": typesetter.pieces(text),
    }


_STYLE = """
body { margin:2rem auto; max-width:1080px; padding:0 1.25rem; font:15px/1.5 system-ui,sans-serif;
  background:#fbfbfa; color:#1d2126 }
table { border-collapse:collapse; font-variant-numeric:tabular-nums }
td,th { padding:.3rem .9rem .3rem 0; text-align:right; border-bottom:1px solid #dfe2e6 }
td:nth-child(-n+2),th:nth-child(-n+2) { text-align:left } td,th { white-space:nowrap }
td:first-child { white-space:normal; overflow-wrap:anywhere; min-width:7rem }
.wide { overflow-x:auto }
h1 { font-size:1.55rem }
.dim { color:#68707a } .sure { font-weight:600 }
@media (prefers-color-scheme: dark) { body { background:#15181c; color:#e4e7ea }
  td,th { border-color:#2c3138 } .dim { color:#949ca6 } }
"""


def comparison_page(comparison: Comparison) -> str:
    """The page of a comparison; differences whose interval leaves out 0 stand out."""
    rows = []
    for row in comparison.rows:
        interval = row.difference_interval
        sure = interval is not None and (interval[0] > 0 or interval[1] < 0)
        inner = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells(row))
        rows.append(f'<tr class="sure">{inner}</tr>' if sure else f"<tr>{inner}</tr>")
    head = "".join(f"<th>{html.escape(name)}</th>" for name in HEADERS)
    notes = "".join(f"<p>Note: {html.escape(note)}.</p>" for note in comparison.notes)
    title = html.escape(comparison.title)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title>"
        f"<style>{_STYLE}</style><h1>{title}</h1>"
        f'<div class="wide"><table><tr>{head}</tr>{"".join(rows)}</table></div>'
        f'<div class="dim"><p>{INTERVALS} Bold: the interval of the difference leaves out 0.</p>'
        f"{notes}</div></html>\n"
    )
