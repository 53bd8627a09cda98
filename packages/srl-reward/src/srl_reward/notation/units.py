r"""Units of measure and nouns behind a number, in one spelling: `cm^2`, `square centimeters`.

A unit is one where it is written as such (`\text{cm}`, `\mathrm{kg}`), or after a number and a
blank as a word or a known unit of several letters; `6m` is a product. Left out: converting one to
another.
"""

import re
from collections import Counter

_NAMES = """
mm millimeter millimetre|cm centimeter centimetre|dm decimeter decimetre|m meter metre
km kilometer kilometre|um micrometer micron|nm nanometer|pm picometer|in inch inche|ft foot feet
yd yard|mi mile|nmi|ly lightyear|pc parsec|au|angstrom|mg milligram|g gram gramme
kg kilogram kilo|ug microgram|t tonne ton|lb lbs pound|oz ounce|s sec second|ms millisecond
us microsecond|ns nanosecond|min minute|h hr hour|day|week|wk|month|year yr|decade
century centurie|l liter litre|ml milliliter millilitre|dl|cl|gal gallon|qt quart|pt pint|cup
ha hectare|acre|n newton|kn kilonewton|j joule|kj kilojoule|mj|cal calorie|kcal kilocalorie|kwh
w watt|kw kilowatt|mw megawatt|v volt|mv millivolt|kv|a amp ampere|ma milliamp|ohm|f farad
k kelvin|pa pascal|kpa kilopascal|mpa|atm|bar|hz hertz|khz|mhz|ghz|ev|kev|mev|gev|c coulomb
celsius|fahrenheit|mol mole|rad radian|sr|rpm|bpm|usd dollar buck|cent|eur euro|gbp|yen|rupee|rs
penny pennie pence|nickel|dime|unit
"""
_NAMES_BY_LINE = [line for part in _NAMES.split("\n") for line in part.split("|") if line.strip()]
UNITS = {word: line.split()[0] for line in _NAMES_BY_LINE for word in line.split()}
MULTIPLIERS = {
    "hundred": 100,
    "thousand": 1_000,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
    "dozen": 12,
}
_COMPOUND = {"mph": "mi/h", "kph": "km/h", "kmh": "km/h", "kmph": "km/h", "sqft": "ft^2",
             "fps": "ft/s", "mps": "m/s", "cc": "cm^3", "sq": "square", "cu": "cubic"}  # fmt: skip
_CASED = {"Pa", "Hz", "eV", "N", "J", "W", "V", "A", "K", "C", "F", "L", "M", "T"}
_OTHER_MEANING = """
not no nor or and if when for where except but unless least most more less fewer than to
until between below above before after ago remainder mod modulo base squared cubed times
plus minus am pm noon midnight half halves third thirds quarter quarters fourth fourths
fifth tenth tenths hundredth hundredths thousandth thousandths north south east west even
odd prime positive negative infinity infinite pi true false yes root roots over
approximately about undefined none never only factorial degree degrees clockwise
counterclockwise gross score pair pairs million billion trillion thousand hundred dozen
percent bits
"""
OTHER_MEANING = frozenset(_OTHER_MEANING.split())
"""Words that change what stands before them, so that no number goes without them."""
_HALF_DAY = re.compile(r"\b([ap])\.\s?m\b\.?", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z]+(?:['-][A-Za-z]+)*")
_PART = re.compile(r"([A-Za-z]+(?:['-][A-Za-z]+)*)|\^?\(?([-+]?\d+)\)?|([/*.]|per\b)")
_SYMBOL = re.compile(r"[A-Za-zµμΩÅ°]+")
_DROP = frozenset(("a", "an", "the", "of", "each", "in", "total", "all"))
_FILLER = re.compile(r"\\(?:text|mathrm|operatorname|mathit)\b|\\cdot\b|\\times\b|[{}~$\\]")


def known(word: str) -> bool:
    """Whether this is a unit of several letters, or names one."""
    return (len(word) > 1 and _base(word) in UNITS.values()) or word.lower() in _COMPOUND


def is_noun(word: str) -> bool:
    """Whether letters are a word of prose and no product: `eggs`, not `abc` and not `xyz`."""
    letters = word.lower()
    vowels = sum(letter in "aeiouy" for letter in letters)
    return len(letters) > 3 and vowels > 0 and letters not in OTHER_MEANING


def plain_unit(text: str) -> str | None:
    r"""A unit's own spelling, factors in order: `km/h` of `\text{ kilometers per hour}`.

    None where a word in it changes the number, or where something else than a unit stands there.
    """
    text = _HALF_DAY.sub(r"\1m", _FILLER.sub(" ", text))
    words = [word.lower() for word in _WORD.findall(text)]
    if not words or OTHER_MEANING.intersection(words):
        return None
    if re.sub(r"[\s.^()/*\d+-]|\w", "", text):
        return None
    powers = _powers(text)
    return None if powers is None else _spelled(powers)


def _powers(text: str) -> Counter[str] | None:
    """Each factor with its exponent."""
    powers: Counter[str] = Counter()
    sign, next_power, last = 1, 1, ""
    for word, exponent, mark in _PART.findall(_expanded(text)):
        if exponent:
            if not last:
                return None
            powers[last] += sign * (int(exponent) - 1)
            last = ""
        elif mark in ("/", "per") or word == "per":
            sign, last = -1, ""
        elif word in ("square", "cubic"):
            next_power = 2 if word == "square" else 3
        elif word and word.lower() not in _DROP:
            last = _base(word)
            powers[last] += sign * next_power
            next_power = 1
    return powers


def _expanded(text: str) -> str:
    return _SYMBOL.sub(lambda match: _COMPOUND.get(match[0].lower(), match[0]), text)


def _base(word: str) -> str:
    """The name of a unit in the singular; other words in the singular."""
    lower = word.lower()
    for spelling in (lower, lower.removesuffix("s"), lower.removesuffix("es")):
        if spelling in UNITS:
            base = UNITS[spelling]
            # `M` and `m`, `K` and `k` are several units.
            return word if len(word) == 1 and base != word.lower() else _cased(word, base)
    return lower.removesuffix("s") if len(lower) > 3 else lower


def _cased(word: str, base: str) -> str:
    return word if len(word) == 1 and word.isupper() and word in _CASED else base


def _spelled(powers: Counter[str]) -> str:
    generic = [name for name in powers if name != "unit" and powers[name]]
    return "*".join(f"{name}^{powers[name]}" for name in sorted(generic))
