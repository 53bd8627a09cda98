r"""Characters that stand for TeX: `½`, `√2`, `∞`, full-width digits, Greek letters, superscripts.

What cannot be seen (zero-width characters, NUL, directions of writing) goes.
"""

import re
import unicodedata

_SIGNS = {
    "−": "-", "–": "-", "—": "-", "‐": "-", "×": r"\times ", "÷": "/", "·": r"\cdot ",
    "⋅": r"\cdot ", "∙": r"\cdot ", "∞": r"\infty ", "≤": r"\le ", "≥": r"\ge ", "⩽": r"\le ",
    "⩾": r"\ge ", "≠": r"\ne ", "≈": r"\approx ", "±": r"\pm ", "∓": r"\mp ", "°": r"^\circ ",
    "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "∅": r"\emptyset ", "′": "'", "″": "''",
    "’": "'", "‘": "'", "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "⌊": r"\lfloor ",
    "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil ", "…": r"\ldots ", "⋯": r"\ldots ",
    "⁄": "/", "∕": "/", "£": r"\pounds ", "€": r"\euro ", "¥": r"\yen ", "，": ", ",
}  # fmt: skip
_NAMES = (
    "alpha beta gamma delta epsilon zeta eta theta kappa lambda mu nu xi pi rho sigma tau phi chi "
    "psi omega Gamma Delta Theta Lambda Pi Sigma Phi Psi Omega"
)
_GREEK = {
    letter: f"\\{name} "
    for name, letter in zip(_NAMES.split(), "αβγδεζηθκλμνξπρστφχψωΓΔΘΛΠΣΦΨΩ", strict=True)
}
_TABLE = str.maketrans({**_SIGNS, **_GREEK})
_RAISED = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻ⁿ]+")
_LOWERED = re.compile("[₀₁₂₃₄₅₆₇₈₉]+")
_PLAIN = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻ⁿ₀₁₂₃₄₅₆₇₈₉", "0123456789-n0123456789")
_FRACTION = re.compile(r"(\d*)([¼-¾⅐-⅞])", re.ASCII)
_ROOT = re.compile(r"√\s*(\d+(?:\.\d+)?|\w)?", re.ASCII)


def as_tex(text: str) -> str:
    """Characters of mathematics as TeX, others in their plain form."""
    if text.isascii() and text.isprintable():
        return text
    text = _FRACTION.sub(_fraction, text)
    text = _RAISED.sub(lambda match: "^{" + match[0].translate(_PLAIN) + "}", text)
    text = _LOWERED.sub(lambda match: "_{" + match[0].translate(_PLAIN) + "}", text)
    text = _ROOT.sub(lambda match: f"\\sqrt{{{match[1]}}}" if match[1] else "\\sqrt ", text)
    text = unicodedata.normalize("NFKC", text.translate(_TABLE)).translate(_TABLE)
    return "".join(map(_seen, text))


def _fraction(match: re.Match[str]) -> str:
    top, _, bottom = unicodedata.normalize("NFKC", match[2]).partition("\u2044")
    return f"{match[1]}\\frac{{{top}}}{{{bottom}}}"


def _seen(character: str) -> str:
    """White space as a blank, and nothing for a character that is not seen."""
    if character.isspace():
        return " "
    return "" if unicodedata.category(character) in {"Cf", "Cc", "Cs"} else character
