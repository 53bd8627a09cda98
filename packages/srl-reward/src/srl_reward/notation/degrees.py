r"""Degrees of temperature, which are units: `25^\circ\text{C}`, `77 °F`.

Degrees of angles are read with the formula (`\circ`), since they may stand within a function.
"""

import re

_TEMPERATURE = re.compile(
    r"\^?\s*\{?\s*(?:\^\s*\{?\s*)?\\circ\s*\}?\s*(?:\\(?:text|mathrm)\s*\{\s*([CF])\s*\}|([CF])(?![a-zA-Z]))"
    r"\s*\}?$"
)
_NAMES = {"C": "celsius", "F": "fahrenheit"}


def temperature(text: str) -> str:
    r"""`25^\circ C` as `25 \text{celsius}`."""
    return _TEMPERATURE.sub(lambda match: f" \\text{{{_NAMES[match[1] or match[2]]}}}", text)
