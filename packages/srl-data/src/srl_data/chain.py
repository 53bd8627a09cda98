r"""Chains of two-digit operations modulo 100, with bare expert steps: seeded, checkable, endless.

`37 #1+58 #2-19 #3*4` is solved from left to right as

    So 37+58=95
    Then 95-19=76
    So 76*4=\boxed{04}

The expert writes results alone, each in one of two wordings that cannot be foreseen. How a result
is worked out digit by digit (`7+8=15,3+5=08+1=09`) stands beside each step as its `working`: what a
student can know, and the expert's steps do not show.

Four splits, by a hash of the problem, never share one: `train`, `validation` and `test` for
experts' solutions, `warmup` for the sloppy stream (`srl_data.chain_stream`).
"""

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from srl_data.command.errors import ConfigError
from srl_data.instances import step_instance
from srl_data.records import PromptAnswer, SftPair, SrlInstance

Split = Literal["train", "validation", "test", "warmup"]
Operation = Literal["+", "-", "*"]

OPERATIONS: tuple[Operation, ...] = ("+", "-", "*")
WORDINGS = ("So", "Then")
GRADER = "boxed_integer"
MAX_OPERATIONS = 9

STEPS_TEMPLATE = "{problem}\n\n{previous_steps}\n\n#{step_index}"
"""A text template for one step: the prompt ends with the number of the step to write."""
WHOLE_TEMPLATE = "{problem}=?"
"""A text template for a whole answer, in which the numbers are the model's own."""

PIECES = (
    "<think>",
    "</think>",
    "\\boxed{",
    "\n\n",
    *(f"{wording} " for wording in WORDINGS),
    *(f"#{number}" for number in range(1, MAX_OPERATIONS + 1)),
)
"""Strings worth one token."""

ALPHABET = "".join(sorted(set("0123456789+-*=?, \n}" + "".join(PIECES))))
"""Every character that a problem, a step, a working or the tags around it can hold."""

PATIENCE = 10_000
"""Draws in a row that give no new problem before a split counts as used up."""


@dataclass(frozen=True)
class Term:
    """One operation with its operand: two digits, or 2 to 4 to multiply with."""

    operation: Operation
    operand: int

    def __str__(self) -> str:
        """As a problem and a step have it, e.g. `+05` or `*3`."""
        width = 1 if self.operation == "*" else 2
        return f"{self.operation}{self.operand:0{width}d}"

    def apply(self, value: int) -> int:
        """The result modulo 100."""
        if self.operation == "+":
            return (value + self.operand) % 100
        if self.operation == "-":
            return (value - self.operand) % 100
        return value * self.operand % 100

    def working(self, value: int, *, carry: bool = True) -> str:
        """The result worked out digit by digit: the ones, then the tens with what they take over.

        Without `carry` the tens take nothing over. `result_of` reads the result off it.
        """
        tens, ones = divmod(value, 10)
        if self.operation == "*":
            return self._times(tens, ones, carry=carry)
        return self._digits(tens, ones, carry=carry)

    def _times(self, tens: int, ones: int, *, carry: bool) -> str:
        by = self.operand
        first, second = ones * by, tens * by
        over = first // 10 if carry else 0
        return f"{ones}*{by}={first:02d},{tens}*{by}={second:02d}+{over}={second + over:02d}"

    def _digits(self, tens: int, ones: int, *, carry: bool) -> str:
        tens_by, ones_by = divmod(self.operand, 10)
        sign = 1 if self.operation == "+" else -1
        first, second = ones + sign * ones_by, tens + sign * tens_by
        over = int(not 0 <= first <= 9) if carry else 0
        parts = (
            f"{ones}{self.operation}{ones_by}={two_digits(first)}",
            f"{tens}{self.operation}{tens_by}={two_digits(second)}",
        )
        return f"{','.join(parts)}{self.operation}{over}={two_digits(second + sign * over)}"


def two_digits(value: int) -> str:
    """A carry or borrow digit, then the ones digit: 15 is `15`, -1 is `19`."""
    return f"{value // 10 % 10 if value >= 0 else 1}{value % 10}"


def result_of(working: str) -> int:
    """The result as a working has it: the last digits of its two parts."""
    ones, _, tens = working.partition(",")
    return int(tens[-1] + ones[-1])


@dataclass(frozen=True)
class ChainProblem:
    """A start value and the operations on it, with the expert's solution."""

    start: int
    terms: tuple[Term, ...]

    @property
    def name(self) -> str:
        """A unique id, e.g. `37+58-19*4`."""
        return f"{self.start:02d}{''.join(map(str, self.terms))}"

    @property
    def problem(self) -> str:
        """The question: the operations with their numbers, e.g. `37 #1+58 #2-19`."""
        marked = (f"#{number}{term}" for number, term in enumerate(self.terms, start=1))
        return " ".join([f"{self.start:02d}", *marked])

    @cached_property
    def values(self) -> list[int]:
        """The value before each operation, and the result."""
        values = [self.start]
        for term in self.terms:
            values.append(term.apply(values[-1]))
        return values

    @property
    def answer(self) -> str:
        """The result without padding, as an answer key holds it."""
        return str(self.values[-1])

    @property
    def digest(self) -> bytes:
        """What decides the split and the wordings."""
        return hashlib.blake2b(self.name.encode(), digest_size=8).digest()

    @property
    def split(self) -> Split:
        """Where the problem belongs: five tenths train, three warmup, one each to the others."""
        bucket = int.from_bytes(self.digest, "big") % 10
        if bucket < 2:
            return "test" if bucket else "validation"
        return "warmup" if bucket < 5 else "train"

    def step(self, index: int, value: int, result: int, wording: str) -> str:
        """Text of the 1-based step `index` from `value`, as if it gave `result`."""
        written = f"{result:02d}"
        if index == len(self.terms):
            written = f"\\boxed{{{written}}}"
        return f"{wording} {value:02d}{self.terms[index - 1]}={written}"

    @property
    def steps(self) -> list[str]:
        """The expert's steps: bare results, the last one boxed."""
        rng = random.Random(f"wording {self.name}")
        return [
            self.step(index, before, after, rng.choice(WORDINGS))
            for index, (before, after) in enumerate(
                zip(self.values, self.values[1:], strict=False), start=1
            )
        ]

    @property
    def workings(self) -> list[str]:
        """One working per step."""
        return [term.working(value) for term, value in zip(self.terms, self.values, strict=False)]

    @property
    def meta(self) -> dict[str, object]:
        """What a record says about its origin."""
        return {"operations": len(self.terms), "split": self.split}

    @property
    def answer_meta(self) -> dict[str, object]:
        """The origin, the answer and how it is graded."""
        return self.meta | {"answer": self.answer, "grader": GRADER}

    def instances(self) -> Iterator[SrlInstance]:
        """An SRL instance per step; its meta has the working, which no prompt shows."""
        steps = self.steps
        for index, working in enumerate(self.workings, start=1):
            meta = {**self.answer_meta, "thinking": working}
            yield step_instance(self.name, self.problem, steps, index, meta=meta)

    def pair(self) -> SftPair:
        """The problem with the expert's whole solution, bare."""
        response = "\n\n".join(self.steps)
        return SftPair(id=self.name, prompt=self.problem, response=response, meta=self.answer_meta)

    def prompt_answer(self) -> PromptAnswer:
        """The problem with its answer key."""
        return PromptAnswer(
            id=self.name, problem=self.problem, answer=self.answer, grader=GRADER, meta=self.meta
        )


def draw(rng: random.Random, operations: int) -> ChainProblem:
    """One random problem of so many operations, every operand uniform."""
    terms = []
    for _ in range(operations):
        operation = rng.choice(OPERATIONS)
        operand = rng.randrange(2, 5) if operation == "*" else rng.randrange(100)
        terms.append(Term(operation, operand))
    return ChainProblem(rng.randrange(100), tuple(terms))


def draw_of(rng: random.Random, operations: int, split: Split) -> ChainProblem:
    """One random problem of a split."""
    while True:
        problem = draw(rng, operations)
        if problem.split == split:
            return problem


def problems(seed: int, count: int, operations: int, split: Split) -> Iterator[ChainProblem]:
    """`count` different problems of one split. ConfigError where there are not that many."""
    rng = random.Random(f"chain {split} {seed}")
    seen: set[str] = set()
    missed = 0
    while len(seen) < count:
        problem = draw_of(rng, operations, split)
        if problem.name not in seen:
            seen.add(problem.name)
            missed = 0
            yield problem
        elif (missed := missed + 1) == PATIENCE:
            raise ConfigError(
                f"chains of {operations} operations have about {len(seen)} problems in {split!r}, "
                f"not {count}; ask for fewer, or for more operations"
            )
