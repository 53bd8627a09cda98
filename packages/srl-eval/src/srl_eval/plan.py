"""What is settled before the first token: problems, prompts, caps, the work list, the folder.

`prepare` reads the data and the tokenizer and no weights; running the plan is `run.py`.
"""

import datetime as dt
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from srl_data.command.errors import ConfigError, DataError
from srl_data.prompt_format import Prompt, open_prompts
from srl_data.prompt_record import chat_options
from srl_data.records import PromptAnswer
from srl_eval.answer_form import check_stops
from srl_eval.config import EvalConfig, resolve_sampling
from srl_eval.fewshot import FewShot, load_fewshot, next_turn_marks, with_examples
from srl_eval.generate.sampling import Sampling
from srl_eval.generate.seeds import seed_for
from srl_eval.generate.tokenizers import check_round_trip
from srl_eval.models import Subject, check_model, open_subject
from srl_eval.problems import ProblemSet, load_problems
from srl_eval.samples import WorkItem
from srl_eval.solvers import Solver, StepwiseSolver, WholeSolver, step_sampling
from srl_eval.summary import check_summary
from srl_eval.tasks import TaskSpec
from srl_eval.tracking import check_tracking

_MOST_SHOWN = 3
"""Remarks of one kind that are shown in full."""


@dataclass(frozen=True)
class Plan:
    """Everything settled before the first token."""

    task: TaskSpec
    config: EvalConfig
    subject: Subject
    data: ProblemSet
    columns: list[dict[str, object]]
    """What the prompt template gets of each problem."""
    fewshot: FewShot | None
    sampling: Sampling
    stepwise: bool
    solver: Solver
    work: list[WorkItem]
    prompts: list[str]
    prompt_ids: list[list[int]]
    notes: list[str]
    output_dir: Path

    @property
    def in_chat(self) -> bool:
        """Whether prompts go through the model's chat template."""
        return self.subject.prompts.chat.is_chat

    @property
    def samples(self) -> int:
        """Answers a problem."""
        return self.config.decoding.samples

    def identity(self) -> dict[str, object]:
        """What a resumed run must agree in; all that can change a line of results.jsonl."""
        sampling = asdict(self.sampling)
        return {
            "task": self.task.name,
            "grader": self.task.grader,
            "data_sha256": self.data.sha256,
            "problems": len(self.data.problems),
            **self.subject.identity,
            "template": self.subject.template.label,
            "chat_template": self.in_chat,
            **self._chat_settings(),
            "prompts_sha256": prompts_hash(self.prompt_ids),
            "solve": "stepwise" if self.stepwise else "whole",
            "samples": self.samples,
            "seed": self.config.decoding.seed,
            "chunk_size": self.config.backend.chunk_size,
            **sampling,
            "stop_token_ids": list(self.sampling.stop_token_ids),
            "stop": list(self.sampling.stop),
            **(self._step_caps() if self.stepwise else {}),
            **(self.fewshot.identity() if self.fewshot else {}),
        }

    def _chat_settings(self) -> dict[str, object]:
        """Arguments of the chat template, and the date that it prints, where there are any."""
        record = self.subject.prompts.record
        kwargs, date = record.chat_template_kwargs, record.date
        found = {"chat_template_kwargs": kwargs or None, "date": date and date.isoformat()}
        return {name: value for name, value in found.items() if value is not None}

    def _step_caps(self) -> dict[str, object]:
        """Caps of a chain of steps; `max_new_tokens` of the sampling is a single step's then."""
        start = self.config.prompt.chain_start
        return {
            "max_steps": self.config.prompt.max_steps,
            "max_answer_tokens": self.config.decoding.max_new_tokens,
            **({"chain_start": start} if start > 1 else {}),
        }


def prepare(task: TaskSpec, config: EvalConfig, subject: Subject | None = None) -> Plan:
    """Load problems and tokenizer, render prompts, settle the caps; no weights yet."""
    check_tracking(config.tracking)
    check_summary(config.output.summary, output_folder(task, config))
    live = subject is not None
    if not live:
        check_model(config)
    data = load_problems(task, config.data.data_path, config.data.data_revision, config.data.limit)
    today = None if config.output.overwrite else first_day(output_folder(task, config))
    subject = asked_as(subject, config, today) if subject else open_subject(config, today)
    check_stops(subject.template, config.decoding.stop)
    stepwise = is_stepwise(config, subject)
    fewshot = load_fewshot(task, config, data)
    ends: tuple[str, ...] = ()
    if fewshot:
        ends = next_turn_marks(subject.prompts)
        subject = show_examples(subject, fewshot, stepwise=stepwise)
    columns = problem_columns(data, config.prompt.chain_start, stepwise=stepwise)
    asked = [ask(subject, *each) for each in zip(data.problems, columns, strict=True)]
    prompt_ids = [list(prompt.ids) for prompt in asked]
    notes = [*data_notes(task, data, fewshot), *subject.prompts.notes, *spelt_notes(asked)]
    room = token_cap(config, subject, prompt_ids, notes, stepwise=stepwise)
    sampling = resolve_sampling(config.decoding, room, subject.stop_token_ids)
    if not live:  # a live engine may have no tokenizer; the solver cuts what it writes further
        sampling = replace(sampling, stop=(*sampling.stop, *ends))
    prompts = [prompt.text for prompt in asked]
    check_round_trip(subject.tokenizer, prompts[0], subject.label)
    notes += subject.notes
    if stepwise:
        sampling = step_sampling(sampling, config.prompt.max_step_tokens, subject.window)
    return Plan(
        task=task,
        config=config,
        subject=subject,
        data=data,
        columns=columns,
        fewshot=fewshot,
        sampling=sampling,
        stepwise=stepwise,
        solver=make_solver(config, subject, sampling, ends, stepwise=stepwise),
        work=make_work(task, config, data),
        prompts=prompts,
        prompt_ids=prompt_ids,
        notes=notes,
        output_dir=output_folder(task, config, subject.label),
    )


def asked_as(subject: Subject, config: EvalConfig, today: dt.date | None) -> Subject:
    """A live model, asked through its chat template as the configuration says."""
    chosen = config.prompt.chat_template != "auto" or config.prompt.chat_template_kwargs is not None
    if not chosen:
        return subject
    prompts = subject.prompts
    options = chat_options(config.prompt, prompts.record, today)
    opened = open_prompts(prompts.tokenizer, prompts.template, options, subject.label)
    return replace(subject, prompts=opened)


def first_day(folder: Path) -> dt.date | None:
    """The day that the prompts of the folder's run print, if it holds one that prints a day."""
    try:
        earlier = json.loads((folder / "run.json").read_text(encoding="utf-8"))["identity"]
        return dt.date.fromisoformat(earlier["date"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # what is wrong with a damaged folder is told when it is opened


def problem_columns(
    data: ProblemSet, chain_start: int, *, stepwise: bool
) -> list[dict[str, object]]:
    """Each problem's columns: its text, and the expert's steps before step `chain_start`.

    The expert's last step is never given. Raises ConfigError where answers have no steps, DataError
    where a problem has none of the expert's.
    """
    if chain_start == 1:
        return [{"problem": problem.problem} for problem in data.problems]
    if not stepwise:
        raise ConfigError(
            f"--chain-start {chain_start} is for answers in steps: use it with --mode stepwise"
        )
    for problem in data.problems:
        if problem.id not in data.steps:
            raise DataError(
                f"{data.source}: problem {problem.id!r} has no steps of an expert to begin with; "
                "expected the field steps, or a solution in numbered steps, or --chain-start 1"
            )
    return [
        {"problem": problem.problem, "previous_steps": steps[: min(chain_start, len(steps)) - 1]}
        for problem in data.problems
        for steps in [data.steps[problem.id]]
    ]


def ask(subject: Subject, problem: PromptAnswer, columns: Mapping[str, object]) -> Prompt:
    """One problem's prompt; DataError naming the problem whose text does not come out whole."""
    try:
        return subject.prompts.prompt(**columns)
    except DataError as error:
        raise DataError(f"problem {problem.id!r}: {error}") from error


def spelt_notes(asked: Sequence[Prompt]) -> list[str]:
    """A line where problems spell the model's control tokens."""
    spelling = [prompt for prompt in asked if prompt.spelt]
    if not spelling:
        return []
    shown = ", ".join(map(repr, spelling[0].spelt))
    return [f"{len(spelling)} problems spell control tokens, such as {shown}: encoded as text"]


def is_stepwise(config: EvalConfig, subject: Subject) -> bool:
    """Whether answers are chained from steps: as asked for, else as the template was trained."""
    if config.decoding.mode == "stepwise" and config.prompt.solve == "whole":
        raise ConfigError("--mode stepwise and --solve whole contradict each other")
    asked = "stepwise" if config.decoding.mode == "stepwise" else config.prompt.solve
    if asked == "stepwise" and not subject.template.stepwise:
        raise ConfigError(
            f"an answer in steps needs a template that shows the steps before, and "
            f"{subject.template.name!r} does not; use --template srl, or --solve whole"
        )
    return subject.template.stepwise if asked == "auto" else asked == "stepwise"


def show_examples(subject: Subject, fewshot: FewShot, *, stepwise: bool) -> Subject:
    """The model, asked with worked examples before each problem."""
    if stepwise:
        raise ConfigError(
            f"few-shot examples are whole solutions, and template {subject.template.name!r} is "
            "answered step by step; use --solve whole or --num-fewshot 0"
        )
    return replace(subject, prompts=with_examples(subject.prompts, fewshot.examples))


def data_notes(task: TaskSpec, data: ProblemSet, fewshot: FewShot | None) -> list[str]:
    """What a reader should know about the data."""
    notes = []
    if data.partial:
        notes.append(f"partial: the first {len(data.problems)} of {data.total} problems")
    if task.size is not None and data.total != task.size:
        notes.append(f"{data.source} has {data.total} problems, {task.name} has {task.size}")
    if fewshot and fewshot.left_out:
        notes.append(
            f"{fewshot.left_out} problems of {fewshot.source} are asked themselves and are no "
            "examples"
        )
    if fewshot and fewshot.bad:
        notes.append(f"rows that are no examples are left out: {shortened(fewshot.bad)}")
    if data.unreadable:
        notes.append(shortened(data.unreadable))
    return notes


def shortened(lines: Sequence[str]) -> str:
    """The first few of several remarks, and how many there are."""
    shown = "; ".join(lines[:_MOST_SHOWN])
    more = len(lines) - _MOST_SHOWN
    return f"{shown}; and {more} more" if more > 0 else shown


def token_cap(
    config: EvalConfig,
    subject: Subject,
    prompt_ids: Sequence[Sequence[int]],
    notes: list[str],
    *,
    stepwise: bool,
) -> int:
    """Longest completion: what was asked for, bounded by what the longest prompt leaves."""
    asked, window = config.decoding.max_new_tokens, subject.window
    if window is None:
        return asked
    longest = max(map(len, prompt_ids))
    room = window - longest
    if room < 1:
        raise DataError(
            f"the longest prompt has {longest} tokens and {subject.label} takes {window} in all; "
            "use a model with a longer window, a shorter --template or a lower --num-fewshot"
        )
    if room < asked and not stepwise:
        notes.append(
            f"max_new_tokens {asked} lowered to {room}: the model's window of {window} "
            f"less the longest prompt's {longest}"
        )
    return min(asked, room)


def make_solver(
    config: EvalConfig,
    subject: Subject,
    sampling: Sampling,
    ends: tuple[str, ...],
    *,
    stepwise: bool,
) -> Solver:
    """How answers are made: sampled whole, or written step by step."""
    if not stepwise:
        return WholeSolver(subject.prompts, sampling, ends)
    return StepwiseSolver(
        subject.prompts,
        sampling,
        max_steps=config.prompt.max_steps,
        max_tokens=config.decoding.max_new_tokens,
        window=subject.window,
    )


def make_work(task: TaskSpec, config: EvalConfig, data: ProblemSet) -> list[WorkItem]:
    """Problem after problem, its samples side by side, so that its prompt is computed once."""
    return [
        WorkItem(doc, problem.id, sample, seed_for(config.decoding.seed, task.name, doc, sample))
        for doc, problem in enumerate(data.problems)
        for sample in range(config.decoding.samples)
    ]


def output_folder(task: TaskSpec, config: EvalConfig, label: str | None = None) -> Path:
    """The folder named, else results/MODEL_TASK_MODE; `label` is the model's own name."""
    if config.output.output_dir is not None:
        return config.output.output_dir
    return Path("results") / run_name(task, config, label or config.model.name)


def run_name(task: TaskSpec, config: EvalConfig, label: str) -> str:
    """MODEL_TASK_MODE."""
    return f"{Path(label).name or 'model'}_{task.name}_{config.decoding.mode}"


def prompts_hash(ids: Sequence[Sequence[int]]) -> str:
    """SHA-256 of all prompts' token ids."""
    return hashlib.sha256(json.dumps([list(prompt) for prompt in ids]).encode()).hexdigest()


def prompt_hash(ids: Sequence[int]) -> str:
    """SHA-256 of a prompt's token ids, shortened."""
    return hashlib.sha256(json.dumps(list(ids)).encode()).hexdigest()[:16]
