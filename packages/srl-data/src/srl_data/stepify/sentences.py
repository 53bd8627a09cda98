"""Where a text without headings may be cut: paragraphs, lines, sentences, and words that lead on.

Every place is the start of what comes after it. None lies inside LaTeX, code, a table or a
quotation. One pass each, by patterns that look no further than a word; a library of sentence models
would know prose better and mathematics worse.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from srl_data.stepify.protected import Protected
from srl_data.stepify.vocabulary import ABBREVIATIONS, CORRECTIONS, FIRST, LAST, NEXT, WEAK

PARAGRAPH = re.compile(r"\n(?:[ \t\r\u3000]*\n)+[ \t]*")
LINE = re.compile(r"\n[ \t]*(?=[^\s])")
SENTENCE = re.compile(
    r"""(?P<stop>[.!?…][.!?]{0,8})(?P<close>["'”’»)\]*_]{0,4}|\$\$?|\\[\])])
        [ \t\r]*(?:(?<=[ \t\r])|(?=\n))\n?[ \t]*
      | (?P<wide>[。！？；｡।؟۔]["'”’」』）)]{0,3})[ \t\r]*\n?[ \t]*""",
    re.VERBOSE,
)
ROW = re.compile(r"\\\\(?:\[[^\]\n]{0,12}\])?[ \t\r]*\n?[ \t]*")
ENDED = ".!?。！？…:：;；؟।۔｡｡"
RELATION = re.compile(
    r"[=<>≤≥≠≈≡⇒⟹→⇔∴]|\\(?:leq?|geq?|neq?|approx|equiv|implies|Rightarrow|to|sim|cong|therefore)\b"
)
DISPLAY = re.compile(r"\$\$|\\\[|\\begin\{")
DISPLAY_END = re.compile(r"[.!?][\s}]*(?:\\\\)?\s*(?:\$\$|\\\]|\\end\{[^{}\n]{1,30}\})\Z")
ASIDE = re.compile(r"\((?!(?:[ivx]+|[a-z])\))[a-z]{2,}")
"""A remark in brackets, no number of a list."""
LEADS_ON = re.compile(
    r"\b(?:have|has|get|gets|obtain|obtains|is|are|that|by|and|or|where|then|thus|so|find|give|"
    r"gives|yield|yields|as|to|of|with|for|since|because|let|if|when)\Z",
    re.IGNORECASE,
)
"""Words after which a sentence goes on, be there a blank line."""
WORDS = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}[,;]?[ \t]+[A-Za-z]{2,}")
LONGEST_WORD, LONGEST_ROW = 24, 300


def pattern_of(words: str) -> re.Pattern[str]:
    """Words at a place, each a whole one where its script has spaces."""
    return re.compile(rf"(?:\*\*|__|[-*•]\s)?(?:{words})(?!\w*[a-zа-я])", re.IGNORECASE)


STARTS_FIRST, STARTS_LATER = pattern_of(FIRST), pattern_of(f"{NEXT}|{LAST}")
STARTS_ORDERED = pattern_of(f"(?!(?:{WEAK})\\b)(?:{NEXT}|{LAST})")
STARTS_CORRECTION = pattern_of(CORRECTIONS)


def before(text: str, at: int) -> int:
    """The end of what stands before `at`, white space excluded."""
    while at > 0 and text[at - 1].isspace():
        at -= 1
    return at


def continues(text: str, at: int) -> bool:
    """Whether what begins at `at` goes on with the sentence before it."""
    char = text[at : at + 1]
    if char == "(":
        return ASIDE.match(text, at) is not None
    return char.islower() or char in ",;.)]}%&=+" or (char == "-" and text[at + 1 : at + 2] != " ")


def paragraphs(text: str, protected: Protected) -> list[int]:
    """Starts of paragraphs; a display belongs to the one before it, and its "where" too."""
    found = []
    for match in PARAGRAPH.finditer(text):
        at = match.end()
        if at < len(text) and not protected.inside(at) and paragraph_ends(text, match.start(), at):
            found.append(at)
    return found


def paragraph_ends(text: str, end: int, at: int) -> bool:
    """Whether the paragraph that ends at `end` is complete, and not going on at `at`."""
    last = text[before(text, end) - 1 : before(text, end)]
    if last in ":：,，" or continues(text, at) or DISPLAY.match(text, at):
        return False
    return LEADS_ON.search(text, max(before(text, end) - 12, 0), before(text, end)) is None


def lines(text: str, protected: Protected) -> list[int]:
    """Starts of lines that are units: sentences, or rows of a derivation, not wrapped prose."""
    found: list[int] = []
    for start, end in pairwise([0, *paragraph_starts(text), len(text)]):
        places = [match.end() for match in LINE.finditer(text, start, end)]
        wrapped = is_wrapped(text, start, places)
        free = (at for at in places if not protected.inside(at))
        found += [at for at in free if line_ends(text, at, protected, wrapped=wrapped)]
    return found


def paragraph_starts(text: str) -> list[int]:
    """Starts of all paragraphs."""
    return [match.end() for match in PARAGRAPH.finditer(text) if match.end() < len(text)]


def is_wrapped(text: str, start: int, places: Sequence[int]) -> bool:
    """Whether a paragraph's lines are broken within sentences."""
    ends = [(at, before(text, at)) for at in places]
    return any(
        text[at].islower() and end > start and text[end - 1] not in ENDED and not is_row(text, at)
        for at, end in ends
    )


def line_ends(text: str, at: int, protected: Protected, *, wrapped: bool) -> bool:
    """Whether the line before `at` is complete, and not going on there."""
    end = before(text, at)
    last = text[end - 1 : end]
    if last in ":：,，" or not last:
        return False
    if DISPLAY.match(text, at):  # rows of a derivation, each a display
        before_it = protected.span_ending(end)
        return before_it is not None and DISPLAY.match(text, before_it[0]) is not None
    if is_row(text, at) and is_row(text, text.rfind("\n", max(end - LONGEST_ROW, 0), end) + 1):
        return True
    return not continues(text, at) and (not wrapped or last in ENDED)


def is_row(text: str, start: int) -> bool:
    """Whether the line that starts there is a row of a derivation: a relation, and no prose."""
    end = text.find("\n", start, start + LONGEST_ROW)
    end = min(start + LONGEST_ROW, len(text)) if end < 0 else end
    return RELATION.search(text, start, end) is not None and not WORDS.search(text, start, end)


def sentences(text: str, protected: Protected) -> list[int]:
    """Starts of sentences, those after abbreviations and initials not among them."""
    found = []
    for match in SENTENCE.finditer(text):
        at = match.end()
        while at < len(text) and text[at] in " \t\r\n":
            at += 1
        if at >= len(text) or protected.inside(at) or continues(text, at):
            continue
        if DISPLAY.match(text, at) or is_no_stop(text, match, protected):
            continue
        found.append(at)
    return sorted({*found, *behind_displays(text, protected)})


def behind_displays(text: str, protected: Protected) -> Iterator[int]:
    r"""Starts of sentences right behind a display that ends one: `x = 3.\]Therefore`."""
    for start, end in protected.spans:
        if end < len(text) and text[end].isupper() and DISPLAY.match(text, start):
            inner = DISPLAY_END.search(text, max(end - 60, start), end)
            if inner is not None and not protected.inside(end):
                yield end


def is_no_stop(text: str, match: re.Match[str], protected: Protected) -> bool:
    """Whether a full stop ends an abbreviation, an initial or a number of a list."""
    if match["stop"] is None:
        return protected.inside(match.start() + 1)
    if match["close"] and match["close"][0] in "$\\":
        return protected.span_ending(match.end("close")) is None
    if protected.inside(match.start()) and not match["close"]:
        return True
    if match["stop"] != ".":
        return False
    start = at = match.start()
    while (
        at > 0 and start - at < LONGEST_WORD and (text[at - 1].isalnum() or text[at - 1] in ".-\\")
    ):
        at -= 1
    word = text[at:start].lower()
    initial = len(word) == 1 and word.isalpha() and text[at].isupper() and text[at - 1 : at] != "$"
    marker = word.isdecimal() and len(word) < 3 and text[max(at - 1, 0) : at] in ("", "\n")
    return word in ABBREVIATIONS or marker or (initial and is_name(text, at, match.end()))


def is_name(text: str, at: int, after: int) -> bool:
    """Whether a capital with a full stop is an initial: `G. H. Hardy`; a point P ends sentences."""
    head = text[max(at - 12, 0) : at].rstrip()
    return (
        not head
        or head[-1] in ".("
        or (
            head[-1].isalpha()
            and bool(
                re.match(r"[A-Z][.a-z]", text[after : after + 2])
                and re.search(r"(?:^|\s)(?:[A-Z][a-z]+|by|of|von|de)$", head)
            )
        )
    )


def rows(text: str, protected: Protected) -> list[int]:
    r"""Starts of rows of aligned blocks, behind their `\\`: these lie inside LaTeX."""
    found = []
    for start, end in protected.spans:
        if not re.match(r"\$\$|\\\[|\\begin\{", text[start : start + 7]):
            continue
        depth = 0
        for match in re.finditer(rf"\\(begin|end)\{{|{ROW.pattern}", text[start:end]):
            if match[1]:
                depth += 1 if match[1] == "begin" else -1
            elif depth <= 1 and not text.startswith("\\end", start + match.end()):
                found.append(start + match.end())
    return found


def openings(text: str, places: Sequence[int], pattern: re.Pattern[str]) -> Iterator[int]:
    """Those of the places at which the pattern's words stand."""
    return (at for at in places if pattern.match(text, at))
