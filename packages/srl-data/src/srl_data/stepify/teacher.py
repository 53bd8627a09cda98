"""A teacher that writes the steps, or the titles of steps that are cut by rule.

Each answer is checked; what does not do is asked for again with the reason, and left out with it in
the end. Answers are appended to a log beside the output as they come, so that a run that was ended
asks only for what is missing.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from srl_data.chat_client import chat
from srl_data.chat_model import ChatAnswer, ChatModel
from srl_data.command.errors import DataError
from srl_data.files import naming
from srl_data.http_client import JsonClient, RequestError
from srl_data.prompts import Message
from srl_data.records import encode_object, read_objects
from srl_data.stepify.cut import Cut, CutOptions
from srl_data.stepify.render import Refused, Rendered, reads_back
from srl_data.stepify.solution_text import Given
from srl_data.stepify.teacher_check import (
    Fault,
    read_titles,
    rewrite_fault,
    rewritten,
    with_titles,
)
from srl_data.stepify.teacher_config import TeacherSection
from srl_data.stepify.teacher_prompt import again, rewrite_messages, title_messages
from srl_reward import parse_solution


@dataclass
class AnswerLog:
    """Answers of a teacher on disk, by a hash of the request; each is flushed as it comes."""

    path: Path | None
    known: dict[str, ChatAnswer] = field(default_factory=dict)
    asked: int = 0
    """Requests that were sent."""

    def __post_init__(self) -> None:
        if self.path is None or not self.path.exists():
            return
        whole = self.path.read_bytes()
        if whole and not whole.endswith(b"\n"):  # the end of a run that was killed
            os.truncate(self.path, whole.rfind(b"\n") + 1)
        for number, row in read_objects(self.path, skippable=False):
            key, content = row.get("request"), row.get("content")
            if not isinstance(key, str) or not isinstance(content, str):
                raise DataError(f"{self.path}:{number}: no answer of a teacher; remove the file")
            self.known[key] = ChatAnswer(content)

    async def ask(
        self, client: JsonClient, model: ChatModel, messages: Sequence[Message]
    ) -> ChatAnswer:
        """The answer to a request, from the log or from the teacher."""
        body = json.dumps([client.endpoint.base_url, model.request(messages)], sort_keys=True)
        key = sha256(body.encode("utf-8", "surrogatepass")).hexdigest()
        if key not in self.known:
            self.asked += 1
            answer = await chat(client, model, messages)
            self.known[key] = answer
            if self.path is not None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with naming(self.path), self.path.open("ab") as file:
                    file.write(encode_object({"request": key, "content": answer.content}))
        return self.known[key]


@dataclass(frozen=True)
class Teacher:
    """A teacher's settings, the log of its answers, and what its steps must be like."""

    section: TeacherSection
    options: CutOptions
    log: AnswerLog

    @property
    def model(self) -> ChatModel:
        """The model that is asked."""
        return ChatModel(str(self.section.model), self.section.temperature, self.section.max_tokens)

    def client(self) -> JsonClient:
        """A connection to the server."""
        return JsonClient(self.section.endpoint(), self.section.concurrency)

    async def steps_of(self, client: JsonClient, given: Given) -> Cut | Refused:
        """The solution in the teacher's steps; refused with the last fault."""
        messages = first = rewrite_messages(given.problem, given.text)
        fault = Fault("teacher_failed", "")
        limits = (self.options.min_steps, self.options.max_steps)
        for _ in range(self.section.tries):
            answer = await self._ask(client, messages)
            if isinstance(answer, Refused):
                return answer
            text = rewritten(answer)
            found = rewrite_fault(given.text, given.answer, text, limits)
            if found is None:
                steps = parse_solution(text).steps  # type: ignore[union-attr]  # checked
                return Cut("teacher", Rendered(text, tuple(s.text for s in steps), "teacher", ()))
            fault, messages = found, again(first, answer, found.words)
        return Refused(fault.reason)

    async def titled(self, client: JsonClient, given: Given, cut: Cut) -> Cut | Refused:
        """A cut with the teacher's titles; one that has titles already is left as it is."""
        made = cut.rendered
        if not all(step.startswith(f"{n}. ") for n, step in enumerate(made.steps, start=1)):
            return cut
        if all(step.startswith(f"{n}. **") for n, step in enumerate(made.steps, start=1)):
            return cut
        messages = first = title_messages(given.problem, made.steps)
        for _ in range(self.section.tries):
            answer = await self._ask(client, messages)
            if isinstance(answer, Refused):
                return answer
            titles = read_titles(rewritten(answer), len(made.steps))
            if not isinstance(titles, Fault):
                return titled_cut(cut, titles)
            messages = again(first, answer, titles.words)
        return Refused("teacher_titles")

    async def _ask(self, client: JsonClient, messages: Sequence[Message]) -> str | Refused:
        """The answer's text; refused where the server fails to the last attempt.

        Raises RequestError where no other request would fare better: a wrong key, name or address.
        """
        try:
            return (await self.log.ask(client, self.model, messages)).content
        except RequestError as error:
            if error.passing or error.status in (400, 413, 422):
                return Refused("teacher_failed")
            raise


def titled_cut(cut: Cut, titles: Sequence[str]) -> Cut | Refused:
    """A cut with titles behind its numbers, if it is read back as the same steps."""
    steps = with_titles(cut.rendered.steps, titles)
    whole = "\n\n".join(steps)
    if not steps or not reads_back(whole, steps):
        return Refused("ambiguous_numbers")
    made = cut.rendered
    return Cut(cut.rule, Rendered(whole, tuple(steps), "titled", made.removed, made.cuts))
