"""Whether what a teacher wrote is the solution it was given: numbers, length, result, answer.

A fault is a sentence for the teacher, which is asked again with it, and a reason for the manifest.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from srl_data.stepify.protected import protected_spans
from srl_data.stepify.sentences import RELATION
from srl_data.thinking_blocks import without_thinking
from srl_reward import NonConforming, extract_boxed, parse_solution, split_steps, target_fault
from srl_reward.grading import Grader, Verdict, grade

SHORTEST, LONGEST = 0.5, 2.0
"""Length of the steps as a share of the original's, white space aside."""
RESULT = 400
"""Characters at the end of a solution, within its last paragraph, that are its result."""
SLACK = 200
"""Characters beyond that which titles and a last sentence may add."""
LONGEST_TITLE = 80
TITLE_LINE = re.compile(r"\s*(\d+)[.)]\s+(.*\S)\s*")
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
MATHS = re.compile(r"\$|\\\(|\\\[|\\begin")


@dataclass(frozen=True)
class Fault:
    """What is wrong: a key of `reasons.REASONS`, and the sentence for the teacher."""

    reason: str
    words: str


def answer_grader() -> Grader:
    """The grader that compares answers: `math` where its extra is installed, else `exact`."""
    return "math" if find_spec("math_verify") is not None else "exact"


def rewritten(content: str) -> str:
    """What a teacher wrote, without its thinking and a fence around it all."""
    answered = without_thinking(content)
    text = (answered[0] if answered is not None else content).strip()
    fenced = re.fullmatch(r"```\w*\n(.*)\n```", text, re.DOTALL)
    return fenced[1].strip() if fenced else text


def rewrite_fault(
    original: str, answer: str | None, text: str, steps: tuple[int, int]
) -> Fault | None:
    """What is wrong with a solution in steps; None where nothing is. `steps` are least and most."""
    parsed = parse_solution(text)
    if isinstance(parsed, NonConforming):
        where = (
            "" if parsed.found is None else f" (expected {parsed.expected}, found {parsed.found})"
        )
        return Fault("teacher_numbers", f"the steps are not numbered 1., 2., 3., …{where}")
    if not text.startswith("1."):
        return Fault("teacher_numbers", "the text does not begin with step 1")
    if any(step.title is None for step in parsed.steps):
        return Fault("teacher_numbers", "not every step has a title in bold behind its number")
    count = len(parsed.steps)
    if not steps[0] <= count <= steps[1]:
        return Fault(
            "teacher_numbers", f"there are {count} steps, expected {steps[0]} to {steps[1]}"
        )
    if any(target_fault(step.text) is not None for step in parsed.steps):
        return Fault("teacher_numbers", "a step holds a second list of steps or thinking marks")
    return (
        length_fault(original, text)
        or answer_fault(original, answer, parsed.steps[-1].text, text)
        or result_fault(original, text)
    )


def length_fault(original: str, text: str) -> Fault | None:
    """Whether the length is near the original's."""
    before, after = len("".join(original.split())), len("".join(text.split()))
    if after < SHORTEST * before:
        return Fault(
            "teacher_length", f"it has {after} characters and the solution {before}: too short"
        )
    if after > LONGEST * before + SLACK:
        return Fault(
            "teacher_length", f"it has {after} characters and the solution {before}: too long"
        )
    return None


def answer_fault(original: str, answer: str | None, last: str, text: str) -> Fault | None:
    """Whether the final answer stands boxed in the last step, once, and is the original's."""
    found = extract_boxed(last)
    if found is None or text.count("\\boxed") != last.count("\\boxed"):
        return Fault(
            "teacher_answer", "the final answer is not boxed in the last step and only there"
        )
    gold = answer if answer is not None else extract_boxed(original)
    if gold is None:
        return None
    if "".join(gold.split()) == "".join(found.split()):
        return None
    if grade(answer_grader(), gold, found) is not Verdict.CORRECT:
        return Fault(
            "teacher_answer", f"the boxed answer is {found!r}, that of the solution {gold!r}"
        )
    return None


def result_fault(original: str, text: str) -> Fault | None:
    """Whether every number and formula of the original's result is found."""
    squeezed, numbers = "".join(text.split()), set(NUMBER.findall(text))
    result = original.strip()[-RESULT:].rpartition("\n\n")[2]
    missing = [formula for formula in formulas(result) if formula not in squeezed]
    missing += [number for number in NUMBER.findall(result) if number not in numbers]
    if not missing:
        return None
    return Fault("teacher_lost", f"{missing[0]!r} of the solution's result is missing")


def formulas(text: str) -> list[str]:
    """The equations of a text, without white space and marks."""
    spans = [
        text[start:end] for start, end in protected_spans(text) if MATHS.match(text[start:end])
    ]
    inner = [formula_of(span) for span in spans]
    return [formula for formula in inner if formula and RELATION.search(formula)]


def formula_of(span: str) -> str:
    """What stands between the marks of a formula; nothing for displays of several lines."""
    if "\\begin" in span or "\\boxed" in span:
        return ""
    return "".join(
        span.strip("$")
        .removeprefix("\\(")
        .removesuffix("\\)")
        .removeprefix("\\[")
        .removesuffix("\\]")
        .strip()
        .strip(".,;")
        .split()
    )


def read_titles(text: str, count: int) -> list[str] | Fault:
    """The titles of `count` steps, a numbered line each."""
    lines = [TITLE_LINE.fullmatch(line) for line in text.splitlines() if line.strip()]
    found = [line for line in lines if line is not None]
    if len(found) != len(lines) or [int(line[1]) for line in found] != list(range(1, count + 1)):
        return Fault(
            "teacher_titles", f"expected {count} lines numbered 1. to {count}. and nothing else"
        )
    titles = [line[2].strip().strip("*").strip() for line in found]
    bad = next((t for t in titles if not t or len(t) > LONGEST_TITLE or "**" in t), None)
    if bad is not None:
        return Fault("teacher_titles", f"{bad!r} is no title of 1 to {LONGEST_TITLE} characters")
    return titles


def with_titles(steps: Sequence[str], titles: Sequence[str]) -> list[str]:
    """Numbered steps with a title behind each number, their texts as they were."""
    made = []
    for number, (step, title) in enumerate(zip(steps, titles, strict=True), start=1):
        text = step.removeprefix(f"{number}.").lstrip()
        made.append(f"{number}. **{title}**\n{text}")
    return made if [len(split_steps(step)) for step in made] == [1] * len(made) else []
