r"""How people and models write answers, brought to plain notation before anything is compared.

`plain` is the one place: it acts on gold and answer alike, and each rule is a small function of the
module that names its subject. Left out: what an answer means (`srl_reward.expression`) and whether
two are equal. All patterns are linear and the texts short (`grading.MAX_CHARS`).
"""

import re

from srl_reward.notation.characters import as_tex
from srl_reward.notation.decoration import ended, undecorated
from srl_reward.notation.degrees import temperature
from srl_reward.notation.numerals import cardinal, exact_decimals, joined, thousands
from srl_reward.notation.relations import has_other_relation, plain_relations
from srl_reward.notation.words import plain_words, without_lead

__all__ = ["has_other_relation", "is_same_text", "plain"]

_MOST_BRACES = 8
_WORDS = re.compile(r"\\text\s*\{([^{}\\]*[a-zA-Z]{2}[^{}\\]*)\}")
_BLANK = re.compile(r"(?<![\w\\])\s+|\s+(?!\w)")  # `3 4` is not 34, `\pi r` not `\pir`


def plain(text: str) -> str:
    """An answer in plain notation: one spelling for what means the same."""
    for rule in _RULES:
        text = rule(text)
    return text


def without_braces(text: str) -> str:
    """A text without the braces around all of it."""
    for _ in range(_MOST_BRACES):
        if not text.startswith("{") or not text.endswith("}") or text.endswith("\\}"):
            return text
        depth = 0
        for place, character in enumerate(text):
            is_brace = not place or text[place - 1] != "\\"
            depth += (character == "{" and is_brace) - (character == "}" and is_brace)
            if not depth and place < len(text) - 1:
                return text
        text = text[1:-1].strip()
    return text


def is_same_text(gold: str, prediction: str) -> bool:
    r"""Whether two texts in plain notation have the same signs, or the same words."""
    if _BLANK.sub("", gold) == _BLANK.sub("", prediction):
        return True
    words = _WORDS.fullmatch(gold)
    return words is not None and plain_words(gold) == plain_words(prediction)


_RULES = (
    as_tex,
    joined,
    plain_relations,
    undecorated,
    without_braces,
    without_lead,
    ended,
    temperature,
    cardinal,
    thousands,
    exact_decimals,
)
"""In their order: characters, then what is around an answer, then the numbers in it."""
