r"""One place in a text, read as the heading of a step in one of the spellings that people use.

`Step 3:`, `**Step 3:**`, `### 3. Title`, `3)`, `(3)`, `III.`, `步骤3`, `第三步`, full-width digits,
`③`, `1st step`, `\textbf{Step 3}`, `<b>Step 3</b>` and their like. Knows nothing of the headings
around it: which ones count is decided in `headings`.
"""

import re
import unicodedata
from dataclasses import dataclass

from srl_data.stepify.vocabulary import (
    CARDINALS,
    CHINESE,
    LETTERS,
    ORDINALS,
    OTHER_ORDINALS,
    PART_WORDS,
    ROMAN,
    STEP_WORDS,
)

LONGEST_TITLE = 100
"""Characters of a line that may be a title."""
LONGEST_LOOK = 400
"""Characters that are looked at behind a label: many labels may stand in one endless line."""

_OPENERS = (
    r"\*{1,3}|_{1,2}|<(?:b|strong|u|em|i|h[1-6]|p|li)>|\\(?:sub)*section\*?\{|\\paragraph\*?\{"
    r"|\\textbf\{|\\textit\{|\\emph\{|\\underline\{|={2,}"
)
_CLOSERS = {"<": r"</(?:b|strong|u|em|i|h[1-6]|p|li)>", "\\": r"\}", "=": r"={2,}"}
_CHINESE_NUMBER = rf"[{CHINESE}]{{1,3}}"
_CARDINAL = "|".join(sorted(CARDINALS, key=len, reverse=True))
_ROMAN = "|".join(sorted(ROMAN, key=len, reverse=True))
_ORDINAL = "|".join(sorted([*ORDINALS, *OTHER_ORDINALS], key=len, reverse=True))
_OF = r"(?:[ \t]*(?:/|of|von|de|sur|из|z|di|van)[ \t]*\d{1,3})?"
_N = r"\d{1,3}(?!\d)"
_AFTER = r"(?=[\s*_}<$\\\"“(]|[^\W\d_]|$)"

MARKUP = re.compile(
    rf"(?P<indent>[ \t\u3000]*)(?P<bullet>[-*+•·▪►–][ \t]+)?"
    rf"(?P<hash>\#{{1,6}}(?:[ \t]+|(?=[^\s\d\#]))|\#{{2,6}}(?=\d))?"
    rf"(?P<open>(?:{_OPENERS}){{0,2}})[ \t]*(?P<emoji>[^\w\s\x00-\x7f]{{1,3}}[ \t]+)?"
)
LABEL = re.compile(
    rf"""
      (?:[(（\[【][ \t]*)?(?P<word>{STEP_WORDS}|{PART_WORDS})
      [ \t]*(?:n[°º.]|no\.|[\#№(\[（:])?[ \t]*
      (?P<wn>{_N}|{_CHINESE_NUMBER}|(?:{_CARDINAL}|{_ROMAN}|[a-l])\b){_OF}[)\]）】]?
    | 第[ \t]*(?P<dn>{_N}|{_CHINESE_NUMBER})[ \t]*(?P<dw>步骤|步驟|步|阶段|階段|部分|ステップ|段階)
    | 제?[ \t]*(?P<kn>{_N})[ \t]*(?P<kw>단계|(?<!제)步)
    | (?P<sn>{_N})(?:\.|st|nd|rd|th|º|ª|er|e|ème|-й|-ий|번째)?[ \t]*(?P<sw>{STEP_WORDS})\b
    | (?:the[ \t]+)?(?P<on>{_ORDINAL})[ \t]+(?P<ow>{STEP_WORDS}|{PART_WORDS})\b
    | (?P<left>[(（\[【〔［])[ \t]*(?P<bn>{_N}|{_CHINESE_NUMBER}|(?:{_ROMAN}|[a-l])(?=\W))
      [ \t]*[)）\]】〕］]
    | (?P<cn>[①-⑳⑴-⒇⒈-⒛❶-❿➀-➓㈠-㈩㊀-㊉Ⅰ-Ⅻⅰ-ⅻ])[.、．:：)]?
    | (?P<en>\d)\ufe0f?\u20e3
    | (?P<n>{_N})(?P<nd>[.)、．）:：。]|[°º]\)?|/(?=[ \t])|
      [ \t]+[-–—](?=[ \t]+[^\W\d]{{2}}))(?![\d=])
    | \#[ \t]?(?P<hn>{_N})(?P<hd>[.):：]?)(?!\w)
    | (?P<r>{_ROMAN})(?P<rd>[.)、．:：）]){_AFTER}
    | (?P<z>{_CHINESE_NUMBER})(?P<zd>[、．.:：，)）])
    | (?P<l>[a-l])(?P<ld>[.)、．:：）]){_AFTER}
    """,
    re.VERBOSE | re.IGNORECASE,
)
SEPARATOR = re.compile(r"[ \t]*(?:[:：.)\]】>、，,．。]|[-–—]{1,2}(?=\s))?[ \t]*")
UNNUMBERED = re.compile(
    r"(?P<indent>[ \t]*)(?:(?P<hash>\#{1,6})[ \t]+(?P<htitle>[^\n]+)"
    r"|\\(?:sub)*section\*?\{(?P<stitle>[^{}\n]{1,100})\}"
    r"|(?P<bold>\*\*|__)(?P<btitle>[^\n*_]{1,100})(?P=bold)"
    r"|(?P<bullet>[-*+•▪])[ \t]+(?=\S)|\\item\b[ \t]*|(?P<tag><step>|<li>)[ \t]*)"
)

STEP, PART, MARKED, PLAIN, LETTER, BOLD_LINE, BULLET = 6, 5, 4, 3, 2, 2, 1
"""How much a kind of heading stands out."""

Style = tuple[object, ...]


@dataclass(frozen=True)
class Heading:
    """A heading found at `start`; what stands up to `body` is its own, its title aside."""

    start: int
    style: Style
    """What headings of one kind have in common."""
    number: int | None
    strength: int
    body: int
    """Where the step's text begins."""
    title: tuple[int, int] | None = None
    inline: bool = False
    """Whether it stands within a line."""
    level: tuple[object, ...] = ()
    """What it shares with the headings without numbers of its level."""
    bold_title: bool = False
    """Whether a bold title follows a plain number."""


def value_of(number: str) -> int:
    """The value of a number in digits of any script, words, Roman or Chinese numerals."""
    word = number.lower()
    if word.isdecimal():
        return int(word)
    if word[0] in CHINESE:
        return chinese_value(word)
    for names in (ROMAN, CARDINALS, ORDINALS):
        if word in names:
            return names.index(word) + 1
    if word in OTHER_ORDINALS:
        return OTHER_ORDINALS[word]
    if word in LETTERS:
        return LETTERS.index(word) + 1
    return int(unicodedata.numeric(word[0], 0))


def chinese_value(word: str) -> int:
    """`三` is 3, `十二` 12, `二十` 20, `二十一` 21."""
    tens, ten, ones = word.rpartition("十")
    if not ten:
        return CHINESE.index(word[-1]) + 1
    return 10 * (CHINESE.index(tens) + 1 if tens else 1) + (CHINESE.index(ones) + 1 if ones else 0)


def line_end(text: str, at: int) -> int:
    """Where the line around `at` ends, its line feed excluded; no further than is looked at."""
    far = min(at + LONGEST_LOOK, len(text))
    end = text.find("\n", at, far)
    return far if end < 0 else end


def headings_at(text: str, start: int, *, inline: bool = False) -> list[Heading]:
    """What the place may be read as: mostly nothing, seldom two (`i.` is a letter, too)."""
    markup = MARKUP.match(text, start)
    assert markup is not None, "every part of the pattern may be empty"
    label = LABEL.match(text, markup.end())
    if label is None or (inline and (markup["hash"] or markup["bullet"])):
        return []
    readings = [read(text, start, markup, label, inline=inline)]
    letter = label["r"] or label["bn"] or label["wn"]
    if letter and len(letter) == 1 and letter.lower() in LETTERS and letter.lower() in ROMAN:
        readings.append(read(text, start, markup, label, inline=inline, as_letter=True))
    return [reading for reading in readings if reading is not None]


def read(
    text: str,
    start: int,
    markup: re.Match[str],
    label: re.Match[str],
    *,
    inline: bool,
    as_letter: bool = False,
) -> Heading | None:
    """A label with its markup as a heading; None where it is a word of a sentence."""
    number = next(label[name] for name in NUMBERS if label[name])
    word = next((label[name] for name in WORDS if label[name]), None)
    value = LETTERS.index(number.lower()) + 1 if as_letter else value_of(number)
    kind, strength = kind_of(label, number, word, as_letter=as_letter)
    openers, hashes = markup["open"], len((markup["hash"] or "").strip())
    close = closer_of(openers)
    end, closed = after_label(text, label, close)
    if end is None or (word and not stands_apart(text, label, end, closed, hashes)):
        return None
    if (openers or hashes) and strength < MARKED:
        strength = MARKED if strength == PLAIN else PLAIN
    bold_title = text.startswith("**", end) and not (openers or hashes or word)
    if bold_title and strength == PLAIN:
        strength = MARKED
    style = (kind, hashes, openers.lower(), bool(markup["bullet"]), len(markup["indent"]) > 1)
    title, body = title_of(text, end, close if not closed else None, hashes)
    if kind[0] == "word" and strength == PART:
        named = (markup.end(), label.end()) if closed else None
        while named and text[body - 1] in " \t":
            body -= 1  # stays between title and text
        title, body = whole_label(start, markup.end(), title or named, body)
    level = ("marked", hashes) if hashes else ("bold", openers) if openers else ()
    return Heading(start, style, value, strength, body, title, inline, level, bold_title)


def whole_label(
    start: int, at: int, title: tuple[int, int] | None, body: int
) -> tuple[tuple[int, int] | None, int]:
    """Title and body of a part or a case, whose name is not only a number but is referred to."""
    if title is not None:
        return (at, title[1]), body
    return None, start


NUMBERS = ("wn", "dn", "kn", "sn", "on", "bn", "cn", "en", "n", "hn", "r", "z", "l")
WORDS = ("word", "dw", "kw", "sw", "ow")


def kind_of(
    label: re.Match[str], number: str, word: str | None, *, as_letter: bool
) -> tuple[tuple[object, ...], int]:
    """What kind a label is of, and how much it stands out."""
    script = numeral(number, as_letter=as_letter)
    if word is not None:
        strong = re.fullmatch(STEP_WORDS, word, re.IGNORECASE) or word[0] in "步阶階段"
        return ("word", word.lower(), script == "letter"), STEP if strong else PART
    if label["bn"]:
        return ("bracket", label["left"], script), LETTER if script == "letter" else PLAIN
    if label["cn"] or label["en"]:
        first = ord(number[0])
        return ("sign", first // 64 if label["cn"] else "keycap"), PLAIN
    delimiter = (
        label["nd"] or label["hd"] or label["rd"] or label["zd"] or label["ld"] or ""
    ).strip()
    weak = LETTER if script == "letter" else PLAIN
    return ("number", script, delimiter, bool(label["hn"])), weak


def numeral(number: str, *, as_letter: bool) -> str:
    """The kind of numeral, its case told where letters count."""
    if number.isdecimal():
        return "digit"
    lower = number.lower()
    case = "upper" if number[0].isupper() else "lower"
    if as_letter or (lower in LETTERS and lower not in ROMAN):
        return "letter"
    return f"roman {case}" if lower in ROMAN else "word"


def closer_of(openers: str) -> re.Pattern[str] | None:
    """What closes the markup in front of a label."""
    if not openers:
        return None
    parts = re.findall(_OPENERS, openers, re.IGNORECASE)
    patterns = [_CLOSERS.get(part[0], re.escape(part)) for part in reversed(parts)]
    return re.compile(r"[ \t]*".join(patterns), re.IGNORECASE)


def after_label(
    text: str, label: re.Match[str], close: re.Pattern[str] | None
) -> tuple[int | None, bool]:
    """Where the label's punctuation ends, and whether its markup is closed by then."""
    at = label.end()
    separator = SEPARATOR.match(text, at)
    assert separator is not None, "every part of the pattern may be empty"
    end = separator.end() if label.lastgroup not in ("n", "nd") or close else skip_blanks(text, at)
    if close is None:
        return end, False
    for place in (at, end):
        closed = close.match(text, place)
        if closed:
            again = SEPARATOR.match(text, closed.end())
            assert again is not None, "as above"
            return again.end(), True
    if close.search(text, end, line_end(text, end)) is None:
        return None, False  # bold that this line does not close: emphasis of something longer
    return end, False


def skip_blanks(text: str, at: int) -> int:
    """The next place that is no blank."""
    while at < len(text) and text[at] in " \t\u3000":
        at += 1
    return at


def stands_apart(text: str, label: re.Match[str], end: int, closed: bool, hashes: int) -> bool:
    """Whether a word with a number is a heading, not the subject of a sentence."""
    between = text[label.end() : end]
    if closed or hashes or between.strip() or label.group()[-1] in ")]）":
        return True
    at_end = end >= len(text) or text[end] in "\r\n"
    cjk = unicodedata.category(label.group()[0]) == "Lo"
    return at_end or cjk or text[end : end + 1] in "([{（*"


def title_of(
    text: str, at: int, close: re.Pattern[str] | None, hashes: int
) -> tuple[tuple[int, int] | None, int]:
    """The title behind a label and where the body begins: inside markup, or a line of its own."""
    end = line_end(text, at)
    if close is not None:  # still open: the title is what stands in it
        closing = close.search(text, at, end)
        assert closing is not None, "after_label has looked"
        return trimmed(text, at, closing.start()), after_underline(text, closing.end(), hashes)
    bold = re.compile(r"\*\*(?P<title>[^*\n]{1,150})\*\*").match(text, at)
    if bold and not hashes:
        return trimmed(text, bold.start("title"), bold.end("title")), bold.end()
    if hashes:
        return trimmed(text, at, end, " \t\r#*"), end if text[at:end].strip() else at
    if is_title(text, at, end):
        return trimmed(text, at, end), after_underline(text, end, hashes)
    return None, after_underline(text, at, hashes)


def trimmed(text: str, start: int, end: int, outer: str = " \t\r*") -> tuple[int, int] | None:
    """A title without outer blanks and stars; None for an empty one."""
    while start < end and text[start] in outer:
        start += 1
    while end > start and text[end - 1] in outer:
        end -= 1
    return (start, end) if start < end else None


def after_underline(text: str, at: int, hashes: int) -> int:
    """Past a line of dashes or equals signs under a heading."""
    if hashes:
        return at
    underline = re.compile(r"[ \t\r]*\n[ \t]*(?:-{3,}|={3,})[ \t\r]*(?=\n|\Z)").match(text, at)
    return underline.end() if underline else at


def is_title(text: str, start: int, end: int) -> bool:
    """Whether the rest of a heading's line is a title: short, no sentence, text under it."""
    line = text[start:end].strip()
    if not line or len(line) > LONGEST_TITLE or line[-1] in ".,;!?。！？；，=" or "=" in line:
        return False
    if line.startswith(("$$", "\\[", "\\begin", "```")) or line[0] in "-*|>":
        return False
    below = text[end : end + 400].split("\n")[1:2]
    under = below[0].strip() if below else ""
    if not under:  # a blank line under it: a title only where it ends like one
        return bool(line[-1] in ":：" and text[end : end + LONGEST_LOOK].strip())
    return not under[0].islower() and not line.endswith(("$", "\\)", ")"))


def unnumbered_at(text: str, start: int) -> Heading | None:
    """A heading without a number: `## Title`, a bold lead, a bullet."""
    match = UNNUMBERED.match(text, start)
    if match is None:
        return None
    indented = len(match["indent"]) > 1
    if match["stitle"]:
        title = trimmed(text, match.start("stitle"), match.end("stitle"))
        return Heading(start, ("section",), None, PLAIN, match.end(), title, level=("section",))
    if match["hash"]:
        level = len(match["hash"])
        title = trimmed(text, match.start("htitle"), match.end("htitle"), " \t\r#*")
        return Heading(
            start, ("marked", level), None, PLAIN, match.end(), title, level=("marked", level)
        )
    if match["bold"]:
        title = trimmed(text, match.start("btitle"), match.end("btitle"))
        bold = ("bold", match["bold"])
        return Heading(start, (*bold, indented), None, BOLD_LINE, match.end(), title, level=bold)
    mark = match["bullet"] or match["tag"] or "item"
    return Heading(start, ("bullet", mark, indented), None, BULLET, match.end())
