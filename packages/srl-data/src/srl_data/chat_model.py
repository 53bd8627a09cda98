"""A model behind a server, what it is asked and what it answers.

Nothing here talks to a server (`chat_client`), so that commands can be parsed without httpx.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from srl_data.prompts import Message


@dataclass(frozen=True)
class Usage:
    """The tokens that a server counted."""

    prompt_tokens: int
    completion_tokens: int
    """The reasoning's included."""
    cached_tokens: int = 0
    """Of the prompt, read from the server's cache."""
    reasoning_tokens: int = 0


@dataclass(frozen=True)
class ChatAnswer:
    """What a model answered."""

    content: str
    reasoning: str | None = None
    finish_reason: str | None = None
    usage: Usage | None = None
    """None where the server did not count."""


@dataclass(frozen=True)
class ChatModel:
    """A model and how it is sampled; None leaves a setting to the server."""

    name: str
    temperature: float | None = None
    max_tokens: int | None = None
    top_p: float | None = None
    seed: int | None = None
    extra: Mapping[str, object] = field(default_factory=dict)
    """Further fields of the request."""

    def request(self, messages: Sequence[Message]) -> dict[str, object]:
        """The body of a request."""
        settings = {
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "top_p": self.top_p,
            "seed": self.seed,
        }
        given = {name: value for name, value in settings.items() if value is not None}
        return {"model": self.name, "messages": list(messages), **given, **self.extra}
