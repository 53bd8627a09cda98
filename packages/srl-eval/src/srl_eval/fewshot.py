r"""Worked examples before each problem: where they come from, which are taken, how they are put.

An example is a problem with a solution that ends in a box, since a box is what the prompts ask for.
Which ones are taken depends on the seed and on their own texts, not on the order of a file. None is
ever one of the problems that are asked.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from srl_data.command.errors import ConfigError, DataError
from srl_data.problem_text import last_box, problem_text, with_braces
from srl_data.prompt_format import PromptFormat
from srl_data.prompts import OPEN_THINKING, Columns, Message, Template, user, with_roles
from srl_eval.config import EvalConfig
from srl_eval.generate.seeds import seed_for
from srl_eval.problems import ProblemSet, fingerprint
from srl_eval.rows import Row, Rows, hub_rows, read_rows
from srl_eval.tasks import TaskSpec
from srl_reward.answer import extract_boxed

_CALCULATION = re.compile(r"<<[^>]*>>")  # GSM8K's notes for a calculator
_OPEN_TURN = "Assistant:"


@dataclass(frozen=True, slots=True)
class Example:
    """A problem with its solution, and the row it was."""

    where: str
    problem: str
    solution: str


@dataclass(frozen=True)
class FewShot:
    """The examples of a run.

    `left_out` counts those of the source that are asked themselves, `bad` says which rows of it
    are no examples, and why.
    """

    examples: list[Example]
    source: str
    left_out: int = 0
    bad: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """Of their texts, in order."""
        texts = [[example.problem, example.solution] for example in self.examples]
        return hashlib.sha256(json.dumps(texts).encode()).hexdigest()

    def identity(self) -> dict[str, object]:
        """What a resumed run must find again."""
        return {"num_fewshot": len(self.examples), "fewshot_sha256": self.sha256}


def load_fewshot(task: TaskSpec, config: EvalConfig, asked: ProblemSet) -> FewShot | None:
    """The examples that the configuration asks for, None for none.

    They come from `fewshot_path`, else from the task's own source. A file that holds a problem of
    the evaluated data is refused (DataError); such rows of the task's own source are left out.
    """
    section = config.prompt
    if not section.num_fewshot:
        return None
    if section.fewshot_path is not None:
        rows, source = read_rows(section.fewshot_path), str(section.fewshot_path)
    elif task.fewshot is None:
        raise ConfigError(
            f"task {task.name} has no worked examples of its own; name a file of them with "
            "--fewshot-path, or use --num-fewshot 0"
        )
    else:
        same = task.hub is not None and task.hub.name == task.fewshot.name
        revision = config.data.data_revision if same else None
        rows, source = hub_rows(task.fewshot, revision, "--fewshot-path")
    pool, bad = read_pool(rows)
    seen = [mark for mark in pool if mark in asked.fingerprints]
    if seen and section.fewshot_path is not None:
        raise DataError(
            f"{pool[seen[0]].where}: this example is one of the evaluated problems, as are "
            f"{len(seen)} in all of {len(pool)}; take them out of the file"
        )
    for mark in seen:
        del pool[mark]
    chosen = choose(pool, section.num_fewshot, section.fewshot_seed, source, bad)
    return FewShot(chosen, source, len(seen), tuple(bad))


def read_pool(rows: Rows) -> tuple[dict[str, Example], list[str]]:
    """Examples by the fingerprint of their problems, of equal problems the first; and bad rows.

    A row without a problem, a solution or an answer is left out and named: one such row among
    thousands takes nothing from the others.
    """
    pool: dict[str, Example] = {}
    bad: list[str] = []
    for where, row in rows:
        try:
            example = to_example(where, row)
        except ValueError as error:
            bad.append(f"{where}: {error}")
        else:
            pool.setdefault(fingerprint(example.problem), example)
    return pool, bad


def choose(
    pool: dict[str, Example], count: int, seed: int, source: str, bad: Sequence[str] = ()
) -> list[Example]:
    """`count` examples in an order of their own, drawn by the seed."""
    if len(pool) < count:
        left_out = f"; {len(bad)} rows are no examples: {bad[0]}" if bad else ""
        raise DataError(
            f"{source} has {len(pool)} examples that may be used, --num-fewshot asks for {count}"
            f"{left_out}"
        )
    ranked = sorted(pool, key=lambda mark: seed_for(seed, "fewshot", mark))
    return [pool[mark] for mark in ranked[:count]]


def to_example(where: str, row: Row) -> Example:
    """One row; ValueError with the reason where it has no solution or no answer."""
    problem, solution = problem_text(row), solution_text(row)
    if extract_boxed(solution):
        return Example(where, problem, solution)
    if last_box(solution):
        return Example(where, problem, with_braces(solution))
    given = row.get("answer")
    answer = "" if given is None else str(given).rpartition("####")[2].strip()
    if not answer:
        raise ValueError("the solution has no box, and there is no field answer to close it with")
    return Example(where, problem, f"{solution}\n\nThe final answer is \\boxed{{{answer}}}.")


def solution_text(row: Row) -> str:
    """The reasoning: `solution`, `response`, or GSM8K's `answer` before its ####."""
    found = row.get("solution") or row.get("response")
    if isinstance(found, list):
        found = found[0]
    if found:
        return str(found).strip()
    reasoning, mark, _ = str(row.get("answer") or "").rpartition("####")
    if not mark:
        raise ValueError("expected one of the fields solution, response, or an answer with ####")
    return _CALCULATION.sub("", reasoning).strip()


def with_examples(prompts: PromptFormat, examples: Sequence[Example]) -> PromptFormat:
    """Prompts with the examples before every problem, as turns that went before.

    Where prompts are the words alone they are plain text.
    """
    template, shield, plain = prompts.template, prompts.control.shield, prompts.chat.plain

    def build(columns: Columns) -> list[Message]:
        shown = []
        for example in examples:
            asked = template.build({"problem": shield(example.problem)})
            shown += [message for message in asked if not _rules(message)]
            solution = worked(template, str(shield(example.solution)))
            shown.append({"role": "assistant", "content": solution})
        own = template.build(columns)
        turns = [*filter(_rules, own), *shown, *(m for m in own if not _rules(m))]
        return [user(plain_text(turns))] if plain else turns

    return prompts.with_template(replace(template, build=build))


def worked(template: Template, solution: str) -> str:
    """A solution in the form that the template's answers have; its box is the answer."""
    if not template.tagged:
        return solution
    return f"{solution}</think> <answer>\\boxed{{{extract_boxed(solution)}}}</answer>"


def _rules(message: Message) -> bool:
    return message["role"] == "system"


def plain_text(turns: Sequence[Message]) -> str:
    """Turns as one text; a template that writes its own roles keeps them."""
    if not turns[-1]["content"].endswith((_OPEN_TURN, OPEN_THINKING)):
        return with_roles(turns)
    gaps = {"user": " ", "assistant": "\n\n", "system": "\n\n"}
    return "".join(turn["content"] + gaps[turn["role"]] for turn in turns).rstrip(" ")


def next_turn_marks(prompts: PromptFormat) -> tuple[str, ...]:
    """Texts at which an answer to a plain prompt with examples is over: the next problem begins.

    A base model continues with a problem of its own invention, whose box is not the answer. With a
    chat template the end of a turn is a token, and there is no such text.
    """
    if prompts.chat.is_chat:
        return ()
    opening = prompts.template.build({"problem": "\0"})[-1]["content"].partition("\0")[0].rstrip()
    return ("\n\nUser:", f"\n\n{opening}") if opening else ("\n\nUser:",)
