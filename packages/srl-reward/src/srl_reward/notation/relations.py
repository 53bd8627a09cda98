r"""Denials and bounds: `\boxed{x \ne 33}` and `x < y = 33` say something else than 33.

`\not=`, `!=`, `=\!\!\!/` are `\ne`; `>=` is `\ge`.
"""

import re

_DENIAL = re.compile(
    r"\\not\s*=|!=|=/=|\\not\s*\{\s*=\s*\}|\\neq(?![a-zA-Z])|<>|≠|=\s*\\not(?![a-zA-Z])"
)
_AT_LEAST = re.compile(r"[>]=|=>|≥|\\geq(?:slant)?(?![a-zA-Z])")
_AT_MOST = re.compile(r"[<]=|=<|≤|\\leq(?:slant)?(?![a-zA-Z])")
_OTHER = re.compile(
    r"\\(?:neq?|not|leq?|geq?|lt|gt|leqslant|geqslant|ll|gg|in|notin|nless|ngtr|equiv|sim|propto"
    r"|nleq|ngeq)(?![a-zA-Z])|[<>≠≤≥∉∈]|!="
)
_DENYING = re.compile(
    r"(?<![a-zA-Z])(?:not|isn't|neither|never|cannot|no)(?![a-zA-Z])", re.IGNORECASE
)


def plain_relations(text: str) -> str:
    """Relations in one spelling each."""
    text = _DENIAL.sub(r"\\ne ", text)
    return _AT_MOST.sub(r"\\le ", _AT_LEAST.sub(r"\\ge ", text))


def has_other_relation(text: str) -> bool:
    """Whether a text bounds or denies instead of giving a value."""
    return _OTHER.search(text) is not None or _DENYING.search(text) is not None
