"""The numbered steps of a solution, and why a solution has none.

Thin types over the Rust parser. `split_steps` reads any text, a model's too; `parse_solution` holds
an expert's solution to steps numbered 1, 2, … and names the reason where it is not. Left out:
stepping solutions without numbers.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from srl_reward import _native
from srl_reward._native import Step

__all__ = [
    "NonConforming",
    "NonConformingReason",
    "Preamble",
    "Solution",
    "Step",
    "leading_step_number",
    "parse_solution",
    "split_steps",
    "strip_step_number",
]

Preamble = Literal["keep", "drop"]


class NonConformingReason(StrEnum):
    """Why a solution has no steps to learn from."""

    NO_HEADINGS = "no_headings"
    """No line is a heading: a bare answer, plain prose, or an empty text."""
    DOES_NOT_START_AT_ONE = "does_not_start_at_one"
    """The first heading's number isn't 1."""
    RESTARTED = "restarted"
    """The numbering starts again at 1 and can't be told from a list inside a step."""
    NOT_CONSECUTIVE = "not_consecutive"
    """A number is left out or comes twice."""
    RIVAL_NUMBERING = "rival_numbering"
    """A list in plainer style comes first, steps in a style that stands out after it."""
    SINGLE_STEP = "single_step"
    """There is only one step."""
    EMPTY_STEP = "empty_step"
    """A heading has neither title nor text."""


@dataclass(frozen=True, slots=True)
class Solution:
    """A solution whose steps are numbered 1, 2, …; at least two."""

    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class NonConforming:
    """A refused solution: the reason and, where it matters, the number expected and found."""

    reason: NonConformingReason
    expected: int | None = None
    found: int | None = None


def split_steps(text: str, *, preamble: Preamble = "keep") -> list[Step]:
    """Split a text into its steps; an empty list where no line is a heading.

    The first heading at column 0 (`1.`, `1. **Title**`, `**Step 1:**`, `Step 1:`, `### 1.`,
    `### Step 1: Title` and their like) says what a heading is. Numbers may start anywhere and leave
    gaps, so that a model's text is read too; a list that starts again at 1 belongs to the step
    around it. Code fences and LaTeX hold no headings.

    Args:
        text: Any text; CRLF and lone surrogates included.
        preamble: Whether text before the first heading begins the first step or is dropped.

    Raises:
        ValueError: `preamble` is neither "keep" nor "drop".
    """
    return _native.split_steps(text, _keeps(preamble))


def parse_solution(text: str, *, preamble: Preamble = "keep") -> Solution | NonConforming:
    """Split an expert's solution into steps 1, 2, …, or say why it has none.

    A list in the headings' own style that starts again at 1 is read as part of a step only where
    the main numbering resumes after it and could not have been the list's continuation; otherwise
    the solution is refused as restarted. Each step's text, taken alone, is one step again.

    Args:
        text: The solution.
        preamble: Whether text before step 1 begins step 1 or is dropped.

    Raises:
        ValueError: `preamble` is neither "keep" nor "drop".
    """
    steps, refusal = _native.parse_solution(text, _keeps(preamble))
    if refusal is None:
        return Solution(tuple(steps))
    reason, expected, found = refusal
    return NonConforming(NonConformingReason(reason), expected, found)


def strip_step_number(text: str) -> str:
    """Strip outer white space and the leading step number: `3. `, `**Step 3:** `, `### 3. ` ….

    A bold title that the number stood in stays bold: `**Step 3: Title**` gives `**Title**`.
    """
    return _native.strip_step_number(text)


def leading_step_number(text: str) -> int | None:
    """Return the step number a text leads with, or None."""
    return _native.leading_number(text)


def _keeps(preamble: Preamble) -> bool:
    if preamble not in ("keep", "drop"):
        raise ValueError(f'preamble is {preamble!r}, expected "keep" or "drop"')
    return preamble == "keep"
