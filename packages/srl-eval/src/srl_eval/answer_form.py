"""Where an answer stands in what a model wrote, and whether that is in the form asked for.

Both are the prompt template's to say: R1-zero's answers stand in a tag, with a box or without one;
a step is thinking and one step; of other templates an answer is looked for after the thinking, and
they have no grammar beyond the mark that the grader looks for. Left out: grading.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from srl_data.command.errors import ConfigError
from srl_data.prompts import Template
from srl_reward.output import InvalidOutput, after_thinking, parse_step_output
from srl_reward.tagged import CLOSED, OPENED, answer_in, parse_tagged_output, tagged_answer
from srl_reward.thinking_marks import STEP_MARKS


@dataclass(frozen=True, slots=True)
class Written:
    """What a model wrote to one prompt.

    `prefilled`: the prompt ended inside an open thinking; `cut`: it was cut off by a cap.
    """

    text: str
    prefilled: bool = False
    cut: bool = False


@dataclass(frozen=True, slots=True)
class AnswerPart:
    """The part that an answer is looked for in; `bare`: it is the answer, with no mark around."""

    text: str
    bare: bool = False


Grammar = Callable[[Written], bool]
"""Whether what was written is in the form that a template asks for."""


def is_step(written: Written) -> bool:
    """`<think>…</think>` and one step."""
    output = parse_step_output(
        written.text, think_prefilled=written.prefilled, truncated=written.cut
    )
    return not isinstance(output, InvalidOutput)


def is_tagged(written: Written) -> bool:
    """`<think>…</think> <answer>…</answer>`."""
    output = parse_tagged_output(
        written.text, think_prefilled=written.prefilled, truncated=written.cut
    )
    return not isinstance(output, str)


def grammar_of(template: Template) -> Grammar | None:
    """The grammar of a template; None where its answers have none but the grader's mark."""
    if template.stepwise:
        return is_step
    return is_tagged if template.tagged else None


def check_stops(template: Template, stop: Sequence[str]) -> None:
    """ConfigError for a stop text that would take a mark of the template's grammar away.

    A stop text is not part of the answer, which would never be in form; but one that holds
    `</answer>` is (`srl_eval.generate.text`).
    """
    if grammar_of(template) is None:
        return
    marks = (*STEP_MARKS, *((OPENED, CLOSED) if template.tagged else ()))
    for text in stop:
        lost = next((mark for mark in marks if takes_away(text, mark)), None)
        if lost is not None:
            raise ConfigError(
                f"--stop {text!r} takes away {lost}, which an answer to template "
                f"{template.name!r} must have: none would be in the right format; leave it out"
            )


def takes_away(stop: str, mark: str) -> bool:
    """Whether a text that ends at `stop` has lost `mark`, or a part of it."""
    return (mark in stop and mark != CLOSED) or (stop in mark and stop != CLOSED)


def answer_part(template: Template, written: Written) -> AnswerPart:
    """Where the final answer is looked for; an empty text where thinking never ended.

    Of a template with tags that is the last tag; where the model wrote none, all that follows the
    thinking, so that a box there is no less an answer.
    """
    if template.tagged:
        content = tagged_answer(written.text, think_prefilled=written.prefilled)
        if content is not None:
            return AnswerPart(content, bare=answer_in(content) == content)
    part = after_thinking(written.text, think_prefilled=written.prefilled)
    return AnswerPart("" if isinstance(part, InvalidOutput) else part)
