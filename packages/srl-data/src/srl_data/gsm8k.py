r"""GSM8K's solutions as numbered steps: each line a step, the `####` line the boxed answer.

    Natalia sold 48/2 = <<48/2=24>>24 clips in May.        1. Natalia sold 48/2 = 24 clips in May.
    Natalia sold 48+24 = <<48+24=72>>72 clips altogether.  2. Natalia sold 48+24 = 72 clips …
    #### 72                                                3. The answer is \boxed{72}.

The marks of the calculator are taken out. Left out: solutions in any other form.
"""

import re

from srl_reward import extract_gsm8k_answer, leading_step_number, strip_step_number

CALCULATION = re.compile(r"<<[^<>]*>>")
"""`<<48/2=24>>`: what the data set's calculator was asked and said."""
FINAL = "####"


def numbered_steps(solution: str) -> list[str] | None:
    """The steps of a solution in GSM8K's form; None where no `####` line ends it with a number.

    A line that its author has numbered already, by its place, keeps the one number.
    """
    reasoning, marked, _ = solution.rpartition(FINAL)
    answer = extract_gsm8k_answer(solution)
    if not marked or answer is None:
        return None
    lines = [line.strip() for line in CALCULATION.sub("", reasoning).splitlines()]
    steps = [numbered(line, place) for place, line in enumerate(filter(None, lines), start=1)]
    return [*steps, f"{len(steps) + 1}. The answer is \\boxed{{{answer}}}."]


def numbered(line: str, place: int) -> str:
    """A line with its number."""
    own = leading_step_number(line) == place
    return f"{place}. {strip_step_number(line) if own else line}"
