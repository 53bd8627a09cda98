"""Chats with a model behind an OpenAI-compatible server: messages in, a checked answer out.

`reasoning_content`, as DeepSeek's API and vLLM give it, is kept apart from the answer. An answer
that is empty is an error of its own, since the next try may give one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from srl_data.http_client import JsonClient, RequestError
from srl_data.prompts import Message
from srl_data.records import short_reason


class _Reply(BaseModel):
    """A part of an answer; fields that are not used here may be anything."""

    model_config = ConfigDict(extra="ignore")


class _Words(_Reply):
    content: str | None = None
    reasoning_content: str | None = None


class _Choice(_Reply):
    message: _Words
    finish_reason: str | None = None


class _Usage(_Reply):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _ChatReply(_Reply):
    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None


@dataclass(frozen=True)
class ChatAnswer:
    """What a model answered."""

    content: str
    reasoning: str | None = None
    finish_reason: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True)
class ChatModel:
    """A model and how it is sampled; None leaves a setting to the server."""

    name: str
    temperature: float | None = None
    max_tokens: int | None = None
    extra: Mapping[str, object] = field(default_factory=dict)
    """Further fields of the request."""

    def request(self, messages: Sequence[Message]) -> dict[str, object]:
        """The body of a request."""
        settings = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        given = {name: value for name, value in settings.items() if value is not None}
        return {"model": self.name, "messages": list(messages), **given, **self.extra}


async def chat(client: JsonClient, model: ChatModel, messages: Sequence[Message]) -> ChatAnswer:
    """The model's answer. Raises RequestError where the server fails or answers something else."""
    answer = await client.post("/chat/completions", model.request(messages))
    try:
        reply = _ChatReply.model_validate(answer)
    except ValidationError as error:
        raise RequestError(
            f"{client.endpoint.base_url}/chat/completions answered otherwise than asked: "
            f"{short_reason(error)}; expected an OpenAI-compatible server",
            passing=False,
        ) from error
    choice, usage = reply.choices[0], reply.usage or _Usage()
    content = choice.message.content or ""
    if not content.strip():
        raise RequestError("an empty answer", passing=True)
    return ChatAnswer(
        content,
        choice.message.reasoning_content,
        choice.finish_reason,
        usage.prompt_tokens,
        usage.completion_tokens,
    )
