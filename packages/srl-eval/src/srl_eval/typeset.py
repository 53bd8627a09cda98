r"""TeX in texts of problems and responses, turned into MathML for the report.

Only what stands in $...$, \(...\), $$...$$ or \[...\] is looked at; all else stays text. The
texts are a model's, so nothing that becomes of them is trusted: a formula is a tree of known
elements with known attributes, which the page builds node by node; no markup is ever parsed. A
formula that is too long, too deep, or not understood stays as it was written. Not a TeX engine:
macros are refused.
"""

import html
import re
from collections.abc import Iterator, Sequence
from xml.etree.ElementTree import Element

from latex2mathml.converter import Converter

Piece = str | int
"""Text as it stands, or the number of a formula."""
Tree = list[object]
"""[element, attributes, child, ...]; a child is a text or a tree."""

LONGEST = 600  # characters of a formula
_MOST_NODES = 800  # of a formula
_DEEPEST = 40
_BUDGET = 150_000  # nodes of a report's formulas, about four megabytes
_EFFORT = 3_000_000  # characters of formulas that are tried for one report, some seconds

_ELEMENT_NAMES = """
math mrow mi mn mo mtext mspace mfrac msqrt mroot msub msup msubsup munder mover munderover mtable
mtr mtd mpadded mphantom mstyle
"""
_ATTRIBUTE_NAMES = """
display displaystyle scriptlevel mathvariant stretchy fence form separator accent accentunder
movablelimits symmetric largeop linethickness minsize maxsize width height depth voffset lspace
rspace columnalign rowspacing columnspacing
"""
ELEMENTS, ATTRIBUTES = frozenset(_ELEMENT_NAMES.split()), frozenset(_ATTRIBUTE_NAMES.split())
_PLAIN_VALUE = re.compile(r"[A-Za-z0-9.%+ -]{1,40}")
_LARGEST = 20.0  # in whatever unit: nothing in an answer needs more room
_NUMBER = re.compile(r"\d+(?:\.\d*)?|\.\d+")
_MACROS = re.compile(r"\\(?:[gex]?def|let|(?:re)?new|providecommand)")
_ROW_GAP = re.compile(r"(\\\\)\s*\[\s*-?[\d.]+\s*[a-z]{2}\s*\]")
_FRAME = re.compile(r"\\f(?:rame)?box(?=\s*\{)")
_ENVIRONMENT = re.compile(r"\\(begin|end)\s*\{\s*([^{}]*?)\s*\}")
_KNOWN_AS = {
    **dict.fromkeys(("align", "align*", "aligned", "eqnarray", "eqnarray*"), "align*"),
    **dict.fromkeys(("gather", "gather*", "gathered", "multline", "multline*"), "matrix"),
    **{name: name for name in ("array", "cases", "matrix", "smallmatrix", "split")},
    **{name: name for name in ("bmatrix", "Bmatrix", "pmatrix", "vmatrix", "Vmatrix")},
}
"""Environments, and under which name the library lays them out (without numbers of equations)."""
_BAR = {"\u2015": "\u203e"}  # over a segment: of the two, browsers stretch the second
_OPENERS = re.compile(r"\\\\|\\\$|\$\$|\$|\\\(|\\\[")
_CLOSERS = {"$$": "$$", "$": "$", r"\(": r"\)", r"\[": r"\]"}
_BLANK_LINE = re.compile(r"\n\s*\n")


class NotTypesetError(ValueError):
    """A formula that stays as it was written; the message says why."""


def formulas(text: str) -> Iterator[tuple[int, int, str, bool]]:
    """(start, end, TeX, displayed) of each formula of a text, delimiters inside start and end.

    A $ begins a formula as in pandoc: no white space after it, none before the closing one, and no
    digit behind that, so that amounts of money are text.
    """
    place = 0
    while (opener := _OPENERS.search(text, place)) is not None:
        place = opener.end()
        mark = opener[0]
        if mark not in _CLOSERS:
            continue  # an escaped dollar, or a line's end
        close = _find_close(text, place, _CLOSERS[mark])
        tex = text[place:close] if close >= 0 else ""
        end = close + len(_CLOSERS[mark])
        if tex.strip() and (mark != "$" or _is_inline(tex, text[end : end + 1])):
            yield opener.start(), end, tex, mark in ("$$", r"\[")
            place = end


def _find_close(text: str, start: int, mark: str) -> int:
    """Where `mark` stands next without a backslash before it, within reach; else -1."""
    limit = start + LONGEST + len(mark)
    place = text.find(mark, start, limit)
    while place > 0 and text[place - 1] == "\\" and mark.startswith("$"):
        place = text.find(mark, place + 1, limit)
    return place


def _is_inline(tex: str, following: str) -> bool:
    return (
        not tex[0].isspace()
        and not tex[-1].isspace()
        and not following.isdigit()
        and _BLANK_LINE.search(tex) is None
    )


def to_tree(tex: str, *, displayed: bool = False) -> Tree:
    """A formula as a tree of known elements; NotTypesetError where it stays as written."""
    if len(tex) > LONGEST:
        raise NotTypesetError(f"{len(tex)} characters, expected at most {LONGEST}")
    if _MACROS.search(tex):
        raise NotTypesetError("it defines a macro")
    converter = Converter(display="block" if displayed else "inline")
    try:
        element = converter.convert_to_element(_in_known_terms(tex))
    except Exception as error:  # its errors share no base, and any text may come
        raise NotTypesetError(f"{type(error).__name__}: {error}") from error
    if sum(1 for _ in element.iter()) > _MOST_NODES:
        raise NotTypesetError(f"more than {_MOST_NODES} nodes")
    return _known(element, _DEEPEST)


def _in_known_terms(tex: str) -> str:
    """TeX in the library's own terms; NotTypesetError for an environment it would flatten."""

    def environment(match: re.Match[str]) -> str:
        if match[2] not in _KNOWN_AS:
            raise NotTypesetError(f"unknown environment {match[2]!r}")
        return f"\\{match[1]}{{{_KNOWN_AS[match[2]]}}}"

    tex = _FRAME.sub(r"\\boxed", _ROW_GAP.sub(r"\1", tex))
    return _ENVIRONMENT.sub(environment, tex)


def _known(element: Element, depth: int) -> Tree:
    if not depth:
        raise NotTypesetError(f"deeper than {_DEEPEST}")
    tag, attributes = element.tag, dict(element.attrib)
    if tag == "menclose" and attributes.get("notation") == "box":
        tag, attributes = "mrow", {}
        own = {"class": "boxed"}  # MathML Core has no menclose
    else:
        own = {}
    if tag not in ELEMENTS:
        raise NotTypesetError(f"element {tag!r}")
    kept: dict[str, str] = {
        name: value for name, value in attributes.items() if _harmless(name, value)
    }
    kept |= own
    tree: Tree = [tag, kept]
    if element.text:
        # The library writes characters as references, for a writer of markup that is not used here.
        text = html.unescape(element.text)
        if re.match(r"\\[A-Za-z]", text):
            raise NotTypesetError(f"unknown command {text!r}")
        if text == "&":
            raise NotTypesetError("& outside a table")
        if tag == "mo" and text in _BAR:
            text = _BAR[text]
            kept["stretchy"] = "true"
        tree.append(text)
    tree += [_known(child, depth - 1) for child in element]
    return tree


def _harmless(name: str, value: str) -> bool:
    if name not in ATTRIBUTES or not _PLAIN_VALUE.fullmatch(value):
        return False
    largest = 100.0 if value.endswith("%") else _LARGEST
    return all(float(number) <= largest for number in _NUMBER.findall(value))


class Typesetter:
    """The formulas of one report: each once, within a budget; `formulas` are [source, tree]."""

    def __init__(self, budget: int = _BUDGET, effort: int = _EFFORT) -> None:
        self.formulas: list[tuple[str, Tree]] = []
        self.left_out = 0
        self._budget, self._effort = budget, effort
        self._numbers: dict[str, int | None] = {}

    def pieces(self, text: str) -> list[Piece]:
        """A text as pieces; the sources of its formulas put in their places give the text again."""
        found: list[Piece] = []
        written = 0
        for start, end, tex, displayed in formulas(text):
            number = self._number(text[start:end], tex, displayed=displayed)
            if number is not None:
                found += [text[written:start], number]
                written = end
        found.append(text[written:])
        return [piece for piece in found if piece != ""]

    def _number(self, source: str, tex: str, *, displayed: bool) -> int | None:
        if source not in self._numbers:
            if self._budget <= 0 or self._effort <= 0:
                self.left_out += 1
                return None
            self._effort -= len(tex)
            try:
                tree = to_tree(tex, displayed=displayed)
            except NotTypesetError:
                self._numbers[source] = None
            else:
                self._budget -= count_nodes(tree)
                self._numbers[source] = len(self.formulas)
                self.formulas.append((source, tree))
        return self._numbers[source]


def count_nodes(tree: Sequence[object]) -> int:
    """Elements of a tree."""
    return 1 + sum(count_nodes(child) for child in tree[2:] if isinstance(child, list))
