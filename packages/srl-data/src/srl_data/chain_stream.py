"""The sloppy stream of chains: what a student has read before it meets the expert.

It holds the skill and the bad habit: each step is worked out with care only with a probability that
depends on the operation, carries are often forgotten even then, and otherwise the thought is empty
and the result a guess. A pair is one step, asked with `STEPS_TEMPLATE`, or a whole answer, asked
with `WHOLE_TEMPLATE`, whose steps are written in the same way one after the other.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from srl_data.chain import (
    OPERATIONS,
    STEPS_TEMPLATE,
    WHOLE_TEMPLATE,
    WORDINGS,
    ChainProblem,
    draw_of,
    result_of,
)
from srl_data.records import SftPair
from srl_reward import render_step_output

NO_THOUGHT = "-"
"""What stands in the place of a working that is not done."""


@dataclass(frozen=True)
class Habits:
    """How the stream's author works."""

    careful: tuple[float, float, float] = (0.7, 0.5, 0.4)
    """How often a working is written, for +, - and *."""
    forget: float = 0.4
    """How often its tens take nothing over."""
    slip: float = 0.01
    """How often a digit of it is misread."""


CAREFUL = Habits(careful=(1.0, 1.0, 1.0), forget=0.0, slip=0.0)
"""No bad habit: drills that hold the skill alone."""


def slipped(text: str, rng: random.Random, rate: float) -> str:
    """`text` with each digit replaced by any with probability `rate`."""
    return "".join(
        rng.choice("0123456789") if char.isdigit() and rng.random() < rate else char
        for char in text
    )


def written_step(
    problem: ChainProblem, index: int, value: int, rng: random.Random, habits: Habits
) -> tuple[str, str, int]:
    """`(thought, step, result)` for the 1-based step `index` from `value`, by these habits."""
    term, wording = problem.terms[index - 1], rng.choice(WORDINGS)
    if rng.random() < habits.careful[OPERATIONS.index(term.operation)]:
        working = term.working(value, carry=rng.random() >= habits.forget)
        thought = slipped(working, rng, habits.slip)
        result = result_of(thought)
    else:
        thought, result = NO_THOUGHT, rng.randrange(100)
    return thought, problem.step(index, value, result, wording), result


def step_prompt(problem: ChainProblem, steps: list[str]) -> str:
    """What `STEPS_TEMPLATE` makes of a problem and its first steps."""
    return STEPS_TEMPLATE.format(
        problem=problem.problem, previous_steps="\n\n".join(steps), step_index=len(steps) + 1
    )


def step_pair(problem: ChainProblem, rng: random.Random, habits: Habits) -> tuple[str, str]:
    """Prompt and response of one step, late ones more often; right steps stand before it."""
    count = len(problem.terms)
    index = 1 + max(rng.randrange(count), rng.randrange(count))
    before = [
        problem.step(
            number, problem.values[number - 1], problem.values[number], rng.choice(WORDINGS)
        )
        for number in range(1, index)
    ]
    thought, step, _ = written_step(problem, index, problem.values[index - 1], rng, habits)
    return step_prompt(problem, before), render_step_output(thought, step)


def whole_pair(problem: ChainProblem, rng: random.Random, habits: Habits) -> tuple[str, str]:
    """Prompt and response of a whole answer, each step from what the one before it has given."""
    value, parts = problem.start, []
    for index in range(1, len(problem.terms) + 1):
        thought, step, value = written_step(problem, index, value, rng, habits)
        parts.append(f"#{index}{render_step_output(thought, step)}")
    return WHOLE_TEMPLATE.format(problem=problem.problem), "\n\n".join(parts)


def sloppy_pairs(
    seed: int,
    count: int,
    longest: int,
    habits: Habits,
    whole_share: float = 0.5,
    name: str = "sloppy",
) -> Iterator[SftPair]:
    """`count` pairs from chains of 1 to `longest` operations, none of them held out.

    Streams of other names are other streams, and their records have other ids.
    """
    rng = random.Random(f"chain {name} {seed}")
    for number in range(count):
        problem = draw_of(rng, rng.randint(1, longest), "warmup")
        make = whole_pair if rng.random() < whole_share else step_pair
        prompt, response = make(problem, rng, habits)
        meta = {**problem.meta, "whole": make is whole_pair}
        yield SftPair(
            id=f"{problem.name}#{name}{number}", prompt=prompt, response=response, meta=meta
        )
