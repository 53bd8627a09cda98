r"""How models write expressions, brought to what math-verify reads right.

math-verify 0.9.0 takes `33.` for something else than 33, `(2,251,252)` for a pair, `\ne 33` for 33
and `10\,000` for 10; here is what comes before it. Left out: equality itself. All patterns are
linear and the texts short (`grading.MAX_CHARS`).
"""

import re

_JOINED = re.compile(
    r"(?<![\d.,])[1-9]\d{0,2}(?:(?:,\\!|\\!|\{,\}|\\[,;: ]|~)\d{3})+(?!\d)", re.ASCII
)
"""Thousands with a mark that is none between the members of a list."""
_THOUSANDS = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:,\d{3})+(?!\d)", re.ASCII)
_NO_DIGIT = re.compile(r"\D+", re.ASCII)
_BARE_COMMA = re.compile(r",(?=\d)")
_OPENING = re.compile(r"\s*(?:\\left\s*)?(?:\\\{|[(\[])")
_STOP = re.compile(r"(?<![.\s\\])\s*(?:[.,;]|\\\\|(?:\\[,;:! ]|\\q?quad|~)+)\s*(\$?)$")
_DRESSED = re.compile(r"\\(?:text|mathrm|mbox|textbf|mathbf|boldsymbol|bm)\s*\{([-+\d.,/\s]+)\}")
"""A number as text or in bold; math-verify reads integers so, but not decimals."""
_RELATION = re.compile(r"\\(?:neq?|not|leq?|geq?|lt|gt|leqslant|geqslant)(?![a-zA-Z])|[<>≠≤≥]")
_WORDS = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mbox)\s*\{([^{}\\]*[a-zA-Z][^{}\\]*)\}")
_BLANK = re.compile(r"(?<!\d)\s+|\s+(?!\d)")  # `3 4` is not 34
_DRESS = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mbox)(?![a-zA-Z])|\\ |[{}$~\s]")


def plain_pair(gold: str, prediction: str) -> tuple[str, str]:
    """Both sides without sentence marks, thousands joined, lists with a space after each comma."""
    gold, prediction = _plain(gold), _plain(prediction)
    if is_list(gold):
        return tuple(_BARE_COMMA.sub(", ", text) for text in (gold, prediction))  # type: ignore[return-value]
    return gold, prediction


def is_list(text: str) -> bool:
    """Whether commas stand between members: in brackets, or where they part no thousands."""
    return "," in text and bool(_OPENING.match(text) or "," in _THOUSANDS.sub("", text))


def is_other_relation(gold: str, prediction: str) -> bool:
    r"""Whether a bound or a denial (`\ge 33`, `\ne 33`) was given where the answer is a value."""
    found = _RELATION.match(prediction.lstrip(" $"))
    return found is not None and _RELATION.search(gold) is None


def is_same_text(gold: str, prediction: str) -> bool:
    r"""Whether the same signs were given, or an answer in words (`\text{June 20}`) in any dress."""
    if _BLANK.sub("", gold) == _BLANK.sub("", prediction):
        return True
    words = _WORDS.fullmatch(gold)
    return words is not None and _undressed(words[1]) == _undressed(prediction)


def _plain(text: str) -> str:
    dressed = _DRESSED.fullmatch(text)
    text = dressed[1].strip() if dressed else text
    return _JOINED.sub(lambda match: _NO_DIGIT.sub("", match[0]), _STOP.sub(r"\1", text))


def _undressed(text: str) -> str:
    return _DRESS.sub("", text).rstrip(".").casefold()
