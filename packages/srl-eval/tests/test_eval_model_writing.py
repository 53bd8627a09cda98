"""Right and altered answers of real benchmarks, in the ways models write them.

No model wrote these: for each problem the gold answer, or one altered in a number, is dressed by
code and put into a text as models write it. Needs the data folder that SRL_TEST_DATA names.
"""

import os
import re
from collections.abc import Callable, Iterator
from functools import cache
from itertools import count
from pathlib import Path

import pytest

from srl_data.records import PromptAnswer
from srl_eval.grading import Candidate, Gold, Verdict, get_grader, judge
from srl_eval.problems import load_problems
from srl_eval.tasks import get_task

FILES = {
    "aime24": "aime24/test.jsonl",
    "aime25": "aime25/qwq_aime25.jsonl",
    "amc23": "amc23/test.jsonl",
    "math500": "math500/test.jsonl",
    "gsm8k": "gsm8k/test.jsonl",
    "minerva_math": "minerva_math/test.jsonl",
    "olympiadbench": "olympiadbench/test.jsonl",
}
Write = Callable[[str], str]

# What stands in the box, for any answer.
FORMS: dict[str, Write] = {
    "plain": lambda a: a,
    "spaces": lambda a: f"  {a} ",
    "line ends": lambda a: f"\n{a}\n",
    "dollars": lambda a: f"${a}$",
    "dfrac": lambda a: a.replace("\\frac", "\\dfrac"),
    "tfrac": lambda a: a.replace("\\frac", "\\tfrac"),
    "stop": lambda a: f"{a}.",
    "display": lambda a: f"\\displaystyle {a}",
    "thin space": lambda a: f"{a}\\,",
    "sized": lambda a: re.sub(
        r"(?<!\\left)(?<!\\right)([()])",
        lambda m: ("\\left" if m[1] == "(" else "\\right") + m[1],
        a,
    ),
}
# For a number alone.
NUMBER_FORMS: dict[str, Write] = {
    "unknown": lambda a: f"n = {a}",
    "degrees": lambda a: f"{a}^\\circ",
    "braced degrees": lambda a: f"{a}^{{\\circ}}",
    "text": lambda a: f"\\text{{{a}}}",
    "bold": lambda a: f"\\mathbf{{{a}}}",
    "decimal": lambda a: a if "." in a else f"{a}.0",
}
UNIT_FORMS: dict[str, Write] = {
    "unit in text": lambda a: f"{a}\\text{{ units}}",
    "unit in roman": lambda a: f"{a} \\mathrm{{~cm}}",
}
TEXTS: dict[str, Write] = {
    "sentence": lambda b: f"So the answer is $\\boxed{{{b}}}$.",
    "final": lambda b: f"The final answer is: $\\boxed{{{b}}}$",
    "thought": lambda b: (
        f"<think>Try $x=\\boxed{{7777}}$. No.</think>\n\nThus \\[ \\boxed{{{b}}} \\]"
    ),
    "several": lambda b: f"First \\boxed{{7777}}, then \\boxed{{-7778}}; in all \\boxed{{{b}}}",
    "unclosed": lambda b: f"Then \\boxed{{7777 would do, but \\boxed{{{b}}}",
    "remark": lambda b: (
        f"\\boxed {{{b}}}\n\nLet me know if you want {{any}} step, say $1,234$, again!"
    ),
    "fbox": lambda b: f"**Answer:** \\fbox{{{b}}}",
    "heading": lambda b: f"### Step 4\n1. Add.\n\n**Final Answer**\n\\[\n\\boxed{{{b}}}\n\\]",
}


@cache
def problems(task: str) -> list[PromptAnswer]:
    folder = os.environ.get("SRL_TEST_DATA")
    if not folder:
        pytest.skip("SRL_TEST_DATA names no data folder")
    return load_problems(get_task(task), Path(folder, FILES[task])).problems


def forms_for(task: str, answer: str) -> dict[str, Write]:
    if not re.fullmatch(r"-?\d+(\.\d+)?", answer):
        return FORMS
    units = {} if task.startswith("aime") else UNIT_FORMS
    return {**FORMS, **NUMBER_FORMS, **units}


def altered(answer: str) -> str:
    """Another answer: the first number one greater, or where there is none, one more."""
    if not re.search(r"\d", answer):
        return "\\text{neither}" if "\\text" in answer else f"{answer} + 17"
    return re.sub(r"\d+", lambda m: str((int(m[0]) + 1) % 1000), answer, count=1)


def graded(task: str, step: int, change: Write) -> Iterator[tuple[Verdict, str, str]]:
    """(verdict, gold, text) for every step-th problem in all forms, the texts taking turns."""
    turn, texts = count(), list(TEXTS.values())
    candidates = [
        Candidate(texts[next(turn) % len(texts)](form(change(p.answer))), "stop", Gold.of(p))
        for p in problems(task)[::step]
        for form in forms_for(task, p.answer).values()
    ]
    judgements = judge(get_grader(get_task(task).grader), candidates)
    for candidate, judgement in zip(candidates, judgements, strict=True):
        yield judgement.verdict, candidate.gold.answer, candidate.text


def check_right(task: str, step: int) -> None:
    lost = [entry for entry in graded(task, step, lambda a: a) if entry[0] is not Verdict.CORRECT]
    assert lost == []


def check_altered(task: str, step: int) -> None:
    assert [entry for entry in graded(task, step, altered) if entry[0] is Verdict.CORRECT] == []


STEPS = {"math500": 10, "gsm8k": 20, "minerva_math": 10, "olympiadbench": 20}


@pytest.mark.parametrize("task", FILES)
def test_right_answers_are_correct_however_written(task: str) -> None:
    check_right(task, STEPS.get(task, 1))


@pytest.mark.parametrize("task", FILES)
def test_altered_answers_are_not(task: str) -> None:
    check_altered(task, STEPS.get(task, 1))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("task", STEPS)
def test_all_right_answers_are_correct_however_written(task: str) -> None:
    check_right(task, 1)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("task", STEPS)
def test_no_altered_answer_is(task: str) -> None:
    check_altered(task, 1)


@pytest.mark.parametrize("task", FILES)
def test_the_last_box_counts_and_no_box_is_no_answer(task: str) -> None:
    problem = problems(task)[0]
    right, gold = problem.answer, Gold.of(problem)
    texts = [
        Candidate(f"\\boxed{{{right}}}, no: \\boxed{{{altered(right)}}}", "stop", gold),
        Candidate(f"The answer is {right}.", "stop", gold),
        Candidate(f"<think>Perhaps {right}? Let me see: \\boxed{{{right}", "length", gold),
        Candidate(f"Clearly \\boxed{{{right}}}. Let me check once more, since", "length", gold),
    ]
    verdicts = [j.verdict for j in judge(get_grader(get_task(task).grader), texts)]
    assert verdicts == [Verdict.WRONG, Verdict.NO_ANSWER, Verdict.TRUNCATED, Verdict.CORRECT]


def test_solutions_of_math_and_minerva_give_their_own_answers() -> None:
    """The experts' own texts, box and all, as if a model had written them."""
    for task, step in (("math500", 1), ("minerva_math", 1)):
        grader = get_grader(get_task(task).grader)
        folder = Path(os.environ.get("SRL_TEST_DATA", ""))
        golds = problems(task)[::step]
        solutions = solutions_of(folder / FILES[task])
        candidates = [
            Candidate(text, "stop", Gold.of(p)) for text, p in zip(solutions, golds, strict=True)
        ]
        verdicts = [judgement.verdict for judgement in judge(grader, candidates)]
        lost = [p.id for p, v in zip(golds, verdicts, strict=True) if v is not Verdict.CORRECT]
        assert lost == []


def solutions_of(path: Path) -> list[str]:
    from srl_data.records import read_objects

    return [str(row["solution"]) for _, row in read_objects(path)]
