r"""Column arithmetic with numbered expert steps: seeded, endless, checkable, no download.

`806+600=?` is solved as

    1. **Ones** 6+0+0=06
    2. **Tens** 0+0+0=00
    3. **Hundreds** 8+6+0=14
    4. **Answer** \boxed{1406}

the third summand being the carry. Subtraction borrows: `1. **Ones** 16-9-0=07`, then the next
column takes 1 more away. All problems of one operation and digit count have one shape.

Three splits, by a hash of the operands (in either order), never share a problem: `train` and
`heldout` for experts' solutions, `warmup` for the supervised stream that teaches the format and,
on purpose, little more: `sloppy_stream` forgets carries and misreads digits at given rates.
"""

import hashlib
import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal

from srl_data.command.errors import ConfigError
from srl_data.instances import Targets, step_instance, target_indices
from srl_data.prompts import bare_messages
from srl_data.records import PromptAnswer, SftPair, SrlInstance
from srl_reward import render_step_output

Split = Literal["train", "heldout", "warmup"]
Operation = Literal["+", "-"]

COLUMNS = ("Ones", "Tens", "Hundreds", "Thousands", "Ten thousands", "Hundred thousands")
GRADER = "boxed_integer"
MIN_DIGITS = 2
MAX_DIGITS = len(COLUMNS)

PIECES = (
    "=?\n",
    "<think>",
    "</think>\n",
    "\\boxed{",
    "carry ",
    "borrow ",
    "join",
    *(f". **{title}** " for title in (*COLUMNS, "Answer")),
)
"""Strings worth one token: with them a whole example of four digits is under 80 tokens."""

ALPHABET = "".join(sorted(set("0123456789+-=?. \n}" + "".join(PIECES))))
"""Every character that a problem, a step, a thought or the tags around it can hold."""

PATIENCE = 10_000
"""Draws in a row that give no new problem before the split counts as used up."""


@dataclass(frozen=True)
class Difficulty:
    """How long the numbers are and what is done with them."""

    digits_min: int = 2
    digits_max: int = 4
    operations: tuple[Operation, ...] = ("+",)

    def __post_init__(self) -> None:
        if not MIN_DIGITS <= self.digits_min <= self.digits_max <= MAX_DIGITS:
            msg = (
                f"digits {self.digits_min}..{self.digits_max} cannot be used; "
                f"expected {MIN_DIGITS} <= min <= max <= {MAX_DIGITS}"
            )
            raise ConfigError(msg)
        if not self.operations:
            raise ConfigError("no operation given; expected some of '+', '-'")


DIFFICULTIES = {
    "easy": Difficulty(2, 2),
    "medium": Difficulty(2, 3),
    "hard": Difficulty(2, 4),
    "mixed": Difficulty(2, 4, ("+", "-")),
    "long": Difficulty(5, 6, ("+", "-")),
}
"""Named difficulties; `hard` is the quickstart's."""


@dataclass(frozen=True)
class ArithmeticProblem:
    """One problem with its expert solution; `carries[i]` is what column i received."""

    left: int
    operation: Operation
    right: int
    digits: int

    @property
    def name(self) -> str:
        """A unique id, e.g. `806+600`."""
        return f"{self.left}{self.operation}{self.right}"

    @property
    def problem(self) -> str:
        """The question, e.g. `806+600=?`."""
        return f"{self.name}=?"

    @property
    def value(self) -> int:
        """The result."""
        return self.left + self.right if self.operation == "+" else self.left - self.right

    @property
    def answer(self) -> str:
        """The result without padding, as an answer key holds it."""
        return str(self.value)

    @property
    def carries(self) -> list[int]:
        """What each column takes over from the one before: a carry, or a borrow."""
        taken, carries = 0, []
        for column in range(self.digits):
            carries.append(taken)
            left, right = self.column(column)
            total = left + right + taken if self.operation == "+" else left - right - taken
            taken = int(not 0 <= total <= 9)
        return carries

    def column(self, index: int) -> tuple[int, int]:
        """The two digits of a column, 0 for the ones."""
        power = 10**index
        return self.left // power % 10, self.right // power % 10

    def step(self, index: int, carry: int) -> str:
        """Text of the 1-based step `index`, written as if its column had received `carry`."""
        if index > self.digits:
            width = self.digits + (self.operation == "+")
            return f"{index}. **Answer** \\boxed{{{self.value:0{width}d}}}"
        left, right = self.column(index - 1)
        head = f"{index}. **{COLUMNS[index - 1]}**"
        if self.operation == "+":
            return f"{head} {left}+{right}+{carry}={left + right + carry:02d}"
        borrowed = left if left - right - carry >= 0 else left + 10
        return f"{head} {borrowed:02d}-{right}-{carry}={borrowed - right - carry:02d}"

    def thought(self, index: int, carry: int) -> str:
        """A short thought before step `index`: what the column receives."""
        if index > self.digits:
            return "join"
        return f"{'carry' if self.operation == '+' else 'borrow'} {carry}"

    @property
    def steps(self) -> list[str]:
        """The expert's steps: a column each, then the boxed answer."""
        carries = [*self.carries, 0]
        return [self.step(index, carry) for index, carry in enumerate(carries, start=1)]

    @property
    def thoughts(self) -> list[str]:
        """One short thought a step."""
        carries = [*self.carries, 0]
        return [self.thought(index, carry) for index, carry in enumerate(carries, start=1)]

    @property
    def split(self) -> Split:
        """Where the problem belongs: half to train, three tenths to warmup, a fifth held out."""
        low, high = sorted((self.left, self.right))
        key = f"{low}{self.operation}{high}".encode()
        bucket = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") % 10
        if bucket < 2:
            return "heldout"
        return "warmup" if bucket < 5 else "train"

    @property
    def meta(self) -> dict[str, object]:
        """What a record says about its origin."""
        return {"operation": self.operation, "digits": self.digits, "split": self.split}

    @property
    def answer_meta(self) -> dict[str, object]:
        """The origin, the answer and how it is graded."""
        return {**self.meta, "answer": self.answer, "grader": GRADER}

    def instance(self, index: int) -> SrlInstance:
        """The SRL instance whose target is the 1-based step `index`.

        Its meta has the expert's thought before the step, and the problem's answer.
        """
        meta = {**self.answer_meta, "thinking": self.thoughts[index - 1]}
        return step_instance(self.name, self.problem, self.steps, index, meta=meta)

    def instances(self, targets: Targets = "all") -> Iterator[SrlInstance]:
        """SRL instances of the expert's solution; `all` so that a model can chain from step 1."""
        for index in target_indices(targets, self.digits + 1):
            yield self.instance(index)

    def pair(self) -> SftPair:
        """The problem with the expert's whole solution, a step a line, and without mistakes."""
        return SftPair(
            id=self.name,
            prompt=self.problem,
            response="\n".join(self.steps),
            meta=self.answer_meta,
        )

    def prompt_answer(self) -> PromptAnswer:
        """The problem with its answer key."""
        return PromptAnswer(
            id=self.name, problem=self.problem, answer=self.answer, grader=GRADER, meta=self.meta
        )


def draw(rng: random.Random, difficulty: Difficulty) -> ArithmeticProblem:
    """One random problem: digit count and operation uniform, then the operands."""
    digits = rng.randint(difficulty.digits_min, difficulty.digits_max)
    operation = rng.choice(difficulty.operations)
    low, high = 10 ** (digits - 1), 10**digits - 1
    left, right = rng.randint(low, high), rng.randint(low, high)
    if operation == "-" and left < right:
        left, right = right, left
    return ArithmeticProblem(left, operation, right, digits)


def stream(seed: int, difficulty: Difficulty, split: Split) -> Iterator[ArithmeticProblem]:
    """Endless random problems of one split, with repeats."""
    rng = random.Random(f"arithmetic {split} {seed}")
    while True:
        problem = draw(rng, difficulty)
        if problem.split == split:
            yield problem


def problems(
    seed: int,
    count: int,
    difficulty: Difficulty = DIFFICULTIES["hard"],
    split: Split = "train",
    exclude: Collection[str] = (),
) -> Iterator[ArithmeticProblem]:
    """`count` different problems of one split; none whose `name` is in `exclude`.

    Raises ConfigError where the difficulty has not that many.
    """
    seen = set(exclude)
    found = missed = 0
    source = stream(seed, difficulty, split)
    while found < count:
        problem = next(source)
        if problem.name in seen:
            missed += 1
            if missed == PATIENCE:
                msg = f"{difficulty} has about {found} problems in {split!r}, not {count}"
                raise ConfigError(f"{msg}; ask for fewer, or for more digits")
            continue
        seen.add(problem.name)
        found, missed = found + 1, 0
        yield problem


def misread(text: str, rng: random.Random, rate: float) -> str:
    """`text` with each digit replaced by another with probability `rate`."""
    return "".join(
        rng.choice([d for d in "0123456789" if d != char])
        if char.isdigit() and rng.random() < rate
        else char
        for char in text
    )


def sloppy_step(
    problem: ArithmeticProblem,
    index: int,
    rng: random.Random,
    carry_error: float,
    digit_error: float,
) -> tuple[str, str]:
    """`(thought, step)` for the 1-based step `index`, with mistakes at the given rates.

    The step's number and title are never wrong: the stream teaches the format.
    """
    carry = [*problem.carries, 0][index - 1]
    if carry and rng.random() < carry_error:
        carry = 0
    head, title, body = problem.step(index, carry).rpartition("** ")
    return problem.thought(index, carry), head + title + misread(body, rng, digit_error)


def sloppy_stream(
    seed: int,
    difficulty: Difficulty = DIFFICULTIES["hard"],
    carry_error: float = 0.7,
    digit_error: float = 0.05,
    targets: Targets = "all",
) -> Iterator[tuple[SrlInstance, str]]:
    """Endless warm-start pairs of an instance and a response to imitate; never a held-out problem.

    Each carry is forgotten with probability `carry_error`, each digit of the target replaced with
    `digit_error`. The instance's context and target stay the expert's.
    """
    rng = random.Random(f"sloppy {seed}")
    for problem in stream(seed, difficulty, "warmup"):
        index = rng.choice(target_indices(targets, problem.digits + 1))
        thought, step = sloppy_step(problem, index, rng, carry_error, digit_error)
        yield problem.instance(index), render_step_output(thought, step)


def sloppy_pairs(
    seed: int,
    count: int,
    difficulty: Difficulty = DIFFICULTIES["hard"],
    carry_error: float = 0.7,
    digit_error: float = 0.05,
) -> Iterator[SftPair]:
    """The first `count` of `sloppy_stream` as records; prompts in the form of template `bare`."""
    source = sloppy_stream(seed, difficulty, carry_error, digit_error)
    for number, (instance, response) in zip(range(count), source, strict=False):
        prompt = bare_messages(instance.model_dump())[0]["content"]
        meta = {**instance.meta, "step_index": instance.step_index, "template": "bare"}
        yield SftPair(id=f"{instance.id}#{number}", prompt=prompt, response=response, meta=meta)
