"""From rows to questions: what is asked, and what its records keep of the row."""

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path

from srl_data.columns import (
    ABSENT,
    answer_in,
    columns_shown,
    grader_in,
    name_of,
    text_in,
    value_at,
    value_with_meta,
)
from srl_data.command.errors import DataError
from srl_data.conversations import message_of
from srl_data.own_templates import open_template
from srl_data.pairs import is_answer
from srl_data.prompts import Message, Template
from srl_data.records import Row, Skipped, is_unicode
from srl_data.sources import RowSource
from srl_data.stepify.solution_text import PROBLEM_COLUMNS
from srl_data.traces.config import TracesConfig
from srl_reward import extract_gsm8k_answer

MESSAGES = "messages"


@dataclass(frozen=True)
class Question:
    """What is asked, under a name, with what is known of it."""

    id: str
    problem: str
    messages: tuple[Message, ...]
    answer: str | None
    grader: str | None
    meta: dict[str, object]

    @property
    def request(self) -> str:
        """A hash of the messages."""
        text = repr([(each["role"], each["content"]) for each in self.messages])
        return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def seed(self, base: int, sample: int) -> int:
        """The number that is sent for one of its answers, of 31 bits."""
        return random.Random(f"{base}/{self.id}/{sample}").getrandbits(31)


@dataclass(frozen=True)
class QuestionReader:
    """Turns the rows of a source into questions."""

    config: TracesConfig
    source: RowSource
    problem: str
    """The column with the question; `messages` for chats."""
    template: Template

    def read(self, skipped: Skipped) -> Iterator[Question]:
        """The questions in order; DataError at the first bad row, or `skipped` is told of it."""
        config = self.config
        rows = self.source.read(config.on_error, skipped)
        for position, row in islice(rows, config.limit):
            try:
                yield self._question(row, position)
            except ValueError as error:
                place = f"{self.source.place(position)}: {error}"
                if config.on_error == "fail":
                    raise DataError(f"{place}; mend the row or pass --on-error skip") from error
                skipped(place)

    def _question(self, row: Row, position: int) -> Question:
        config = self.config
        problem, messages = self._put(row)
        if config.system is not None:
            messages = [{"role": "system", "content": config.system}, *messages]
        return Question(
            id=self._name(row, position),
            problem=problem,
            messages=tuple(messages),
            answer=known_answer(row, config.answer_field, taken=self.problem),
            grader=grader_in(row),
            meta=kept_meta(row, config.keep),
        )

    def _put(self, row: Row) -> tuple[str, list[Message]]:
        """The question's text and the messages that put it."""
        if self.problem == MESSAGES:
            messages = asked_turns(row)
            return messages[-1]["content"], messages
        problem = text_in(row, self.problem, "--problem-field")
        return problem, list(self.template.messages(problem=problem))

    def _name(self, row: Row, position: int) -> str:
        if self.config.id_field is not None:
            found = value_at(row, self.config.id_field)
            if isinstance(found, bool) or not isinstance(found, str | int) or found == "":
                raise ValueError(
                    f"column {self.config.id_field!r} (--id-field) names no question: {found!r}"
                    if found is not ABSENT
                    else f"no column {self.config.id_field!r} (--id-field); its columns: "
                    f"{columns_shown(row)}"
                )
            return str(found)
        stem = Path(self.source.origin.name).name.split(".")[0] or "row"
        return name_of(row, f"{stem}-{position:05d}")


def open_questions(config: TracesConfig, source: RowSource) -> QuestionReader:
    """The reader of a source, its columns told by the config, else by its first rows.

    Raises DataError where no column holds questions.
    """
    found: dict[str, None] = {}
    for _, row in islice(source.read(config.on_error, lambda _: None), 100):
        found |= dict.fromkeys(row)
    if not found:
        raise DataError(f"{config.source} holds no rows; expected questions")
    names = (config.problem_field,) if config.problem_field else (*PROBLEM_COLUMNS, MESSAGES)
    present = [name for name in names if name in found or name.partition(".")[0] in found]
    if not present:
        raise DataError(
            f"{config.source} has no column {' or '.join(map(repr, names))} (--problem-field); its "
            f"columns: {', '.join(sorted(found))}"
        )
    return QuestionReader(config, source, present[0], open_template(config.template))


def asked_turns(row: Row) -> list[Message]:
    """The messages of a chat up to the user's last one."""
    found = value_at(row, MESSAGES)
    if isinstance(found, str) or not isinstance(found, list | tuple) or not found:
        raise ValueError(f"column {MESSAGES!r} holds no messages")
    messages = [message_of(item, number, MESSAGES) for number, item in enumerate(found, start=1)]
    while messages and messages[-1]["role"] == "assistant":
        messages.pop()
    if not messages or messages[-1]["role"] != "user":
        raise ValueError(f"column {MESSAGES!r} holds no user's message to answer")
    return messages


def known_answer(row: Row, name: str | None, taken: str) -> str | None:
    """The question's answer: the named column's, else that of `answer` where there is one.

    Of a solution in GSM8K's form it is the number behind `####`.
    """
    if name is None:
        if taken == "answer" or not is_answer(value_with_meta(row, "answer")):
            return None
        answer = answer_in(row, "answer", "--answer-field")
    else:
        answer = answer_in(row, name, "--answer-field")
    return extract_gsm8k_answer(answer) or answer


def kept_meta(row: Row, keep: tuple[str, ...]) -> dict[str, object]:
    """The row's own meta, and the columns that are to be kept."""
    meta = row.get("meta")
    kept = dict(meta) if isinstance(meta, Mapping) else {}
    for name in keep:
        found = value_at(row, name)
        if found is ABSENT:
            raise ValueError(f"no column {name!r} (--keep); its columns: {columns_shown(row)}")
        kept[name] = found
    try:
        text = json.dumps(kept, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"meta holds what JSON cannot: {error}") from error
    if not is_unicode(text):
        raise ValueError("meta holds half of a surrogate pair, expected text")
    return kept
