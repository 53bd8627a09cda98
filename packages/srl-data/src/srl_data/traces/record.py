"""What a file of traces holds, a line each, and what stands in the file of failures beside it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from srl_data.chat_model import Usage
from srl_data.records import Record, Text, Unicode

Reason = Literal["unanswered", "empty", "cut_in_thinking", "filtered", "refused", "unreadable"]
REASONS: dict[Reason, str] = {
    "unanswered": "no answer after the last attempt: no connection, a timeout, 408, 429 or 5xx",
    "empty": "an answer without content",
    "cut_in_thinking": "--max-tokens ended the reasoning, so that there is no content",
    "filtered": "the server's filter withheld the content",
    "refused": "the request was refused: status 400, 413 or 422, a question too long for the model",
    "unreadable": "an answer of another form than an OpenAI-compatible server's",
}
"""Why a question has no answer, in words."""
FOR_GOOD = frozenset({"cut_in_thinking", "filtered", "refused"})
"""Reasons that the same request would meet again."""


class TokenCount(BaseModel):
    """The tokens of one answer as the server counted them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt_tokens: int
    completion_tokens: int
    """The reasoning's included."""
    cached_tokens: int = 0
    """Of the prompt, read from the server's cache."""
    reasoning_tokens: int = 0

    @classmethod
    def of(cls, usage: Usage | None) -> "TokenCount | None":
        """What a server counted; None where it did not."""
        if usage is None:
            return None
        return cls(
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            cached_tokens=usage.cached_tokens,
            reasoning_tokens=usage.reasoning_tokens,
        )


class Trace(Record):
    """A question with one answer of a teacher.

    `id` is the question's; `sample` tells its answers apart.

    `answer` is the question's known answer, as the source has it, not the teacher's.
    """

    problem: Text
    answer: Unicode | None = None
    grader: str | None = None
    sample: int = Field(ge=0)
    model: str
    reasoning_content: Unicode | None = None
    content: Text
    finish_reason: str | None = None
    """`stop`; `length` where --max-tokens ended the answer."""
    usage: TokenCount | None = None
    cost: float | None = None
    """In the price table's currency; None where there is no price, or no usage."""
    request: str
    """Hash of the messages, by which a changed question is noticed."""


class Failure(BaseModel):
    """A question that got no answer, or a reply that was paid for and is none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    sample: int
    reason: Reason
    detail: str
    status: int | None = None
    attempts: int
    given_up: bool
    """False for a reply that was asked for again in the same run."""
    usage: TokenCount | None = None
    cost: float | None = None
