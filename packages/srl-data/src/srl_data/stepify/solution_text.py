"""From a row to the text that is cut: which column, the answer or its thinking, GSM8K's marks.

A column may hold one solution or a list of them (OlympiadBench's), each of which is cut.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from srl_data.columns import ABSENT, answer_in, value_at, value_with_meta
from srl_data.gsm8k import CALCULATION, FINAL, numbered_steps
from srl_data.records import Row, is_unicode
from srl_data.stepify.render import Refused, Rendered, reads_back
from srl_data.thinking_blocks import thinking_within, without_thinking
from srl_reward import extract_boxed, extract_gsm8k_answer

From = Literal["solution", "thinking"]
SOLUTION_COLUMNS = ("solution", "answer", "deepseek_attempt", "response", "output")
"""Where a solution stands if no column is named: the first that there is."""
PROBLEM_COLUMNS = ("problem", "question", "prompt", "instruction")


@dataclass(frozen=True)
class Columns:
    """Which columns hold what; `answer` None takes a solution's last box."""

    problem: str
    solution: str
    answer: str | None = None


@dataclass(frozen=True)
class Given:
    """A problem with one solution as it is to be cut."""

    problem: str
    text: str
    answer: str | None
    part: int | None = None
    """1-based, where the column holds several solutions."""
    lines: Rendered | None = None
    """The steps of a solution in GSM8K's form, whose lines are its steps; `text` is then without
    the calculator's marks, and ends with the boxed answer."""


def given_solutions(row: Row, columns: Columns, source: From) -> Iterator[Given | Refused]:
    """The row's solutions, or the reason why there is none; a key of `reasons.REASONS`."""
    problem = value_at(row, columns.problem)
    if not isinstance(problem, str) or not problem.strip():
        yield Refused("missing_problem")
        return
    found = value_at(row, columns.solution)
    texts: Sequence[object] = found if isinstance(found, list) else [found]
    if not texts:
        yield Refused("missing_solution")
    for part, text in enumerate(texts, start=1):
        number = part if len(texts) > 1 else None
        yield given_solution(row, columns, source, problem, text, number)


def given_solution(
    row: Row, columns: Columns, source: From, problem: str, text: object, part: int | None
) -> Given | Refused:
    """One solution of a row."""
    if not isinstance(text, str) or not text.strip():
        return Refused("missing_solution")
    if not is_unicode(problem + text):
        return Refused("not_unicode")
    chosen = chosen_text(text, source)
    if isinstance(chosen, Refused):
        return chosen
    lines = gsm8k_lines(chosen)
    try:
        answer = answer_of(row, columns.answer, lines.text if lines else chosen)
    except ValueError:
        return Refused("missing_answer")
    return Given(problem, plain_gsm8k(chosen) if lines else chosen, answer, part, lines)


def chosen_text(text: str, source: From) -> str | Refused:
    """The answer without its thinking, or the thinking."""
    if source == "thinking":
        inside = thinking_within(text)
        return inside if inside is not None and inside.strip() else Refused("no_thinking")
    answered = without_thinking(text)
    if answered is None:
        return Refused("unclosed_thinking")
    return answered[0] if answered[0].strip() else Refused("only_thinking")


def gsm8k_lines(text: str) -> Rendered | None:
    """The steps of a solution that ends with a `####` line; None for any other."""
    if extract_gsm8k_answer(text) is None:
        return None
    steps = numbered_steps(text)
    if steps is None or len(steps) < 2:
        return None
    whole = "\n".join(steps)
    return Rendered(whole, tuple(steps), "lines", ()) if reads_back(whole, steps) else None


def plain_gsm8k(text: str) -> str:
    """A solution in GSM8K's form as prose: the marks taken out, the last line a sentence."""
    reasoning = CALCULATION.sub("", text.rpartition(FINAL)[0])
    return f"{reasoning.rstrip()}\nThe answer is \\boxed{{{extract_gsm8k_answer(text)}}}."


def answer_of(row: Row, name: str | None, text: str) -> str | None:
    """The answer in a column, else in the text's last box; ValueError where a column lacks it."""
    if name is None:
        return (extract_boxed(text) or "").strip() or None
    found = value_with_meta(row, name)
    if isinstance(found, list) and found and all(isinstance(item, str) for item in found):
        return ", ".join(found)
    if found is ABSENT:
        raise ValueError(f"no column {name!r}")
    return answer_in(row, name, "--answer-field")
