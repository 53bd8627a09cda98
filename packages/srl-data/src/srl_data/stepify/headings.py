"""Which headings of a text are its steps: one style, counted up, and the outermost of several.

Candidates are found at line starts and, within a line, where a sentence begins; those inside LaTeX,
code, tables and quotations are none. Each style's candidates are chained by their numbers: a list
inside a step is passed over, a second list that starts again is taken on, a number that is left out
or comes twice is the author's slip. Linear in the text, whatever stands in it.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from srl_data.stepify.blocks import lines_of
from srl_data.stepify.heading_line import (
    BOLD_LINE,
    BULLET,
    LETTER,
    MARKED,
    PART,
    PLAIN,
    STEP,
    Heading,
    headings_at,
    unnumbered_at,
)
from srl_data.stepify.protected import Protected
from srl_data.stepify.vocabulary import PART_WORDS, STEP_WORDS

MOST_SKIPPED = 2
"""Numbers that may be left out between two steps."""
LIST_SHARE = 0.5
"""Of a text that a plain list has to reach over, to be its steps and not a list in it."""
LEAD = 0.4
"""Share of a text before a weak list's first item beyond which it is a list in the text."""
AFTER_LIST = 600
"""Characters of a last item that count for the list's reach."""

MOST_CANDIDATES = 20_000
"""Places of a text that are looked at as headings; beyond them no solution has steps."""

SENTENCE_START = re.compile(r"[.!?:;,)\]}$*][ \t]+(?=\S)|[。！？；][ \t]*(?=\S)")
INLINE = re.compile(
    rf"(?:\*\*|__)?(?:(?:{STEP_WORDS})[ \t]*[\#№(]?[ \t]*\w{{1,6}}[ \t]*[:.)：．—–-]"
    r"|第[ \t]*\w{1,3}[ \t]*[步阶]|(?:\*\*)?[(（]\d{1,3}[)）]|\d{1,2}\)[ \t]|[①-⓿❶-➓])",
    re.IGNORECASE,
)
FIRST_CHARACTER = re.compile(
    rf"[\s>]*(?:[\d#*_=<\\(\[（【〔［①-⓿❶-➓㈠-㊉Ⅰ-ⅿ一二三四五六七八九十第제+•·▪►–-]"
    r"|[^\w\s\x00-\x7f]|[A-Za-z]{1,5}[.)、．:：]"
    rf"|(?:the[ \t]+)?\w+[ \t]+(?:{STEP_WORDS}|{PART_WORDS})\b"
    rf"|{STEP_WORDS}|{PART_WORDS})",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Family:
    """The headings of one style that are steps, in order."""

    headings: Sequence[Heading]
    parts: bool = False
    """Whether headings of parts are among them, which stay in the text."""

    @property
    def strength(self) -> int:
        """How much they stand out."""
        return self.headings[0].strength

    @property
    def first(self) -> int:
        """Where the first one stands."""
        return self.headings[0].start

    @property
    def last(self) -> int:
        """Where the last one stands."""
        return self.headings[-1].start


def candidates(text: str, protected: Protected) -> Iterator[Heading]:
    """Everything that could be a heading."""
    for line in lines_of(text):
        if not line.text.strip() or protected.inside(line.start):
            continue
        if FIRST_CHARACTER.match(line.text):
            yield from headings_at(text, line.start)
            unnumbered = unnumbered_at(text, line.start)
            if unnumbered is not None:
                yield unnumbered
        for place in SENTENCE_START.finditer(line.text):
            at = line.start + place.end()  # within the line a sentence begins
            if INLINE.match(text, at) and not protected.inside(at):
                yield from headings_at(text, at, inline=True)


def chained(headings: Sequence[Heading]) -> list[Heading]:
    """The headings of one style that count on, without the lists inside steps."""
    if headings[0].number is None:
        return list(headings)
    last_place = {heading.number: place for place, heading in enumerate(headings)}
    chain: list[Heading] = []
    last, nested = 0, False
    for place, heading in enumerate(headings):
        number = heading.number or 0
        resumes = last_place.get(last + 1, -1)
        if not chain:
            if number <= 1 or (heading.strength >= PART and number <= 1 + MOST_SKIPPED):
                chain, last = [heading], number
            continue
        if number == last + 1:
            nested = False
        elif number <= 1 and number < last:
            nested = resumes > place and later_continues(headings, place, last)
        if nested:
            continue
        skipped = last + 1 < number <= last + 1 + MOST_SKIPPED and resumes < place
        again = number == last and (heading.strength >= MARKED or last == 1)
        restart = number <= 1 and number < last
        if number == last + 1 or skipped or again or restart:
            chain.append(heading)
            last = number
    return chain


def later_continues(headings: Sequence[Heading], place: int, last: int) -> bool:
    """Whether the numbering resumes after a list that starts at 1, and not as that list."""
    expected = 1
    for heading in headings[place : place + 2 * last + 4]:
        if heading.number == last + 1 and heading.number != expected:
            return True
        if heading.number != expected:
            return False
        expected += 1
    return False


def families(text: str, found: Sequence[Heading]) -> list[Family]:
    """The chains of each style with two headings or more."""
    by_style: dict[object, list[Heading]] = {}
    for heading in found:
        by_style.setdefault(heading.style, []).append(heading)
    groups = [group for found in by_style.values() for group in apart(found)]
    chains = [chained(group) for group in groups if len(group) > 1]
    several = [Family(chain) for chain in chains if len(chain) > 1]
    return [family for family in several if is_outline(text, family)]


def apart(headings: list[Heading]) -> list[list[Heading]]:
    """Headings with a bold title apart from those without, unless they count 1, 2, … together."""
    bold = [heading for heading in headings if heading.bold_title]
    numbers = [heading.number for heading in headings]
    if not bold or len(bold) == len(headings) or numbers == list(range(1, len(numbers) + 1)):
        return [headings]
    return [bold, [heading for heading in headings if not heading.bold_title]]


def is_outline(text: str, family: Family) -> bool:
    """Whether the headings divide the text, and are not a list somewhere in it."""
    strength, whole = family.strength, len(text)
    if any(heading.inline for heading in family.headings) and strength < STEP:
        return family.first < LEAD * whole
    if strength >= MARKED:
        return True
    blank = text.find("\n\n", family.last)
    end = whole if blank < 0 else min(blank, family.last + AFTER_LIST)
    reach = (end - family.first) / whole
    if strength in (BULLET, LETTER):
        return family.first < LEAD * whole and reach > LIST_SHARE
    return reach > LIST_SHARE or (strength == BOLD_LINE and len(family.headings) > 2)


def chosen_family(text: str, protected: Protected) -> Family | None:
    """The headings that are the text's steps; None where it has none."""
    places = list(islice(candidates(text, protected), MOST_CANDIDATES))
    found = families(text, places)
    if not found:
        return None
    best = min(found, key=lambda family: (-family.strength, family.first))
    for other in found:
        if encloses(other, best):
            best = other
    for other in found:
        if best.strength in (PART, LETTER) and restarts_within(best, other):
            return with_parts(best, other)
    return with_siblings(text, best, places)


def restarts_within(parts: Family, steps: Family) -> bool:
    """Whether steps are numbered anew in several parts."""
    if steps is parts or steps.headings[0].number is None or steps.strength < PLAIN:
        return False
    edges = [heading.start for heading in parts.headings]
    begun = {bisect_right(edges, step.start) for step in steps.headings if step.number == 1}
    return len(begun - {0}) > 1


def with_parts(parts: Family, steps: Family) -> Family:
    """The steps of all parts, a part's own heading being text before its first step."""
    headings = [
        *steps.headings,
        *(replace(part, body=part.start, title=None) for part in parts.headings),
    ]
    return Family(sorted(headings, key=lambda heading: heading.start), parts=True)


def encloses(outer: Family, inner: Family) -> bool:
    """Whether all headings of `inner` stand within one step of numbered `outer`."""
    if outer is inner or outer.headings[0].number is None or outer.strength < PLAIN:
        return False
    starts = [heading.start for heading in outer.headings]
    before = sum(start < inner.first for start in starts)
    return 0 < before < len(starts) and starts[before] > inner.last


def with_siblings(text: str, family: Family, places: Iterable[Heading]) -> Family:
    """The headings with those of their level that have no number: `### Conclusion`."""
    level = family.headings[0].level
    if not level or family.headings[0].number is None:
        return family
    known = {heading.start for heading in family.headings}
    others = (
        replace(heading, number=None)
        for heading in places
        if heading.level == level and heading.start not in known
    )
    siblings = [heading for heading in others if is_sibling(text, heading, family)]
    by_start = {heading.start: heading for heading in [*siblings, *family.headings]}
    return Family([by_start[start] for start in sorted(by_start)])


def is_sibling(text: str, heading: Heading, family: Family) -> bool:
    """Whether an unnumbered heading ends or begins the outline, as `**Answer:**` does."""
    if heading.start < family.first:
        return heading.level[0] == "marked"
    if heading.level[0] == "marked":
        return True
    return heading.start > family.last and text[max(heading.start - 2, 0) : heading.start] == "\n\n"
