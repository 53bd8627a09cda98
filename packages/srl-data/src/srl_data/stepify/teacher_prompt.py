"""What a teacher is asked: a solution rewritten in steps, or titles for steps that are cut.

In our own words, with the reason of what was wrong the last time. A change of wording is a new
`VERSION`, which the manifest records.
"""

from collections.abc import Sequence

from srl_data.prompts import Message

VERSION = 1

REWRITE = """\
You turn a worked solution into numbered steps for a student. Keep to these rules.

- Write the steps as 1., 2., 3. and so on, without gaps, each at the start of a line, each with a
  short title in bold behind its number: `1. **Title** text`.
- Each step is one move of the reasoning: a definition, a calculation, a case, a conclusion. Write
  between two and about ten steps.
- Say what the solution says, in its order and its language, and about as long. Invent nothing,
  leave no calculation out, and correct nothing.
- Keep every formula and number as it is written there.
- The last step gives the final answer, in \\boxed{} and nowhere else.
- Write the steps and nothing before, between or after them."""

TITLES = """\
You give titles to the steps of a worked solution. For each step write one line: its number, a full
stop and a title of at most eight words that says what the step does, in the language of the step.
Don't give away the step's result. Write as many lines as there are steps and nothing else."""


def rewrite_messages(problem: str, solution: str) -> list[Message]:
    """The request for a solution in steps."""
    text = f"Problem:\n{problem.strip()}\n\nSolution:\n{solution.strip()}"
    return [{"role": "system", "content": REWRITE}, {"role": "user", "content": text}]


def title_messages(problem: str, steps: Sequence[str]) -> list[Message]:
    """The request for the titles of numbered steps."""
    text = f"Problem:\n{problem.strip()}\n\nSteps:\n" + "\n\n".join(steps)
    return [{"role": "system", "content": TITLES}, {"role": "user", "content": text}]


def again(messages: Sequence[Message], answer: str, fault: str) -> list[Message]:
    """The same request once more, with the answer that did not do and why."""
    reason = f"That does not do: {fault}. Write all of it again, to the same rules."
    return [
        *messages,
        {"role": "assistant", "content": answer},
        {"role": "user", "content": reason},
    ]
