"""Which columns of a source hold problem, solution, thinking and grade.

What is not named is told by the first rows: a column counts where one of them has a text in it. A
name may lead into a column (`meta.solution`), and a key of `meta` counts as a column.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from srl_data.columns import ABSENT, columns_shown, value_with_meta
from srl_data.command.errors import ConfigError, DataError
from srl_data.pairing.config import PairsConfig
from srl_data.records import Row
from srl_data.sources import RowSource
from srl_data.stepify.solution_text import PROBLEM_COLUMNS
from srl_data.thinking_blocks import thinking_within

SOLUTIONS = {
    "content": ("reasoning_content", "reasoning"),
    "deepseek_attempt": ("deepseek_thinking_trajectory",),
    "gemini_attempt": ("gemini_thinking_trajectory",),
    "attempt": ("thinking_trajectories", "thinking_trajectory"),
    "generations": (),
    "completion": ("reasoning_content", "thinking"),
    "response": ("thinking", "reasoning_content"),
    "output": ("thinking",),
    "solution": ("thinking",),
}
"""Columns of solutions, the likeliest first, each with those of its thinking."""
MODELS = SOLUTIONS.keys() - {"solution"}
"""Columns of what a model wrote."""
GRADES = {"deepseek_attempt": "deepseek_grade", "gemini_attempt": "gemini_grade"}
"""The columns in which s1K-1.1 grades its attempts."""
FIRST_ROWS = 100


@dataclass(frozen=True)
class PairColumns:
    """Where a row's parts stand; None where there is no such column."""

    problem: str
    solution: str
    thinking: str | None
    answer: str | None
    grade: str | None
    thinks: bool
    """Whether responses begin with thinking."""
    from_solution: bool = False
    """Whether the solution itself is the thinking, and its box the answer."""


def find_columns(config: PairsConfig, source: RowSource, *, asked: bool) -> PairColumns:
    """The columns to read; `asked`: the template wants thinking.

    Raises DataError naming the columns that there are, ConfigError for options that cannot be.
    """
    rows = [row for _, row in islice(source.read(config.on_error, lambda _: None), FIRST_ROWS)]
    if not rows:
        raise DataError(
            f"{config.source} holds no rows; expected traces, or problems and solutions"
        )
    problem = chosen(config, rows, config.problem_field, PROBLEM_COLUMNS, "problem-field")
    usual = [name for name in SOLUTIONS if name != problem]
    solution = chosen(config, rows, config.field, usual, "field")
    partner = SOLUTIONS.get(solution, ())
    thinking = next((name for name in partner if has_text(rows, name)), None)
    if config.thinking_field is not None:
        thinking = chosen(config, rows, config.thinking_field, (), "thinking-field")
    if config.answer_field is not None:
        chosen(config, rows, config.answer_field, (), "answer-field")
    inside = any(thinking_within(text) for row in rows for text in texts_in(row, solution))
    thinks = (bool(thinking or inside) or asked) if config.thinking is None else config.thinking
    if not thinks and asked:
        raise ConfigError(
            f"--no-thinking: template {config.template!r} opens the thinking; give another"
        )
    if thinks and not (thinking or inside or asked):
        raise DataError(
            f"{config.source} has no thinking (--thinking): neither within column {solution!r} nor "
            f"in one of its own; its columns: {columns_shown(rows[0])}; name it with "
            "--thinking-field"
        )
    return PairColumns(
        problem=problem,
        solution=solution,
        thinking=thinking,
        answer=config.answer_field,
        grade=GRADES.get(solution),
        thinks=thinks,
        from_solution=thinks and not (thinking or inside),
    )


def chosen(
    config: PairsConfig, rows: Sequence[Row], wanted: str | None, usual: Sequence[str], flag: str
) -> str:
    """The named column, else the first usual one that has a text; DataError where there is none."""
    if wanted is not None:
        if any(value_with_meta(row, wanted) is not ABSENT for row in rows):
            return wanted
        missing = repr(wanted)
    else:
        if found := next((name for name in usual if has_text(rows, name)), None):
            return found
        missing = " or ".join(map(repr, usual))
    columns = columns_shown({name: None for row in rows for name in row})
    raise DataError(f"{config.source} has no column {missing} (--{flag}); its columns: {columns}")


def has_text(rows: Sequence[Row], name: str) -> bool:
    """Whether a row has a text in a column."""
    return any(text.strip() for row in rows for text in texts_in(row, name))


def texts_in(row: Row, name: str) -> list[str]:
    """The text of a column, or the texts of a list in it; none where it holds anything else."""
    value = value_with_meta(row, name)
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value
    return []
