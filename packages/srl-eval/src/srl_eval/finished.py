"""Finished runs, read back from their folders: for comparing, reporting and judging again."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from srl_data.errors import DataError, IncompleteError
from srl_data.files import write_bytes, write_text
from srl_data.records import PromptAnswer, read_records
from srl_eval.grading import Candidate, Gold, get_grader, judge
from srl_eval.metrics import Metrics, by_problem, compute_metrics, correct_count
from srl_eval.samples import Sample, encode_sample, read_samples
from srl_eval.stats import Floats


@dataclass(frozen=True)
class FinishedRun:
    """A folder's record, problems and samples."""

    folder: Path
    record: Mapping[str, object]
    problems: list[PromptAnswer]
    samples: list[Sample]

    @property
    def identity(self) -> Mapping[str, object]:
        """What was run."""
        identity = self.record["identity"]
        assert isinstance(identity, dict)
        return identity

    @property
    def task(self) -> str:
        """The task's name."""
        return str(self.identity["task"])

    @property
    def mode(self) -> str:
        """Greedy, stepwise, or avgN."""
        return str(self._config("decoding", "mode"))

    @property
    def partial(self) -> bool:
        """Whether the run was limited to some problems."""
        return self._config("data", "limit") is not None

    def _config(self, section: str, key: str) -> object:
        config = self.record["config"]
        assert isinstance(config, dict)
        return config[section][key]

    def scores(self) -> dict[str, float]:
        """Share of correct samples by problem id."""
        groups = by_problem(self.samples)
        return {group[0].id: correct_count(group) / len(group) for group in groups}

    def metrics(self, resamples: int = 10_000) -> Metrics:
        """All scores, from the samples."""
        return compute_metrics(
            self.task, self.mode, self.samples, partial=self.partial, resamples=resamples
        )


def read_run(folder: Path) -> FinishedRun:
    """The run in a folder.

    Raises DataError where there is none, IncompleteError (exit code 4) where samples are missing.
    """
    path = folder / "run.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        expected = record["identity"]["problems"] * record["identity"]["samples"]
    except FileNotFoundError as error:
        raise DataError(f"{folder} holds no run of srl-eval: no run.json in it") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged: {error}") from error
    problems = list(read_records(folder / "problems.jsonl", PromptAnswer))
    samples = read_samples(folder / "results.jsonl")
    if len(samples) != expected:
        raise IncompleteError(
            f"{folder} has {len(samples)} of {expected} samples; run its command again to go on"
        )
    return FinishedRun(folder, record, problems, samples)


@dataclass(frozen=True)
class Rescored:
    """What judging again changed."""

    metrics: Metrics
    changed: list[tuple[Sample, Sample]]


def rescore(folder: Path, grader: str | None = None) -> Rescored:
    """Judge a run's stored responses again, and write results.jsonl and metrics.json anew.

    `grader` None is the run's own.
    """
    run = read_run(folder)
    judged = judge_again(run, grader or str(run.identity["grader"]))
    write_bytes(folder / "results.jsonl", b"".join(map(encode_sample, judged)))
    metrics = replace(run, samples=judged).metrics()
    write_text(folder / "metrics.json", json.dumps(asdict(metrics), indent=2) + "\n")
    pairs = zip(run.samples, judged, strict=True)
    return Rescored(metrics, [(old, new) for old, new in pairs if old.verdict != new.verdict])


def judge_again(run: FinishedRun, grader: str) -> list[Sample]:
    """A run's samples with new verdicts."""
    golds = {problem.id: Gold.of(problem) for problem in run.problems}
    candidates = [
        Candidate(
            sample.response if sample.answer_text is None else sample.answer_text,
            sample.finish_reason,
            golds[sample.id],
        )
        for sample in run.samples
    ]
    judgements = judge(get_grader(grader), candidates)
    return [
        replace(sample, verdict=judgement.verdict, extracted=judgement.extracted)
        for sample, judgement in zip(run.samples, judgements, strict=True)
    ]


def paired_scores(runs: Sequence[FinishedRun]) -> tuple[list[str], Floats]:
    """Problem ids that all runs have, and their scores: shape (runs, problems).

    Raises DataError where the runs are of different tasks or share no problem.
    """
    tasks = sorted({run.task for run in runs})
    if len(tasks) > 1:
        raise DataError(f"runs of different tasks cannot be compared: {', '.join(tasks)}")
    tables = [run.scores() for run in runs]
    ids = [name for name in tables[0] if all(name in table for table in tables)]
    if not ids:
        raise DataError("the runs have no problem in common")
    return ids, np.array([[table[name] for name in ids] for table in tables])
