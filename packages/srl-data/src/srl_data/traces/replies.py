"""Replies of a teacher: which are answers, which are asked for again, which are given up."""

from pydantic import ValidationError

from srl_data.chat_client import read_answer
from srl_data.chat_model import ChatAnswer
from srl_data.http_client import PassingError, RequestError
from srl_data.records import short_reason
from srl_data.traces.record import Reason

INTERRUPTED = "insufficient_system_resource"
"""DeepSeek's reason for an answer that its servers broke off."""
TELLING = 8
"""Characters of a key that does not stand in a text by chance, as `EMPTY`, vLLM's, may."""
OF_THE_QUESTION = frozenset({400, 413, 422})
"""Statuses that another question need not meet."""


class NoAnswerError(PassingError):
    """A reply without an answer, which another attempt may give."""


class HopelessError(RequestError):
    """A reply without an answer, which the same request would meet again."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message, passing=False)
        self.reason: Reason = reason


def read_reply(answer: object) -> ChatAnswer:
    """A server's reply, whatever is in it.

    Raises HopelessError where it has another form, PassingError for an error under status 200, as
    routers give it.
    """
    if isinstance(answer, dict) and answer.get("error") and "choices" not in answer:
        words = " ".join(str(answer["error"]).split())[:200]
        raise PassingError(f"status 200 with an error: {words}")
    try:
        return read_answer(answer)
    except ValidationError as error:
        raise HopelessError(
            "unreadable", f"{short_reason(error)}; expected an OpenAI-compatible server"
        ) from error


def check_answered(reply: ChatAnswer) -> None:
    """NoAnswerError or HopelessError where the reply holds no answer."""
    if reply.finish_reason == INTERRUPTED:
        raise NoAnswerError("the server broke the answer off")
    if reply.content.strip():
        return
    if reply.finish_reason == "length":
        raise HopelessError("cut_in_thinking", "no content before --max-tokens; raise it")
    if reply.finish_reason == "content_filter":
        raise HopelessError("filtered", "the server's filter withheld the content")
    raise NoAnswerError("an empty answer")


def reason_of(error: RequestError) -> Reason | None:
    """Why a question has no answer; None where no other question would fare better."""
    if isinstance(error, HopelessError):
        return error.reason
    if error.passing:
        return "empty" if isinstance(error.__cause__, NoAnswerError) else "unanswered"
    if error.status is None:
        return "unreadable"  # too large
    return "refused" if error.status in OF_THE_QUESTION else None


def bytes_bound(texts: list[str]) -> int:
    """Tokens of texts at most: a token has a byte at least, and a message some marks."""
    return sum(len(text.encode("utf-8", "surrogatepass")) + 64 for text in texts)


def clean(text: str, key: str | None) -> str:
    """A model's text without the key that a server might repeat, and without half characters."""
    if key and (len(key) >= TELLING or key.startswith("sk-")):
        text = text.replace(key, "***")
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
