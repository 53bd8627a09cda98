"""Rows of data sets to problems with answers, or the reason why a row is none."""

from collections.abc import Callable
from dataclasses import dataclass

from srl_data.answers.config import SplitsConfig
from srl_data.columns import ABSENT, answer_in, name_of, value_at, value_with_meta
from srl_data.conversations import messages_in
from srl_data.problem_text import TEXT_FIELDS, last_box, problem_text
from srl_data.records import PromptAnswer, Row, is_unicode
from srl_reward import extract_gsm8k_answer

REASONS = {
    "malformed_row": "not in the file's form (--on-error skip)",
    "missing_problem": "no problem in its column, or a blank one",
    "missing_answer": "no answer in its column, or a blank one",
    "missing_solution": "no solution in its column, or a blank one",
    "no_box": "the solution boxes no answer",
    "no_final_line": "no #### line with a number",
    "bad_messages": "not a chat that ends with the assistant's answer",
    "not_unicode": "half of a surrogate pair, which is no text",
    "repeated_question": "drawn already",
    "math500": "a problem of MATH-500",
    "overlap": "overlaps with an evaluation set",
}
"""What each reason for an exclusion means."""


class RefusedRowError(Exception):
    """A row that gives no record; its text is one of `REASONS`."""


Gold = Callable[[str], str]
"""The answer in a solution; raises RefusedRowError."""


def boxed_gold(solution: str) -> str:
    """The last box's content."""
    found = last_box(solution)
    if not found or not found.strip():
        raise RefusedRowError("no_box")
    return found.strip()


def gsm8k_gold(solution: str) -> str:
    """The number on the #### line, in its plainest form: `1000` for `$1,000.00`."""
    found = extract_gsm8k_answer(solution)
    if found is None:
        raise RefusedRowError("no_final_line")
    return found


def any_gold(solution: str) -> str:
    """The number on a last #### line, else the last box."""
    if "####" in solution and (found := extract_gsm8k_answer(solution)) is not None:
        return found
    return boxed_gold(solution)


@dataclass(frozen=True)
class Reader:
    """How the rows of one data set are read."""

    prefix: str
    """Of the ids of rows that have none of their own."""
    solution: str | None = None
    """The column with the solution where the config names none; None where there is none."""
    gold: Gold = any_gold
    grader: str | None = None
    """How answers compare, where the data set tells."""
    ids: tuple[str, ...] = ("id", "unique_id")
    """Columns with a row's own id."""

    def read(self, row: Row, name: str, config: SplitsConfig) -> PromptAnswer:
        """A row's record; raises RefusedRowError with the reason where it gives none."""
        problem, solution = self._texts(row, config)
        answer = self._answer(row, solution, config)
        if not all(map(is_unicode, (problem, answer, solution or ""))):
            raise RefusedRowError("not_unicode")
        meta: dict[str, object] = {} if solution is None else {"solution": solution}
        own = next((row[key] for key in self.ids if row.get(key) not in (None, "")), None)
        return PromptAnswer(
            id=name_of({"id": own}, name),
            problem=problem,
            answer=answer,
            grader=self.grader,
            meta={**meta, **notes_of(row)},
        )

    def _texts(self, row: Row, config: SplitsConfig) -> tuple[str, str | None]:
        """The problem, and the solution where there is one."""
        if config.messages_field:
            try:
                messages = messages_in(row, config.messages_field, "--messages-field")
            except ValueError as error:
                raise RefusedRowError("bad_messages") from error
            return messages[-2]["content"], messages[-1]["content"]
        problem = problem_of(row, config.problem_field)
        column = config.solution_field or self.solution
        if column is None:
            return problem, None
        solution = value_at(row, column)
        if isinstance(solution, str) and solution.strip():
            return problem, solution
        if config.answer_field and not config.solution_field:
            return problem, None
        raise RefusedRowError("missing_solution")

    def _answer(self, row: Row, solution: str | None, config: SplitsConfig) -> str:
        """The named column's, else the solution's, else that of the column `answer`."""
        if config.answer_field is None and solution is not None:
            return self.gold(solution)
        try:
            return answer_in(row, config.answer_field or "answer", "--answer-field").strip()
        except ValueError as error:
            raise RefusedRowError("missing_answer") from error


def problem_of(row: Row, column: str | None) -> str:
    """The problem in its column, or in the first of the usual ones."""
    found: object
    if column:
        found = value_at(row, column)
    else:
        known = any(row.get(name) for name in TEXT_FIELDS)
        found = problem_text(row) if known else ABSENT
    if not isinstance(found, str) or not found.strip():
        raise RefusedRowError("missing_problem")
    return found


def notes_of(row: Row) -> dict[str, object]:
    """What else is worth keeping: where a problem comes from, its subject and level."""
    names = ("source", "type", "subject", "level")
    found = ((name, value_with_meta(row, name)) for name in names)
    return {name: value for name, value in found if isinstance(value, str | int) and value != ""}
