r"""The expression form of an answer by Dr. GRPO's rules: PRM800K's normal form, and sympy's word.

Two answers are equal where their forms are the same text, or their elements are equal one by one: a
fraction to the same fraction alone, an integer to an integer, anything else where sympy simplifies
the difference to 0. Asking sympy may take any time: this runs in a process that can be killed.
"""

import re

POWERS = {"million": "*10^6", "billion": "*10^9", "trillion": "*10^12"}
UNITS = (
    *("degree", "cm", "centimeter", "meter", "mile", "second", "minute", "hour", "day", "week"),
    *("month", "year", "foot", "feet", "inch", "yard"),
)
SYMBOLS = {"√": "sqrt", "π": "pi", "∞": "inf", "∪": "U", "·": "*", "×": "*"}
BRACKETS = "()[]"
_FRACTION = re.compile(r"^-?[0-9]+.?/0*[1-9][0-9]*.?$")
_THOUSANDS = re.compile(r"(\d)(,)(\d\d\d)($|\D)")
_REFUSED = re.compile(r"\^\{|\^\(|\^[0-9]+\^|\^[0-9][0-9]+")
MOST_LETTERS = 2
"""Distinct letters, beside `sqrt` and `frac`, past which sympy is not asked."""


def same_expression(gold: str, given: str) -> bool:
    """Whether two answers are equal by this form."""
    right, left = expression_form(gold), expression_form(given)
    if right == left:
        return True
    if not left:
        return False
    rights, lefts = elements(right), elements(left)
    brackets_differ = (right[:1], right[-1:]) != (left[:1], left[-1:])
    if (len(rights) > 1 and brackets_differ) or len(rights) != len(lefts):
        return False
    return bool(rights) and all(map(same_element, rights, lefts))


def same_element(gold: str, given: str) -> bool:
    """Whether two elements of a tuple, or two whole answers, are equal."""
    if _FRACTION.search(gold) and _FRACTION.search(given):
        return gold == given  # one that is not reduced is wrong
    if is_integer(gold) != is_integer(given):
        return False
    return simplifies_to_zero(f"({gold})-({given})")


def simplifies_to_zero(text: str) -> bool:
    """Whether sympy finds an expression to be 0; not asked where it might hang."""
    letters = {char for char in text.replace("sqrt", "").replace("frac", "") if char.isalpha()}
    if len(letters) > MOST_LETTERS or _REFUSED.search(text):
        return False
    import sympy
    from sympy.parsing import sympy_parser as parser

    rules = (*parser.standard_transformations, parser.implicit_multiplication_application)
    try:
        difference = parser.parse_expr(text.replace("^", "**"), transformations=rules)
        return bool(sympy.simplify(difference) == 0)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - whatever sympy raises on a model's text is a no
        return False


def elements(text: str) -> list[str]:
    """The elements of a tuple or an interval, or the text as the only one."""
    text = without_thousands(text)
    inner = text[1:-1]
    is_tuple = (
        len(text) > 2
        and text[0] in BRACKETS
        and text[-1] in BRACKETS
        and not any(bracket in inner for bracket in BRACKETS)
    )
    if is_tuple:
        return [element.strip() for element in inner.split(",")]
    return [text] if text else []


def expression_form(answer: str) -> str:
    """The normal form of an answer."""
    found = re.search(r"^\\text\{(?P<text>.+?)\}$", answer)
    text = without_words(found["text"] if found else answer)
    if text and text[0] == "{" and text[-1] == "}":
        text = text[1:-1]
    text = re.sub(r",\\! *", "", text)
    number = as_float(text)
    if number is not None and is_near_integer(number):
        text = str(round(number))
    if "\\" in text:
        text = unicode_text(text)
    text = re.sub("- *", "-", text)
    text = re.sub("([0-9]) +([0-9])", r"\1+\2", text)  # a mixed number is a sum
    text = text.replace(" ", "").replace("{", "").replace("}", "").lower()
    if is_integer(text):
        return str(int(float(text.replace(",", ""))))
    return text


def without_words(text: str) -> str:
    """Without percent and dollar signs and units; `and`, `or` and large numbers' names as signs."""
    text = text.replace("\\%", "%").replace("\\$", "$").replace("$", "").replace("%", "")
    text = text.replace(" or ", " , ").replace(" and ", " , ")
    for name, power in POWERS.items():
        text = text.replace(name, power)
    for unit in UNITS:
        text = re.sub(rf"{unit}(es)?(s)? *(\^[0-9]+)?", "", text)
    return re.sub(r"\^ *\\circ", "", text)


def unicode_text(text: str) -> str:
    """LaTeX as plain text, by pylatexenc; as it stands where that fails."""
    from pylatexenc.latex2text import LatexNodes2Text

    spaced = text.replace("\\tfrac", "\\frac").replace("\\dfrac", "\\frac")
    spaced = spaced.replace("\\frac", " \\frac")  # a mixed number stays one
    try:
        plain = str(LatexNodes2Text().latex_to_text(spaced))
    except Exception:  # noqa: BLE001 - whatever it raises on a model's text
        return text
    for symbol, name in SYMBOLS.items():
        plain = plain.replace(symbol, name)
    return plain.strip()


def without_thousands(text: str) -> str:
    """Without the commas that group digits by three."""
    while (shorter := _THOUSANDS.sub(r"\1\3\4", text)) != text:
        text = shorter
    return text


def is_integer(text: str) -> bool:
    """Whether a text is a whole number, thousands commas aside."""
    number = as_float(without_thousands(text))
    return number is not None and is_near_integer(number)


def is_near_integer(number: float) -> bool:
    """Whether a number is within 1e-7 of a whole one; infinity and NaN are not."""
    try:
        return abs(number - round(number)) <= 1e-7
    except (OverflowError, ValueError):
        return False


def as_float(text: str) -> float | None:
    """The number that Python reads, or None."""
    try:
        return float(text)
    except ValueError:
        return None
