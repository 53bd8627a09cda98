"""Chats with a model behind an OpenAI-compatible server: messages in, a checked answer out.

`reasoning_content`, as DeepSeek's API and vLLM give it, is kept apart from the answer. An answer
that is empty is an error of its own, since the next try may give one.
"""

from collections.abc import Sequence

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from srl_data.chat_model import ChatAnswer, ChatModel, Usage
from srl_data.http_client import JsonClient, RequestError
from srl_data.prompts import Message
from srl_data.records import short_reason

PATH = "/chat/completions"


class _Reply(BaseModel):
    """A part of an answer; fields that are not used here may be anything."""

    model_config = ConfigDict(extra="ignore")


class _Words(_Reply):
    content: str | None = None
    reasoning_content: str | None = Field(
        default=None, validation_alias=AliasChoices("reasoning_content", "reasoning")
    )


class _Choice(_Reply):
    message: _Words
    finish_reason: str | None = None


class _Cached(_Reply):
    cached_tokens: int | None = None


class _Reasoned(_Reply):
    reasoning_tokens: int | None = None


class _Usage(_Reply):
    prompt_tokens: int = Field(ge=0)
    completion_tokens: int = Field(ge=0)
    prompt_cache_hit_tokens: int | None = None
    prompt_tokens_details: _Cached | None = None
    completion_tokens_details: _Reasoned | None = None


class _ChatReply(_Reply):
    choices: list[_Choice] = Field(min_length=1)
    usage: object = None


def read_usage(counted: object) -> Usage | None:
    """A server's count of tokens; None where it gives none that can be read."""
    try:
        found = _Usage.model_validate(counted)
    except ValidationError:
        return None
    details = found.prompt_tokens_details or _Cached()
    cached = found.prompt_cache_hit_tokens or details.cached_tokens or 0
    reasoned = (found.completion_tokens_details or _Reasoned()).reasoning_tokens or 0
    return Usage(
        found.prompt_tokens,
        found.completion_tokens,
        min(max(cached, 0), found.prompt_tokens),
        max(reasoned, 0),
    )


def read_answer(answer: object) -> ChatAnswer:
    """A server's answer, which may be empty; ValidationError where it is something else."""
    reply = _ChatReply.model_validate(answer)
    words = reply.choices[0].message
    return ChatAnswer(
        words.content or "",
        words.reasoning_content,
        reply.choices[0].finish_reason,
        read_usage(reply.usage),
    )


async def chat(client: JsonClient, model: ChatModel, messages: Sequence[Message]) -> ChatAnswer:
    """The model's answer. Raises RequestError where the server fails or answers something else."""
    answer = await client.post(PATH, model.request(messages))
    try:
        found = read_answer(answer)
    except ValidationError as error:
        raise RequestError(
            f"{client.endpoint.base_url}{PATH} answered otherwise than asked: "
            f"{short_reason(error)}; expected an OpenAI-compatible server",
            passing=False,
        ) from error
    if not found.content.strip():
        raise RequestError("an empty answer", passing=True)
    return found
