"""Whether an answer is right by Dr. GRPO's rules: in its text form, or else in its expression's."""

from srl_reward.drgrpo.expression import same_expression
from srl_reward.drgrpo.form import answer_of
from srl_reward.drgrpo.words import text_form


def is_right(gold: str, given: str) -> bool:
    """Whether a given answer is the gold one, which may stand in a box."""
    answer = answer_of(gold)
    if answer is None:
        return False
    return text_form(answer) == text_form(given) or same_expression(answer, given)
