"""Rows to problems with answers: columns that are named, or records in the form of `PromptAnswer`.

A column that is named stands in every row, as a text (an answer may be a number), or the row is
refused. Left out: prompts, and whether an answer is right.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from srl_data.columns import answer_in, described, grader_in, name_of, text_in
from srl_data.records import OnError, PromptAnswer, Row, Skipped
from srl_data.sources import RowSource, each_row


@dataclass(frozen=True)
class AnswerFields:
    """The columns with the problem and its answer; None is `problem`, and `answer`."""

    problem: str | None = None
    answer: str | None = None

    @property
    def named(self) -> bool:
        """Whether any is named, so that rows may have other columns beside."""
        return self.problem is not None or self.answer is not None


def read_answered(
    source: RowSource,
    fields: AnswerFields,
    on_error: OnError = "fail",
    skipped: Skipped = lambda _: None,
) -> Iterator[PromptAnswer]:
    """Stream the rows of `source` as problems with answers.

    Raises DataError with the place, the column and the reason at the first bad row, or calls
    `skipped` with the same text for each if `on_error` is "skip".
    """
    return each_row(source, lambda row, name: answered(row, name, fields), on_error, skipped)


def answered(row: Row, name: str, fields: AnswerFields) -> PromptAnswer:
    """A row as a problem with its answer, its own id, grader and meta kept; or ValueError."""
    meta = row.get("meta") or {}
    if not isinstance(meta, Mapping):
        raise ValueError(f"column 'meta' holds {described(meta)}, expected an object")
    return PromptAnswer(
        id=name_of(row, name),
        problem=text_in(row, fields.problem or "problem", "--problem-field"),
        answer=answer_in(row, fields.answer or "answer", "--answer-field"),
        grader=grader_in(row),
        meta=dict(meta),
    )
