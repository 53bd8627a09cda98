"""Finished runs, read back from their folders: for comparing, reporting and judging again."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from srl_data.command.errors import ConfigError, DataError, IncompleteError
from srl_data.files import write_bytes, write_json
from srl_data.records import PromptAnswer, read_records
from srl_eval.grading import GRADERS, Candidate, Gold, Grader, get_grader, judge
from srl_eval.metrics import Metrics, by_problem, compute_metrics, correct_count
from srl_eval.problems import fingerprint
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
        """Whether a limit left problems out."""
        return bool(self.record["partial"])

    def _config(self, section: str, key: str) -> object:
        config = self.record["config"]
        assert isinstance(config, dict)
        return config[section][key]

    def scores(self) -> dict[str, float]:
        """Share of correct samples by problem id."""
        groups = by_problem(self.samples)
        return {group[0].id: correct_count(group) / len(group) for group in groups}

    def metrics(self) -> Metrics:
        """All scores, from the samples, with as many resamples as the run took."""
        resamples = self._config("output", "bootstrap")
        assert isinstance(resamples, int)
        return compute_metrics(
            self.task,
            self.mode,
            self.samples,
            partial=self.partial,
            resamples=resamples,
            grader=self.grader,
        )

    @property
    def grader(self) -> Grader | None:
        """The task's own grader, None where the record names none that is known."""
        identity = self.record.get("identity")
        name = identity.get("grader") if isinstance(identity, dict) else None
        return GRADERS.get(str(name))


def read_run(folder: Path) -> FinishedRun:
    """The run in a folder.

    Raises DataError where there is none, IncompleteError (exit code 4) where samples are missing.
    """
    path = folder / "run.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        expected = record["identity"]["problems"] * record["identity"]["samples"]
        _ = record["config"], record["partial"]
    except FileNotFoundError as error:
        raise DataError(f"{folder} holds no run of srl-eval: no run.json in it") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged: {error}") from error
    problems = list(read_records(folder / "problems.jsonl", PromptAnswer, skippable=False))
    samples = read_samples(folder / "results.jsonl")
    if len(samples) != expected:
        raise IncompleteError(
            f"{folder} has {len(samples)} of {expected} samples; run its command again to resume"
        )
    return FinishedRun(folder, record, problems, samples)


@dataclass(frozen=True)
class Rescored:
    """What judging again changed."""

    metrics: Metrics
    changed: list[tuple[Sample, Sample]]


def rescore(folder: Path, grader: str | None = None) -> Rescored:
    """Judge a run's stored responses again, and write its files anew.

    `grader` None is the run's own; another one becomes it, and is what resuming compares. Raises
    ConfigError where the run's right answers are none for that grader.
    """
    run = read_run(folder)
    name = grader or str(run.identity["grader"])
    judged = judge_again(run, name)
    write_bytes(folder / "results.jsonl", b"".join(map(encode_sample, judged)))
    if name != run.identity["grader"]:
        write_json(
            folder / "run.json", {**run.record, "identity": {**run.identity, "grader": name}}
        )
    metrics = with_harness(replace(run, samples=judged))
    write_json(folder / "metrics.json", asdict(metrics))
    pairs = zip(run.samples, judged, strict=True)
    return Rescored(metrics, [(old, new) for old, new in pairs if old.verdict != new.verdict])


def with_harness(run: FinishedRun) -> Metrics:
    """All scores, with lm-eval's own beside them."""
    from srl_eval.harness import harness_scores  # takes seconds to import

    metrics = run.metrics()
    scores = harness_scores(
        f"srl_{run.task}",
        run.problems,
        [problem.problem for problem in run.problems],
        metrics.samples_per_problem,
        lambda _pairs: run.samples,
    )
    return replace(metrics, harness=scores)


def judge_again(run: FinishedRun, grader: str) -> list[Sample]:
    """A run's samples with new verdicts; ConfigError for a grader that cannot read its golds."""
    try:
        golds = {
            problem.id: Gold(get_grader(grader).gold(problem.answer), problem.meta)
            for problem in run.problems
        }
    except ValueError as error:
        raise ConfigError(f"grader {grader} does not suit {run.folder}: {error}") from error
    candidates = [
        Candidate(
            sample.response if sample.answer_text is None else sample.answer_text,
            sample.finish_reason,
            golds[sample.id],
            sample.bare,
        )
        for sample in run.samples
    ]
    judgements = judge(get_grader(grader), candidates)
    return [
        replace(
            sample,
            verdict=judgement.verdict,
            extracted=judgement.extracted,
            gold=golds[sample.id].answer,
            reason=judgement.reason,
        )
        for sample, judgement in zip(run.samples, judgements, strict=True)
    ]


def paired_scores(runs: Sequence[FinishedRun]) -> tuple[list[str], Floats]:
    """Problem ids that all runs have, and their scores: shape (runs, problems).

    Raises DataError where the runs are of different tasks or share no problem.
    """
    tasks = sorted({run.task for run in runs})
    if len(tasks) > 1:
        raise DataError(f"runs of different tasks cannot be compared: {', '.join(tasks)}")
    refuse_other_problems(runs)
    tables = [run.scores() for run in runs]
    ids = [name for name in tables[0] if all(name in table for table in tables)]
    if not ids:
        raise DataError("the runs have no problem in common")
    return ids, np.array([[table[name] for name in ids] for table in tables])


def refuse_other_problems(runs: Sequence[FinishedRun]) -> None:
    """DataError where one id names different problems: there is nothing to pair then."""
    texts = [{problem.id: fingerprint(problem.problem) for problem in run.problems} for run in runs]
    for run, own in zip(runs[1:], texts[1:], strict=True):
        other = [name for name, text in own.items() if texts[0].get(name, text) != text]
        if other:
            raise DataError(
                f"problem {other[0]!r} of {run.folder} is another one in {runs[0].folder}; "
                "runs are compared problem by problem, on the same data"
            )
