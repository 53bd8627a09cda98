"""Whether a generated answer has the form that a prompt template asks for.

A template without a grammar (it asks for a boxed answer, or for nothing) has none here.
"""

from collections.abc import Callable

from srl_data.prompts import Template
from srl_grpo.data.examples import Example
from srl_reward import InvalidOutput, R1ZeroReward, parse_step_output

Grammar = Callable[[str, bool, Example], bool]
"""Of a text, whether it was cut off, and its example: whether it is in the right form."""


def is_step(text: str, cut: bool, example: Example) -> bool:
    """`<think>…</think>` and one step."""
    output = parse_step_output(text, think_prefilled=example.think_prefilled, truncated=cut)
    return not isinstance(output, InvalidOutput)


def is_r1_zero(text: str, cut: bool, example: Example) -> bool:
    """`<think>…</think> <answer>…</answer>`."""
    reward = R1ZeroReward(think_prefilled=example.think_prefilled)
    (scored,) = reward.score([text], answer=["any"], truncated=[cut])
    return scored is not None and scored.parts["format"] == 1


def grammar_of(template: Template) -> Grammar | None:
    """The grammar of a template; None where its answers have none."""
    if template.stepwise:
        return is_step
    return is_r1_zero if template.name == "r1_zero" else None
