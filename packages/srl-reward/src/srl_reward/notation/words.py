r"""Answers in words: `\text{June 20}`, `even`, `10\text{ a.m.}`, and phrases before an answer."""

import re

_LEAD = re.compile(
    r"^(?:\\text\s*\{)?\s*(?:so|thus|hence|therefore)?[, ]*(?:the|my|our)?\s*(?:final|correct)?\s*"
    r"(?:answer|solution|result|value|choice|option)s?(?:\s+(?:is|are|equals|was))?\s*[:=]?\s*\}?"
    r"\s*(?::|=)?\s*(?=\S)",
    re.IGNORECASE,
)
_DRESS = re.compile(r"\\(?:text|mathrm|operatorname\*?)(?![a-zA-Z])|[{}$~\\]|\bthe\b|\ban?\b(?!\.)")
_GAP = re.compile(r"[\s,]+")
_DOTTED = re.compile(r"\b([a-z])\.\s?([a-z])\.")
_WORDS_ONLY = re.compile(r"(?:\\(?:text|mathrm)\s*\{[^{}]*\}\s*)+")
_SAME = {
    "no solutions": "no solution",
    "no real solutions": "no real solution",
    "emptyset": "no solution",
    "empty set": "no solution",
    "does not exist": "dne",
    "doesn't exist": "dne",
}
_NUMBER_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty"
)
NUMBER_WORDS = _NUMBER_WORDS.split()
CHOICE = re.compile(
    r"(?:\\text\s*\{\s*)?\(?\s*(?:\\(?:text|mathrm)\s*\{\s*)?\(?([A-Z])\)?[.:]?\s*\}?\s*\)?\s*\}?"
)
"""A lone capital in any dress: `\\text{(B)}`, `(\\mathrm{B})`, `B.`."""


def without_lead(text: str) -> str:
    """A text without `The answer is` before it."""
    return _LEAD.sub("", text, count=1)


def plain_words(text: str) -> str:
    """Words in one spelling: small letters, single blanks, no articles and no dress."""
    bare = _DRESS.sub(" ", text).strip(" .!;:").casefold()
    bare = _DOTTED.sub(r"\1\2", bare)
    bare = _GAP.sub(" ", bare).strip(" .")
    return _SAME.get(bare, bare)
