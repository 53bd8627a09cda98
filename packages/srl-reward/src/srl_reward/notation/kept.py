r"""What must stand on both sides before math-verify's yes is believed: letters, words, numbers.

It drops a final `\text{…}`, reads letters as units and forgets an index. A sum or an integral may
have its own letters and its value other numbers.
"""

import re
from collections import Counter

from srl_reward.notation.relations import has_other_relation
from srl_reward.notation.words import plain_words

_TEXT = re.compile(r"\\(?:text|operatorname\*?)\s*\{([^{}]*)\}")
_COMMAND = re.compile(r"\\[a-zA-Z]+")
_LETTER = re.compile(r"[A-Za-z]'*")
_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_MARK = re.compile(r"['!|%]")
_LARGE = re.compile(r"\\(?:sum|prod|i*nt|oint|lim|bigcup|bigcap)(?![a-zA-Z])")
_OF_LARGE = re.compile(r"\\(?:sum|prod|lim|bigcup|bigcap)\s*_\s*\{?\s*([a-zA-Z])|d\s*([a-zA-Z])")
_LAYOUT = re.compile(
    r"\\(?:begin|end)\s*\{[^{}]*\}|\\(?:frac|sqrt|left|right|cdot|times)(?![a-zA-Z])"
)


def keeps_signs(gold: str, answer: str) -> bool:
    """Whether both sides have the same letters, words and numbers, in plain notation."""
    if has_other_relation(gold) != has_other_relation(answer):
        return False
    if Counter(_words(gold)) != Counter(_words(answer)):
        return False
    if Counter(_MARK.findall(gold)) != Counter(_MARK.findall(answer)):
        return False
    own = _own_letters(gold) | _own_letters(answer)
    if (_letters(gold) ^ _letters(answer)) - own:
        return False
    is_large = _LARGE.search(gold) is not None or _LARGE.search(answer) is not None
    return is_large or set(_NUMBER.findall(gold)) == set(_NUMBER.findall(answer))


def _words(text: str) -> list[str]:
    return [word for found in _TEXT.findall(text) if (word := plain_words(found))]


def _letters(text: str) -> set[str]:
    bare = _LAYOUT.sub(" ", _TEXT.sub(" ", text))
    return set(_COMMAND.findall(bare)) | set(_LETTER.findall(_COMMAND.sub(" ", bare)))


def _own_letters(text: str) -> set[str]:
    """Letters that a sum, a limit or an integral brings, and its own sign."""
    if not _LARGE.search(text):
        return set()
    bound = {letter for pair in _OF_LARGE.findall(text) for letter in pair if letter}
    return bound | {"d", "\\to", "\\infty"} | set(_LARGE.findall(text))
