"""A run's report: a page that needs no network.

It is a page of our own with the run's data put in as JSON; long responses are cut in the
middle, since they stand whole in results.jsonl. Mathematics is typeset as `typeset.py` says.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path

from srl_data.files import write_text
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
        "footnotes": footnotes(dict(named_scores(metrics))),
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
