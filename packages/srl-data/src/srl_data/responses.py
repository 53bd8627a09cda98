"""The text of a response to imitate, in the form that its prompt template asks for.

Thinking comes from a column, else it is a short fixed one; where the prompt ends inside an open
`<think>`, the response does not open it again. Supervised training writes its examples by it, and
`srl-data pairs` its records. Left out: token ids.
"""

from dataclasses import dataclass

from srl_data.command.errors import DataError
from srl_data.pairs import Pair
from srl_data.prompts import Template
from srl_reward import InvalidOutput, parse_step_output, render_step_output
from srl_reward.thinking_marks import CLOSING, OPENING, STEP_MARKS

OPEN, CLOSE = STEP_MARKS


@dataclass(frozen=True)
class ResponseForm:
    """How responses are written under one template; `thinks`: they begin with thinking."""

    template: Template
    thinks: bool
    text: str
    """The thinking where the pair has none."""

    def write(self, pair: Pair, *, think_prefilled: bool) -> str:
        """The response of `pair`; DataError naming it where that cannot be in form."""
        try:
            written = self._thought(pair) if self.thinks else pair.response
            if think_prefilled:
                written = without_opening(written)
            if pair.kind == "step" and self.thinks:
                check_step(written, think_prefilled=think_prefilled)
        except ValueError as error:
            raise DataError(f"record {pair.id!r}: {error}") from error
        return written

    def _thought(self, pair: Pair) -> str:
        thinking = pair.thinking or self.text
        for what, text in (("thinking", thinking), ("response", pair.response)):
            if mark := OPENING.search(text) or CLOSING.search(text):
                raise ValueError(
                    f"its {what} holds {mark.group()!r} itself, and thinking is put before the "
                    "response; give --no-thinking, or take the marks out"
                )
        if self.template.tagged:
            return f"<think>{thinking}</think> <answer>{pair.response.strip()}</answer>"
        return render_step_output(thinking, pair.response)

    @property
    def described(self) -> str:
        """What responses begin with, in words."""
        return f"a fixed thinking part, {self.text!r}"


def without_opening(response: str) -> str:
    """A response after a prompt that has opened `<think>`; ValueError where it never closes it."""
    bare = response.lstrip()
    if bare.startswith(OPEN):
        return bare.removeprefix(OPEN)
    if CLOSE not in response:
        raise ValueError(
            "its prompt ends inside an open <think>, and the response closes no thinking; give "
            "--thinking-field, or --thinking for a fixed part, or close it by "
            "--chat-template-kwargs"
        )
    return response


def check_step(written: str, *, think_prefilled: bool) -> None:
    """ValueError where a response is not a valid output of the step grammar."""
    parsed = parse_step_output(written, think_prefilled=think_prefilled)
    if isinstance(parsed, InvalidOutput):
        raise ValueError(
            f"its response is not a valid output of a step ({parsed.reason}): {written[:60]!r}"
        )
