"""Pieces of a text as numbered steps, read back and compared with the text.

Steps are written `1. **Title** …` where each has a title and `1. …` where not each has one. Where
the text's own lists would be taken for steps in that style, a style that stands out more is
used. What is written is parsed by the product's parser and must give the same steps again, and
their texts, joined, must be the original but for its headings: every text is held to that.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from srl_data.stepify.pieces import Piece, hidden_of
from srl_reward import NonConforming, parse_solution, target_fault

LONGEST_HEADING = 120
"""Characters that a heading may have apart from its title; more would be text."""


@dataclass(frozen=True)
class Refused:
    """A solution without steps: why, a key of `reasons.REASONS`."""

    reason: str


@dataclass(frozen=True)
class Rendered:
    """A solution in numbered steps."""

    text: str
    steps: tuple[str, ...]
    """Each step as the parser reads it from `text`."""
    style: str
    removed: tuple[str, ...]
    """The original's headings, titles aside, as they stood there."""
    cuts: tuple[int, ...] = ()
    """Where the steps begin in the original, in characters."""


@dataclass(frozen=True)
class Content:
    """What a step says: its title, the white space between title and body, and its body."""

    title: str | None
    joint: str
    body: str

    @property
    def plain(self) -> str:
        """Title and body as one text."""
        return self.body if self.title is None else f"{self.title}{self.joint}{self.body}".strip()


def kept_text(text: str, start: int, end: int, hidden: Sequence[tuple[int, int]]) -> str:
    """A range of the text without the hidden parts in it."""
    parts = []
    for from_, to in hidden:
        parts.append(text[start:from_])
        start = to
    parts.append(text[start:end])
    return "".join(parts)


def content_of(text: str, piece: Piece) -> Content:
    """A piece's title and body."""
    whole = kept_text(text, piece.body, piece.end, piece.hidden)
    body = whole.strip()
    if piece.title is None:
        return Content(None, "", body)
    joint = whole[: len(whole) - len(whole.lstrip())]
    return Content(text[slice(*piece.title)], joint, body)


def titled(number: int, content: Content) -> str:
    """`1. **Title** body`."""
    return f"{number}. **{content.title}**{content.joint}{content.body}"


def plain(number: int, content: Content) -> str:
    """`1. body`; the number on a line of its own before bold, which would be a title."""
    gap = "\n" if content.plain.startswith("**") else " "
    return f"{number}.{gap}{content.plain}"


def bold_step(number: int, content: Content) -> str:
    """`**Step 1:** body`."""
    return f"**Step {number}:** {content.plain}"


def hash_step(hashes: str) -> Callable[[int, Content], str]:
    """`### Step 1: Title`, the body under it."""

    def write(number: int, content: Content) -> str:
        head = f"{hashes} Step {number}:"
        if content.title is None:
            return f"{head}\n{content.body}"
        joint = content.joint if "\n" in content.joint else "\n"
        return f"{head} {content.title}{joint}{content.body}"

    return write


PLAIN_STYLES: dict[str, Callable[[int, Content], str]] = {
    "plain": plain,
    "bold step": bold_step,
    **{f"{hashes} step": hash_step(hashes) for hashes in ("###", "####", "#####", "######")},
}


def styles_for(contents: Sequence[Content]) -> Iterator[tuple[str, Callable[[int, Content], str]]]:
    """The styles that can hold the steps, the preferred one first."""
    if all(content.title and "**" not in content.title for content in contents):
        yield "titled", titled
    yield from PLAIN_STYLES.items()


def written(
    text: str,
    pieces: Sequence[Piece],
    contents: Sequence[Content],
    style: str,
    write: Callable[[int, Content], str],
) -> list[str]:
    """The steps in one style; what stands before the first heading begins the first step."""
    steps = [write(number, content) for number, content in enumerate(contents, start=1)]
    lead = text[: pieces[0].start].strip()
    if lead:
        first = contents[0]
        if style == "plain":
            steps[0] = plain(1, Content(None, "", f"{lead}\n\n{first.plain}"))
        else:
            steps[0] = f"{lead}\n\n{steps[0]}"
    return [step.strip() for step in steps]


def rendered(text: str, pieces: Sequence[Piece]) -> Rendered | Refused:
    """The pieces as numbered steps, in the first style in which they are read back as they are."""
    contents = [content_of(text, piece) for piece in pieces]
    if any(not content.plain for content in contents):
        return Refused("empty_step")
    removed = removed_spans(pieces)
    if not is_original(text, pieces, contents, removed):
        return Refused("not_original")
    spare: Rendered | None = None
    for style, write in styles_for(contents):
        steps = written(text, pieces, contents, style, write)
        whole = "\n\n".join(steps)
        if not reads_back(whole, steps):
            continue
        result = Rendered(
            whole,
            tuple(steps),
            style,
            tuple(text[start:end].strip() for start, end in removed),
            tuple(piece.start for piece in pieces),
        )
        if all(target_fault(step) is None for step in steps):
            return result
        spare = spare or result
    return spare or Refused("ambiguous_numbers")


def reads_back(whole: str, steps: Sequence[str]) -> bool:
    """Whether the parser finds the same steps, neither more nor fewer."""
    parsed = parse_solution(whole)
    if isinstance(parsed, NonConforming):
        return False
    return [step.text for step in parsed.steps] == list(steps)


def removed_spans(pieces: Sequence[Piece]) -> list[tuple[int, int]]:
    """The ranges of the original that the steps leave out, in order: its headings."""
    return [span for piece in pieces for span in (*hidden_of(piece), *piece.hidden)]


def is_original(
    text: str,
    pieces: Sequence[Piece],
    contents: Sequence[Content],
    removed: Sequence[tuple[int, int]],
) -> bool:
    """The byte check: the steps' texts, joined, are the text without its headings.

    White space between two steps is not compared; within a step each byte is.
    """
    if any(end - start > LONGEST_HEADING for start, end in removed):
        return False
    rest = kept_text(text, 0, len(text), removed)
    at = 0
    lead = text[: pieces[0].start].strip()
    for part in (lead, *(content.plain for content in contents)):
        while at < len(rest) and rest[at].isspace():
            at += 1
        if not rest.startswith(part, at):
            return False
        at += len(part)
    return not rest[at:].strip()
