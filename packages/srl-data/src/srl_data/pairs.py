"""Rows to pairs: what to imitate, and the prompt that it answers, before any template.

A row is a pair by its columns, a chat whose last message is the response, or an SRL instance; of
instances either each step or each whole solution is imitated. A column that is named is there, as
a text, in every row, or the row is refused. Left out: words around the prompt, and token ids.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from srl_data.columns import (
    answer_in,
    checked_text,
    columns_shown,
    described,
    grader_in,
    name_of,
    text_in,
    value_with_meta,
)
from srl_data.command.errors import ConfigError, DataError
from srl_data.conversations import messages_in
from srl_data.prompts import Message
from srl_data.records import OnError, Row, Skipped, SrlInstance
from srl_data.sources import RowSource, each_row

Unit = Literal["step", "solution"]
"""What of SRL instances is imitated: each step, or each problem's whole solution."""
RowKind = Literal["pair", "chat", "step", "solution"]


@dataclass(frozen=True)
class PairFields:
    """Which columns hold what; None is the usual one, or none where there is none.

    A name may lead into a column (`meta.thinking`); thinking and answer may also be keys of the
    row's `meta`.
    """

    prompt: str | None = None
    response: str | None = None
    messages: str | None = None
    answer: str | None = None
    thinking: str | None = None
    unit: Unit = "step"


@dataclass(frozen=True)
class Pair:
    """A prompt and the response to imitate."""

    id: str
    kind: RowKind
    columns: dict[str, object]
    """What a template shows and an evaluation reads: `problem`, and where the row has them
    `previous_steps`, `target_step`, …, `answer`, `grader`."""
    response: str
    """Without the thinking that `thinking` holds."""
    thinking: str | None = None
    """From the row's column; None where none is named."""
    messages: tuple[Message, ...] = field(default=(), repr=False)
    """Of a chat the turns before the response."""


def kind_of_rows(source: RowSource, fields: PairFields, on_error: OnError = "fail") -> RowKind:
    """What the rows are, told by the named columns, else by the first row.

    Raises DataError where it has none of the known columns, or there is no row.
    """
    if fields.messages:
        return "chat"
    if fields.prompt or fields.response:
        return "pair"
    for position, row in source.read(on_error, lambda _: None):
        if {"prompt", "response"} <= row.keys():
            return "pair"
        if "target_step" in row:
            return "step" if fields.unit == "step" else "solution"
        if "messages" in row:
            return "chat"
        raise DataError(
            f"{source.place(position)}: nothing to imitate: expected the columns prompt and "
            f"response, messages, or those of SRL instances, found {columns_shown(row)}; name them "
            "with --prompt-field and --response-field, or --messages-field"
        )
    raise DataError(f"{source.origin.name}: no rows; expected pairs, chats or SRL instances")


def read_pairs(
    source: RowSource,
    fields: PairFields,
    kind: RowKind,
    on_error: OnError = "fail",
    skipped: Skipped = lambda _: None,
) -> Iterator[Pair]:
    """Stream the rows of `source` as pairs.

    Raises DataError with the place, the column and the reason at the first bad row, or calls
    `skipped` with the same text for each if `on_error` is "skip".
    """
    check_fields(fields, kind)
    makers = {"pair": column_pair, "chat": chat_pair, "step": step_pair}
    if make := makers.get(kind):
        return each_row(source, lambda row, name: make(row, name, fields), on_error, skipped)
    instances = each_row(source, lambda row, _: instance_of(row, fields), on_error, skipped)
    return whole_solutions(instances, fields, skipped)


def check_fields(fields: PairFields, kind: RowKind) -> None:
    """ConfigError for options that the rows have no use for."""
    if fields.unit == "solution" and kind != "solution":
        raise ConfigError("--unit solution is for SRL instances; leave it out")
    if kind == "solution" and fields.thinking:
        raise ConfigError(
            f"--thinking-field {fields.thinking!r} is the thinking before one step; leave it out "
            "with --unit solution"
        )
    if kind == "step" and fields.answer:
        raise ConfigError(
            f"--answer-field {fields.answer!r}: one step is no answer; give --unit solution, or "
            "leave it out"
        )


def column_pair(row: Row, name: str, fields: PairFields) -> Pair:
    """A row whose prompt and response stand in columns."""
    prompt, response = fields.prompt or "prompt", fields.response or "response"
    problem = text_in(row, prompt, "--prompt-field")
    return Pair(
        id=name_of(row, name),
        kind="pair",
        columns={"problem": problem, **answer_of(row, fields, taken=(prompt, response))},
        response=text_in(row, response, "--response-field"),
        thinking=thinking_of(row, fields),
    )


def chat_pair(row: Row, name: str, fields: PairFields) -> Pair:
    """A row of messages: the last is the response, the last question is the problem."""
    *before, last = messages_in(row, fields.messages or "messages", "--messages-field")
    return Pair(
        id=name_of(row, name),
        kind="chat",
        columns={"problem": before[-1]["content"], **answer_of(row, fields)},
        response=last["content"],
        thinking=thinking_of(row, fields),
        messages=tuple(before),
    )


def step_pair(row: Row, _name: str, fields: PairFields) -> Pair:
    """An SRL instance: its target step is the response."""
    instance = instance_of(row, fields)
    columns = instance.model_dump(exclude={"id", "meta"})
    return Pair(instance.id, "step", columns, instance.target_step, thinking_of(row, fields))


def instance_of(row: Row, fields: PairFields) -> SrlInstance:
    """A row as an SRL instance; columns of thinking and answers go into its `meta`.

    Raises ValueError, pydantic's among them.
    """
    values = dict(row)
    found = values.pop("meta", None) or {}
    if not isinstance(found, Mapping):
        raise ValueError(f"column 'meta' holds {described(found)}, expected an object")
    meta = dict(found)
    for name in filter(None, (fields.thinking, fields.answer, "answer", "grader")):
        if name in values and name not in SrlInstance.model_fields:
            meta[name] = values.pop(name)
    return SrlInstance.model_validate({**values, "meta": meta})


def whole_solutions(
    instances: Iterable[SrlInstance], fields: PairFields, skipped: Skipped
) -> Iterator[Pair]:
    """A pair for each solution whose last step is among the instances; the others are counted."""
    seen: set[str] = set()
    whole: set[str] = set()
    for instance in instances:
        name = instance.id.rpartition("/")[0] or instance.id
        seen.add(name)
        steps = [*instance.previous_steps, instance.target_step]
        if instance.step_index != instance.num_steps or len(steps) != instance.num_steps:
            continue
        if name not in whole:
            whole.add(name)
            row: Row = {"meta": instance.meta}
            columns = {"problem": instance.problem, **answer_of(row, fields)}
            yield Pair(name, "solution", columns, "\n\n".join(steps))
    if missing := sorted(seen - whole):
        skipped(
            f"{len(missing)} of {len(seen)} solutions have no instance of their last step, such as "
            f"{missing[0]!r}, and are left out; build with --targets 2..N or all"
        )


def thinking_of(row: Row, fields: PairFields) -> str | None:
    """The thinking in the named column, of the row or its `meta`; None where none is named."""
    if fields.thinking is None:
        return None
    value = value_with_meta(row, fields.thinking)
    return checked_text(value, fields.thinking, "--thinking-field", row).strip()


def is_answer(value: object) -> bool:
    """Whether a column that nobody named holds a final answer: a text, or a finite number."""
    if isinstance(value, str):
        return bool(value.strip())
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value)


def answer_of(row: Row, fields: PairFields, taken: tuple[str, ...] = ()) -> dict[str, object]:
    """The answer and its grader as columns.

    The named column has to be there; without a name a row's own `answer`, or its meta's, is taken
    where there is one, and it is not one of the columns `taken` as prompt and response.
    """
    name = fields.answer or "answer"
    if fields.answer is None and (name in taken or not is_answer(value_with_meta(row, name))):
        return {}
    found: dict[str, object] = {"answer": answer_in(row, name, "--answer-field")}
    grader = grader_in(row)
    return found if grader is None else {**found, "grader": grader}
