"""From one row to its pairs: problem, thinking and answer put in the form of a template.

A row gives a pair for each of its solutions, or the reason why it gives none: an answer that was
cut off, thinking that never ends, a mark of the form within the text. What is written is read back
by the parser of the form.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from srl_data.columns import ABSENT, answer_in, grader_in, name_of, value_with_meta
from srl_data.command.errors import DataError
from srl_data.gsm8k import numbered_steps
from srl_data.pairing.columns import MODELS, PairColumns, texts_in
from srl_data.pairs import Pair, is_answer
from srl_data.records import Row, SftPair, is_unicode
from srl_data.responses import ResponseForm
from srl_data.solutions import CORRECT
from srl_data.stepify.solution_text import plain_gsm8k
from srl_data.thinking_blocks import thinking_within, without_thinking
from srl_reward import extract_boxed
from srl_reward.tagged import parse_tagged_output, parse_thinking, tagged_answer
from srl_reward.thinking_marks import CLOSING, OPENING

KEPT = ("model", "finish_reason", "reward", "reason", "exact")
"""Columns that a pair's meta keeps where the row has them."""


@dataclass(frozen=True)
class NoPair:
    """A row, or one of its solutions, without a pair; `reason` is a key of `REASONS`."""

    name: str
    reason: str


@dataclass(frozen=True)
class PairMaker:
    """Turns rows into pairs in one form."""

    columns: PairColumns
    form: ResponseForm
    only_correct: bool = False

    def pairs(self, row: Row, default: str) -> Iterator[SftPair | NoPair]:
        """The row's pairs; ValueError where a column that matters holds what it cannot."""
        name = trace_name(row, default)
        problem = value_with_meta(row, self.columns.problem)
        solutions = texts_in(row, self.columns.solution)
        if not isinstance(problem, str) or not problem.strip():
            yield NoPair(name, "missing_problem")
        elif not any(text.strip() for text in solutions):
            yield NoPair(name, "missing_solution")
        elif was_cut_off(row):
            yield NoPair(name, "cut_off")
        elif self.only_correct and (reason := grade_fault(row, self.columns.grade)):
            yield NoPair(name, reason)
        else:
            yield from self._all(row, name, problem, solutions)

    def _all(
        self, row: Row, name: str, problem: str, solutions: list[str]
    ) -> Iterator[SftPair | NoPair]:
        thoughts = texts_in(row, self.columns.thinking) if self.columns.thinking else []
        if len(solutions) == 1:
            thoughts = ["\n\n".join(thoughts)] if thoughts else []
        elif thoughts and len(thoughts) != len(solutions):
            raise ValueError(
                f"column {self.columns.solution!r} holds {len(solutions)} solutions and "
                f"{self.columns.thinking!r} {len(thoughts)} texts; expected as many"
            )
        for index, solution in enumerate(solutions):
            part = f"{name}/{index + 1}" if len(solutions) > 1 else name
            thought = thoughts[index] if thoughts else None
            yield self._pair(row, part, problem, solution, thought)

    def _pair(
        self, row: Row, name: str, problem: str, text: str, thought: str | None
    ) -> SftPair | NoPair:
        if not is_unicode(problem + text + (thought or "")):
            return NoPair(name, "not_unicode")
        parts = self._parts(row, text, thought)
        if isinstance(parts, str):
            return NoPair(name, parts)
        thinking, answer = parts
        pair = Pair(name, "pair", {"problem": problem}, answer, thinking)
        try:
            response = self.form.write(pair, think_prefilled=False)
        except DataError:
            return NoPair(name, "marks_in_text")
        if not self._reads_back(response, answer):
            return NoPair(name, "marks_in_text")
        meta = self._meta(row, thinking if self.columns.from_solution else answer)
        return SftPair(id=name, prompt=problem, response=response, meta=meta)

    def _parts(self, row: Row, text: str, thought: str | None) -> tuple[str | None, str] | str:
        """Thinking and answer, or the reason why there are none."""
        answered = without_thinking(text)
        if answered is None:
            return "unclosed_thinking"
        solution = answered[0].strip()
        if not solution:
            return "only_thinking" if text.strip() else "missing_solution"
        if numbered_steps(solution) is not None:
            solution = plain_gsm8k(solution)
        if not self.columns.thinks:
            return None, solution
        if self.columns.from_solution:
            answer = extract_boxed(solution) or self._known(row)
            return (solution, f"\\boxed{{{answer.strip()}}}") if answer else "missing_answer"
        thinking = (thought or "").strip() or thinking_within(text)
        if not thinking:
            return "missing_thinking"
        tagged = tagged_answer(solution) if self.form.template.tagged else None
        return thinking, tagged or solution

    def _reads_back(self, response: str, answer: str) -> bool:
        """Whether the parser of the form finds the answer in what was written."""
        if self.form.template.tagged:
            found = parse_tagged_output(response)
        elif self.form.thinks:
            found = parse_thinking(response)
        else:
            return not (OPENING.search(response) or CLOSING.search(response))
        return not isinstance(found, str) and found[1].strip() == answer.strip()

    def _known(self, row: Row) -> str | None:
        """The known answer of a row; ValueError where the named column lacks it."""
        name = self.columns.answer or "answer"
        taken = name in (self.columns.problem, self.columns.solution)
        if self.columns.answer is None and (taken or not is_answer(value_with_meta(row, name))):
            return None
        return answer_in(row, name, "--answer-field")

    def _meta(self, row: Row, solution: str | None) -> dict[str, object]:
        """The row's own meta, with the answer and with what is known of the solution.

        The box of an author's solution is the answer; that of a model's is not known to be.
        """
        own = row.get("meta")
        meta = dict(own) if isinstance(own, Mapping) else {}
        meta.pop(self.columns.solution.removeprefix("meta."), None)  # it is the response now
        boxed = None if self.columns.solution in MODELS else extract_boxed(solution or "")
        answer = self._known(row) or (boxed or "").strip()
        found: dict[str, object] = {"answer": answer or None, "grader": grader_in(row)}
        found |= {name: row[name] for name in KEPT if name in row}
        return {**meta, **{name: value for name, value in found.items() if value is not None}}


def trace_name(row: Row, default: str) -> str:
    """A row's id, with the number of its sample where it is one of several answers."""
    name, sample = name_of(row, default), row.get("sample")
    known = isinstance(sample, int) and not isinstance(sample, bool)
    return f"{name}/{sample}" if known else name


def was_cut_off(row: Row) -> bool:
    """Whether a row says that its answer stopped at a length limit."""
    return row.get("finish_reason") == "length" or row.get("truncated") is True


def grade_fault(row: Row, column: str | None) -> str | None:
    """Why a row does not count as correct: its mark by `srl-data grade`, else the set's grade."""
    exact = value_with_meta(row, "exact")
    if isinstance(exact, bool):
        return None if exact else "graded_wrong"
    grade = row.get(column, ABSENT) if column else ABSENT
    if grade is ABSENT or grade is None:
        return "not_graded"
    return None if str(grade).strip().lower() in CORRECT else "graded_wrong"
