"""One flat JSON file of a run: accuracy, mean rewards, categories as counts and shares.

For a spreadsheet or a script that reads one level; `metrics.json` has all scores with their
intervals.
"""

from collections.abc import Mapping
from pathlib import Path

from srl_data.command.errors import ConfigError
from srl_data.files import write_json
from srl_eval.metrics import CATEGORIES, Metrics

_OWN_FILES = (
    *("run.json", "problems.jsonl", "results.jsonl"),
    *("metrics.json", "timing.json", "report.html"),
)


def check_summary(path: Path | None, folder: Path) -> None:
    """ConfigError where a summary cannot be written to `path`, before anything is generated."""
    if path is None:
        return
    place, run = path.resolve(), folder.resolve()
    if path.is_dir() or run.is_relative_to(place):
        raise ConfigError(f"--summary {path} is a folder; name a file, such as {path}/summary.json")
    if path.exists() and not path.is_file():
        raise ConfigError(f"--summary {path} is a device or a pipe; give the name of a file")
    if any(place.is_relative_to(run / name) for name in _OWN_FILES):
        raise ConfigError(f"--summary {path} is a file of the run itself; choose another name")
    above = next(each for each in path.absolute().parents if each.exists())
    if not above.is_dir():
        raise ConfigError(f"--summary {path}: {above} is a file, not a folder")


def write_summary(path: Path, metrics: Metrics, identity: Mapping[str, object]) -> None:
    """Write the summary of a run."""
    write_json(path, flat_summary(metrics, identity))


def flat_summary(metrics: Metrics, identity: Mapping[str, object]) -> dict[str, object]:
    """Its names and numbers; the parts of the reward are those of R1-zero.

    `mean_format_reward` is the share of answers in the right format, `mean_answer_reward` that of
    right answers in it; the total is 1 where both hold, and so equal to the latter. `accuracy`
    counts right answers in whatever format.
    """
    right = metrics.categories[CATEGORIES[0]].share
    shown = ("model", "template", "data_sha256", "seed")
    return {
        "task": metrics.task,
        "mode": metrics.mode,
        **{name: identity.get(name) for name in shown},
        "partial": metrics.partial,
        "problems": metrics.problems,
        "samples_per_problem": metrics.samples_per_problem,
        "samples": metrics.problems * metrics.samples_per_problem,
        "accuracy": metrics.accuracy.mean,
        "accuracy_low": metrics.accuracy.low,
        "accuracy_high": metrics.accuracy.high,
        "mean_format_reward": metrics.format.mean,
        "mean_answer_reward": right,
        "mean_total_reward": right,
        **counts_and_shares(metrics),
        "cut_off_count": metrics.cut_off,
        "mean_completion_tokens": metrics.mean_completion_tokens,
    }


def counts_and_shares(metrics: Metrics) -> dict[str, float]:
    """Categories and verdicts, each under NAME_count and NAME_share."""
    samples = sum(metrics.verdicts.values())
    found = {name: (each.count, each.share) for name, each in metrics.categories.items()}
    found |= {name: (count, count / samples) for name, count in metrics.verdicts.items()}
    flat: dict[str, float] = {}
    for name, (count, share) in found.items():
        flat |= {f"{name}_count": count, f"{name}_share": share}
    return flat
