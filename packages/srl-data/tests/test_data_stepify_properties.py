"""What holds of every cut: the text is kept, nothing protected is cut, and nothing runs away."""

import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from srl_data.stepify.cut import Cut, CutOptions, cut_solution
from srl_data.stepify.protected import Protected, protected_spans
from srl_data.stepify.render import Refused
from srl_reward import parse_solution, split_steps

FRAGMENTS = [
    *("Step 1: ", "Step 2: ", "**Step 3:** ", "### 2. Title\n", "1. ", "2) ", "(3) ", "II. "),
    *("步骤1：", "Schritt 2: ", "①", "a) "),
    *("\n", "\n\n", "\r\n", " ", "  ", ". ", "! ", "。", ", ", ": "),
    *("We add 3 and 4. ", "Then x = 5. ", "Hence the claim. ", "e.g. this ", "x = 3\n"),
    *("- item\n", "> ", "$5", "\\(", "\\]", "$$"),
    *("$a. B$", "$$a\n\nb$$", "\\[c. D\\]", "\\begin{align}x\\\\y\\end{align}"),
    *("```\nA. B\n\nC\n```\n", "> quoted. Text\n", '"Q. R"'),
    "| a | b |\n|---|---|\n| 1. C | 2 |\n",
    *(
        "\\boxed{7}",
        "**bold** ",
        "**open",
        "First, ",
        "Next, ",
        "Finally, ",
        "Case 1: ",
        "Case 2: ",
    ),
]
TEXTS = st.lists(st.sampled_from(FRAGMENTS), max_size=40).map("".join)
OPTIONS = st.builds(
    CutOptions,
    by=st.sampled_from(["auto", "headings", "paragraphs", "lines", "sentences"]),
    min_chars=st.none() | st.integers(0, 60),
    max_chars=st.none() | st.integers(60, 200),
    corrections=st.booleans(),
)


def letters(text: str) -> str:
    """A text without its white space."""
    return "".join(text.split())


def leaves(whole: str, parts: list[str], kept: str, without: str) -> bool:
    """Whether taking the parts out of `whole`, in order and somewhere, leaves `kept`.

    White space does not count, and neither does `without`. A part may stand in the text that is
    kept as well, so that each place is tried.
    """
    if not parts:
        return letters(whole).replace(without, "") == kept
    at = whole.find(parts[0])
    while at >= 0:
        head = letters(whole[:at]).replace(without, "")
        rest = whole[at + len(parts[0]) :]
        if kept.startswith(head) and leaves(rest, parts[1:], kept[len(head) :], without):
            return True
        at = whole.find(parts[0], at + 1)
    return False


def bare(step: str, number: int, style: str) -> str:
    """A step without the heading that was written for it."""
    hashes = style.removesuffix(" step")
    heading = {
        "titled": rf"{number}\. \*\*",
        "plain": rf"{number}\.\s",
        "bold step": rf"\*\*Step {number}:\*\* ",
    }.get(style, rf"{hashes} Step {number}:")
    return re.sub(heading, "", step, count=1)


@given(TEXTS, OPTIONS)
@example('Step 1: "Q. R"Step 1: **Step 3:** Step 1: **Step 3:** ', CutOptions())
@example("Step 1: Step 1: ```\nA. B\n\nC\n```\n", CutOptions())
def test_the_texts_of_the_steps_joined_are_the_original_but_for_its_headings(
    text: str, options: CutOptions
) -> None:
    cut = cut_solution(text, options)
    if isinstance(cut, Refused):
        assert cut.reason not in ("not_original", "")
        return
    made = cut.rendered
    if made.style == "own":
        assert made.text == text.strip()
        return
    written = "".join(letters(bare(step, n, made.style)) for n, step in enumerate(made.steps, 1))
    without = "**" if made.style == "titled" else " "
    assert leaves(text, list(made.removed), written.replace(without, ""), without)


@given(TEXTS, OPTIONS)
def test_what_is_written_is_read_back_as_the_same_steps(text: str, options: CutOptions) -> None:
    cut = cut_solution(text, options)
    if isinstance(cut, Cut):
        parsed = parse_solution(cut.rendered.text)
        assert tuple(step.text for step in parsed.steps) == cut.rendered.steps
        assert options.min_steps <= len(cut.rendered.steps) <= options.max_steps


@given(TEXTS, OPTIONS)
@example(" ```\nA. B\n\nC\n```\nStep 1: ", CutOptions())
@example("  | a | b |\n|---|---|\n| 1. C | 2 |\n\nStep 1: ", CutOptions())
@example(" > quoted. Text\n\nThen x = 5. Hence the claim. ", CutOptions())
def test_no_step_begins_inside_latex_code_a_table_or_a_quotation(
    text: str, options: CutOptions
) -> None:
    cut = cut_solution(text, options)
    protected = Protected(protected_spans(text))
    if isinstance(cut, Cut) and cut.rendered.cuts:
        assert not [at for at in cut.rendered.cuts if protected.inside(at)]


@given(TEXTS, OPTIONS)
def test_the_last_box_is_in_the_last_step(text: str, options: CutOptions) -> None:
    cut = cut_solution(text, options)
    if isinstance(cut, Cut) and "\\boxed" in text:
        assert "\\boxed" in cut.rendered.steps[-1]
        assert not any("\\boxed" in step for step in cut.rendered.steps[:-1]) or (
            text.count("\\boxed") > 1
        )


@given(TEXTS, OPTIONS)
def test_a_cut_is_the_same_each_time(text: str, options: CutOptions) -> None:
    assert cut_solution(text, options) == cut_solution(text, options)


WHOLE = {
    "inline": "so $f(x) = 1. Then$ holds",
    "dollars over lines": "so $a\n+ b. C$ holds",
    "brackets": "so \\(a. B\\) holds",
    "display": "so \\[a.\n\nB\\] holds",
    "display of dollars": "so $$a.\n\nB$$ holds",
    "environment": "so \\begin{cases} a. \\\\ B \\end{cases} holds",
    "nested environments": "so \\begin{a}\\begin{a}x. Y\\end{a} Z. W\\end{a} holds",
    "command": "so \\text{a. B} holds",
    "fence": "so\n```\na. B\n\nC. D\n```\nholds",
    "tildes": "so\n~~~py\n# a. B\n~~~\nholds",
    "code span": "so `a. B` holds",
    "quotation": 'so "a. B" holds',
    "typographic": "so “a. B” holds",
    "German": "so „a. B“ holds",
    "French": "so «a. B» holds",
    "Japanese": "so 「a。B。」holds",
    "brackets of prose": "so (see A. B) holds",
    "block quotation": "so\n> a. B\n> C. D\nholds",
    "table": "so\n| a. B | c |\n|---|---|\n| d. E | f |\nholds",
    "drawing": "so\n[asy]\ndraw(a); // A. B\n\nC\n[/asy]\nholds",
}


@pytest.mark.parametrize("text", WHOLE.values(), ids=WHOLE)
def test_a_full_stop_inside_is_no_end(text: str) -> None:
    protected = Protected(protected_spans(text))
    inner = [match.end() for match in re.finditer(r"[.。](?=.)", text, re.DOTALL)]
    assert inner
    assert all(protected.inside(at) for at in inner)


@pytest.mark.parametrize(
    "text",
    ["It costs $5. He has $3.", 'a 5" pipe. A 6" pipe.', "open \\[ a. B", "5) a. B", "it's. A's"],
)
def test_a_mark_that_nothing_closes_is_a_character(text: str) -> None:
    protected = Protected(protected_spans(text))
    assert not any(protected.inside(match.start()) for match in re.finditer(r"\.", text))


HOSTILE = {
    "headings": "1. a\n",
    "step words": "Step 1: a\n",
    "steps in one line": "Step 2: a. ",
    "bold that is not closed": "**Step 1",
    "unclosed LaTeX": "\\[\\begin{align}$",
    "unclosed groups": "\\a{",
    "brackets": "([（",
    "no full stop": "word ",
    "full stops": ". ",
    "abbreviations": "e.g. ",
    "quotation marks": ' "a',
    "dollars": "$5 ",
    "backticks": "` `` ",
    "fences": "```a\n",
    "quoted lines": "> a\n",
    "tables": "| a | b |\n",
    "blank lines": "A b c d.\n\n",
    "equations": "x = 5\n",
    "stars": "*",
    "white space": " ",
}


@pytest.mark.parametrize("unit", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_text_takes_work_in_proportion_to_its_length(unit: str) -> None:
    text = unit * (200_000 // len(unit))
    begun = time.monotonic()
    cut = cut_solution(text)
    assert isinstance(cut, Refused), "a text of one unit has no steps to learn from"
    assert time.monotonic() - begun < 120, "a hang: linear work takes a second or two"


def test_a_step_taken_alone_is_one_step() -> None:
    text = "**Step 1:** We have:\n1. a\n2. b\n\n**Step 2:** So:\n1. c\n2. d\n\n**Step 3:** Done."
    cut = cut_solution(text)
    assert isinstance(cut, Cut)
    assert [len(split_steps(step)) for step in cut.rendered.steps] == [1, 1, 1]
