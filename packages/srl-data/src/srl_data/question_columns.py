"""Which columns of records hold the question, and what else tells two records apart."""

from collections.abc import Sequence
from itertools import islice

from srl_data.columns import columns_shown
from srl_data.command.errors import DataError
from srl_data.records import OnError, Row
from srl_data.sources import RowSource

QUESTIONS = ("prompt", "problem", "question", "instruction", "messages")
"""Columns of questions; the first that there is counts."""
ANSWERS = ("response", "content", "completion", "solution", "target_step", "step_index")
"""Columns that make records of one question different ones."""
FIRST_ROWS = 100


def first_rows(source: RowSource, on_error: OnError) -> list[Row]:
    """The first rows of a source; DataError where there is none."""
    rows = [row for _, row in islice(source.read(on_error, lambda _: None), FIRST_ROWS)]
    if not rows:
        raise DataError(f"{source.origin.name} holds no rows")
    return rows


def question_column(source: RowSource, rows: Sequence[Row], flag: str) -> str:
    """The column of the question; DataError naming the columns where there is none."""
    for name in QUESTIONS:
        if any(row.get(name) for row in rows):
            return name
    raise DataError(
        f"{source.origin.name}: no column {', '.join(QUESTIONS)}; its columns: "
        f"{columns_shown(rows[0])}; name the question's with {flag}"
    )


def identity_columns(source: RowSource, rows: Sequence[Row], flag: str) -> tuple[str, ...]:
    """The columns that tell two records apart: the question's and those of its answer."""
    question = question_column(source, rows, flag)
    others = [name for name in ANSWERS if any(row.get(name) is not None for row in rows)]
    return (question, *others)
