"""Parts of a text in which no cut is made: LaTeX, code, tables, quotations and brackets.

One pass over the marks of a text, each paired with its closer by pointers that only move forward,
so that unclosed marks cost no second reading. A mark without its closer is plain text. Inline
mathematics, quotations and brackets end with their paragraph; displays and environments may hold
blank lines.

Left out: environments whose inside is text (`proof`, `enumerate`), whose lines may be steps.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from srl_data.stepify.blocks import Span, block_spans

TEXT_ENVIRONMENTS = frozenset(
    [
        "document",
        "proof",
        "solution",
        "enumerate",
        "itemize",
        "description",
        "theorem",
        "lemma",
        "claim",
        "remark",
        "corollary",
        "proposition",
        "example",
        "exercise",
        "problem",
        "answer",
        "case",
        "step",
        "steps",
        "center",
        "flushleft",
        "minipage",
    ]
)
"""Environments whose inside is read like the text around them."""

QUOTES = {"“": "”", "„": "“”‟", "«": "»", "「": "」", "『": "』", "‹": "›", "``": "''"}
BRACKETS = {"(": ")", "[": "]", "（": "）", "［": "］", "【": "】"}
CLOSING_BRACKETS = {closer: opener for opener, closer in BRACKETS.items()}

TOKEN = re.compile(
    r"""
      (?P<env>\\(?P<side>begin|end)[ \t]*\{(?P<name>[^{}\n]{1,40})\})
    | (?P<delim>\\[\[\]()])
    | (?P<command>\\[A-Za-z]+\*?\{)
    | (?P<escaped>\\.)
    | (?P<dollars>\$\$?)
    | (?P<ticks>`+)
    | (?P<blank>\n(?:[ \t\r]*\n)+)
    | (?P<quote>["“”„‟«»「」『』‹›]|'')
    | (?P<bracket>[()\[\]（）［］【】])
    """,
    re.VERBOSE | re.DOTALL,
)
PROSE = re.compile(r"(?:[A-Za-z]{2,}[,;]? ){3}")
"""Words in a row: what stands between two prices is no mathematics."""

FORMULA = re.compile(r"[\\^_=+<>{}*/|]")


@dataclass
class Marks:
    """The tokens of a text and, by kind, where their closers stand."""

    text: str
    tokens: list[re.Match[str]]
    paragraphs: list[int]
    """Starts of the blank lines."""
    places: dict[str, list[int]] = field(default_factory=dict)
    """Starts of tokens by their text, for those that may close something."""
    ends: dict[int, int] = field(default_factory=dict)
    """Start of an environment's opener to the end of its closer."""
    braces: dict[int, int] | None = None

    def paragraph_end(self, at: int) -> int:
        """Where the paragraph around `at` ends."""
        place = bisect_left(self.paragraphs, at)
        return self.paragraphs[place] if place < len(self.paragraphs) else len(self.text)

    def next_of(self, token: str, at: int) -> int | None:
        """The first start of a token from `at` on."""
        places = self.places.get(token, ())
        place = bisect_left(places, at)
        return places[place] if place < len(places) else None

    def count_from(self, token: str, at: int) -> int:
        """How many of a token there are from `at` on."""
        places = self.places.get(token, ())
        return len(places) - bisect_left(places, at)

    def closing_brace(self, at: int) -> int | None:
        """The end of the group that the brace at `at` opens."""
        if self.braces is None:
            self.braces = matched_braces(self.text)
        return self.braces.get(at)


def matched_braces(text: str) -> dict[int, int]:
    """Each opening brace to the end of its group; backslashed braces are characters."""
    stack: list[int] = []
    found: dict[int, int] = {}
    for match in re.finditer(r"\\.|[{}]", text, re.DOTALL):
        if match.group() == "{":
            stack.append(match.start())
        elif match.group() == "}" and stack:
            found[stack.pop()] = match.end()
    return found


def read_marks(text: str) -> Marks:
    """All marks of a text, its environments matched by name."""
    marks = Marks(text, list(TOKEN.finditer(text)), [])
    opened: dict[str, list[int]] = {}
    for token in marks.tokens:
        start, word = token.start(), token.group()
        kind = token.lastgroup if token.lastgroup != "name" else "env"
        if token["blank"]:
            marks.paragraphs.append(start)
        elif token["env"]:
            name = token["name"].strip()
            if token["side"] == "begin":
                opened.setdefault(name, []).append(start)
            elif opened.get(name):
                marks.ends[opened[name].pop()] = token.end()
        elif kind in ("delim", "dollars", "ticks", "quote"):
            marks.places.setdefault(word, []).append(start)
    return marks


def protected_spans(text: str) -> list[Span]:
    """The parts of a text in which no cut is made, in order and apart."""
    blocks = merged(block_spans(text))
    marks = read_marks(text)
    return merged([*blocks, *inline_spans(marks, blocks)])


def inline_spans(marks: Marks, blocks: Sequence[Span]) -> Iterator[Span]:
    """LaTeX, code spans, quotations and brackets, outside the blocks."""
    at = 0
    starts = [start for start, _ in blocks]
    brackets = Brackets()
    for token in marks.tokens:
        start = token.start()
        if start < at:
            continue
        block = bisect_right(starts, start) - 1
        if block >= 0 and start < blocks[block][1]:
            at = blocks[block][1]
            continue
        if token["blank"]:
            brackets.clear()
        elif token["bracket"]:
            yield from brackets.read(token)
        else:
            end = closed_at(marks, token)
            if end is not None:
                yield start, end
                at = end


@dataclass
class Brackets:
    """Brackets of the paragraph so far that are still open."""

    opened: list[tuple[str, int]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def clear(self) -> None:
        """Forget them, at the end of a paragraph."""
        self.opened.clear()
        self.counts.clear()

    def read(self, token: re.Match[str]) -> Iterator[Span]:
        """The span that a closing bracket ends; one that nothing opened is a character."""
        mark = token.group()
        if mark in BRACKETS:
            self.opened.append((mark, token.start()))
            self.counts[mark] = self.counts.get(mark, 0) + 1
            return
        wanted = CLOSING_BRACKETS[mark]
        if not self.counts.get(wanted):
            return
        while self.opened:
            opener, start = self.opened.pop()
            self.counts[opener] -= 1
            if opener == wanted:
                yield start, token.end()
                return


def closed_at(marks: Marks, token: re.Match[str]) -> int | None:
    """The end of the span that a token opens, or None where it opens none."""
    if token["env"]:
        text_like = token["name"].strip().rstrip("*").lower() in TEXT_ENVIRONMENTS
        return None if text_like else marks.ends.get(token.start())
    if token["delim"]:
        return latex_end(marks, token)
    if token["command"]:
        end = marks.closing_brace(token.end() - 1)
        return end if end is not None and end <= marks.paragraph_end(token.start()) else None
    if token["dollars"]:
        return display_end(marks, token) if len(token.group()) == 2 else dollar_end(marks, token)
    if token["ticks"] or token["quote"]:
        return quotation_end(marks, token)
    return None


def latex_end(marks: Marks, token: re.Match[str]) -> int | None:
    r"""The end of `\(…\)` in its paragraph, of `\[…\]` before another one opens."""
    opener = token.group()
    if opener not in ("\\(", "\\["):
        return None
    closer = marks.next_of("\\)" if opener == "\\(" else "\\]", token.end())
    if closer is None:
        return None
    if closer <= marks.paragraph_end(token.end()):
        return closer + 2
    again = marks.next_of(opener, token.end())
    return closer + 2 if opener == "\\[" and (again is None or again > closer) else None


def display_end(marks: Marks, token: re.Match[str]) -> int | None:
    """The end of `$$…$$`; over a blank line only where as many close as open from here on."""
    closer = marks.next_of("$$", token.end())
    if closer is None:
        return None
    inside = closer <= marks.paragraph_end(token.end())
    return closer + 2 if inside or marks.count_from("$$", token.start()) % 2 == 0 else None


def dollar_end(marks: Marks, token: re.Match[str]) -> int | None:
    """The end of `$…$`, told from prices as pandoc does: by the blanks and digits beside it."""
    text, start = marks.text, token.end()
    closer = marks.next_of("$", start)
    if closer is None or closer == start or closer > marks.paragraph_end(start):
        return None
    inner = text[start:closer]
    if text[closer + 1 : closer + 2].isdigit() or ("\\" not in inner and PROSE.search(inner)):
        return None
    tight = not inner[0].isspace() and not inner[-1].isspace()
    loose = "\n" not in inner and FORMULA.search(inner) is not None
    return closer + 1 if tight or loose else None


def quotation_end(marks: Marks, token: re.Match[str]) -> int | None:
    """The end of a code span or a quotation in its paragraph."""
    text, mark, start = marks.text, token.group(), token.end()
    limit = marks.paragraph_end(token.start())
    if token["ticks"]:
        closers = [mark, "''"] if mark == "``" else [mark]
    elif mark == '"':
        before, after = text[max(token.start() - 1, 0) : token.start()], text[start : start + 1]
        if (before and not before.isspace() and before not in "([{（：:—–-") or not after.strip():
            return None
        closers = ['"']
    else:
        closers = list(QUOTES.get(mark, ""))
    found = [(place, closer) for closer in closers if (place := marks.next_of(closer, start))]
    if not found or min(found)[0] >= limit:
        return None
    place, closer = min(found)
    return place + len(closer)


def merged(spans: Sequence[Span]) -> list[Span]:
    """Spans in order, those that overlap made one."""
    result: list[Span] = []
    for start, end in sorted(spans):
        if result and start < result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return result


class Protected:
    """Answers whether a position may be cut at."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self.spans = spans
        self._starts = [start for start, _ in spans]

    def inside(self, at: int) -> bool:
        """Whether `at` lies within a span; its two ends do not."""
        place = bisect_left(self._starts, at) - 1
        return place >= 0 and at < self.spans[place][1]

    def span_at(self, at: int) -> Span | None:
        """The span that starts at `at`."""
        place = bisect_left(self._starts, at)
        found = place < len(self.spans) and self._starts[place] == at
        return self.spans[place] if found else None

    def span_ending(self, at: int) -> Span | None:
        """The span that ends at `at`."""
        place = bisect_left(self._starts, at) - 1
        return self.spans[place] if place >= 0 and self.spans[place][1] == at else None
