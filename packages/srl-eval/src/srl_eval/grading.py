r"""Verdicts on answers: grader and gold in, what was extracted and whether it holds out.

Extraction is `srl_reward.answer`'s and comparing expressions `srl_reward.grading`'s, in killable
workers; here is only which of them a benchmark uses, and what counts as what when there is no
answer or the text was cut off. Graders take a whole chunk at once, so that workers share it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from srl_data.command.errors import ConfigError
from srl_data.records import PromptAnswer
from srl_eval.generate.sampling import FinishReason
from srl_reward import grading as expressions
from srl_reward.answer import extract_aime_answer, extract_gsm8k_answer
from srl_reward.drgrpo.form import box_answer
from srl_reward.numbers import (
    close,
    parse_number,
    parse_quantity,
    plain_integer,
    read_integer,
    without_unit,
)


class Verdict(StrEnum):
    """What became of one sample. Only `CORRECT` counts for accuracy."""

    CORRECT = "correct"
    WRONG = "wrong"
    NO_ANSWER = "no_answer"
    """The text ended by itself without an answer in the form asked for."""
    TRUNCATED = "truncated"
    """Cut off by the token cap (or the cap on steps) before an answer in the form asked for."""
    UNGRADABLE = "ungradable"
    """An answer that could not be read as an expression, or ran into the grader's limits."""


@dataclass(frozen=True, slots=True)
class Gold:
    """A right answer, and what its benchmark says about comparing (`unit`, `tolerance`)."""

    answer: str
    meta: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def of(cls, problem: PromptAnswer) -> "Gold":
        """The right answer of a problem."""
        return cls(problem.answer, problem.meta)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A text to be judged, cut to where an answer is looked for.

    `bare`: the text is the answer itself, with no box or other mark around it.
    """

    text: str
    finish_reason: FinishReason
    gold: Gold
    bare: bool = False


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict with the answer it is about, None where there was none.

    `reason` says why an answer is `UNGRADABLE`.
    """

    verdict: Verdict
    extracted: str | None
    reason: str | None = None


Pair = tuple[Gold, str]


@dataclass(frozen=True, slots=True)
class Grader:
    """A way to find and compare answers.

    `gold` brings a benchmark's answer into the form compared, and raises ValueError on one that is
    no answer; `extract` finds the model's; `compare` decides (gold, extracted) pairs. `is_math`
    where expressions are compared, so that one may be unreadable.
    """

    name: str
    description: str
    gold: Callable[[str], str]
    extract: Callable[[str], str | None]
    compare: Callable[[Sequence[Pair]], list[Verdict]]
    is_math: bool = False

    def unreadable(self, answer: str) -> str | None:
        """Why an answer, such as a gold one, cannot be read, None where it can."""
        if not self.is_math:
            return None
        rules: Literal["math", "drgrpo"] = "drgrpo" if self.name == "drgrpo" else "math"
        return expressions.unreadable(rules, _from_numpy(answer))


_LIST_COMMA = re.compile(r",(?=\d)")


def _same(pairs: Sequence[Pair]) -> list[Verdict]:
    return [_right(gold.answer == found) for gold, found in pairs]


def _right(equal: bool) -> Verdict:
    return Verdict.CORRECT if equal else Verdict.WRONG


def _integer_gold(answer: str) -> str:
    found = read_integer(answer)
    if found is None:
        raise ValueError(f"answer {answer!r} is not an integer")
    return found


def _aime_gold(answer: str) -> str:
    # A public copy of the data has `336^\\circ` among its answers.
    found = plain_integer(answer) or _aime_extract(f"\\boxed{{{answer}}}")
    if found is None or not 0 <= int(found) <= 999:
        raise ValueError(f"answer {answer!r} is no AIME answer, expected an integer from 0 to 999")
    return found


def _aime_extract(text: str) -> str | None:
    found = extract_aime_answer(text)
    return None if found is None else str(found)


def _boxed(text: str) -> str | None:
    return expressions.find_answer("exact", text)


def _integer_extract(text: str) -> str | None:
    # A box with something else in it is an answer, and a wrong one.
    boxed = _boxed(text)
    return None if boxed is None else read_integer(boxed) or boxed


def _gsm8k_gold(answer: str) -> str:
    found = extract_gsm8k_answer(answer if "####" in answer else f"#### {answer}")
    if found is None:
        raise ValueError(f"answer {answer[-40:]!r} has no number after ####")
    return found


def _gsm8k_extract(text: str) -> str | None:
    return expressions.find_answer("gsm8k", text)


def _gsm8k(pairs: Sequence[Pair]) -> list[Verdict]:
    """Equal as numbers, whatever name, currency or unit stands around them."""
    verdicts = expressions.grade_batch("gsm8k", [(gold.answer, found) for gold, found in pairs])
    return [_right(verdict is expressions.Verdict.CORRECT) for verdict in verdicts]


def _equal_numbers(
    gold: Gold, found: str, relative: float = 0.0, *, is_bare_unit: bool = True
) -> bool:
    expected = parse_number(gold.answer)
    value = parse_quantity(found, is_bare_unit=is_bare_unit)
    if expected is None or value is None:
        return False
    absolute = gold.meta.get("tolerance", 0.0)
    assert isinstance(absolute, float)
    return close(value, expected, relative=relative, absolute=absolute)


def _math_gold(answer: str) -> str:
    text = answer.strip()
    if not text:
        raise ValueError("answer is empty")
    return text


def _math(pairs: Sequence[Pair]) -> list[Verdict]:
    """Equal as expressions, by math-verify, within its limits of time and memory."""
    return _compared("math", pairs)


def _published(pairs: Sequence[Pair]) -> list[Verdict]:
    """Equal by Dr. GRPO's published rules, within the same limits."""
    return _compared("drgrpo", pairs)


def _compared(rules: Literal["math", "drgrpo"], pairs: Sequence[Pair]) -> list[Verdict]:
    verdicts = expressions.grade_batch(rules, [(gold.answer, found) for gold, found in pairs])
    known = {
        expressions.Verdict.CORRECT: Verdict.CORRECT,
        expressions.Verdict.WRONG: Verdict.WRONG,
    }
    return [known.get(verdict, Verdict.UNGRADABLE) for verdict in verdicts]


def _then_math(pairs: Sequence[Pair], is_equal: Sequence[bool]) -> list[Verdict]:
    """What is not equal as numbers is asked of math-verify."""
    rest = iter(_math([pair for pair, equal in zip(pairs, is_equal, strict=True) if not equal]))
    return [Verdict.CORRECT if equal else next(rest) for equal in is_equal]


def _minerva(pairs: Sequence[Pair]) -> list[Verdict]:
    # Its golds are rounded measurements; 1e-4 is the tolerance of Qwen2.5-Math's evaluation.
    typeset = [
        (Gold(_from_numpy(gold.answer), gold.meta), _from_numpy(found)) for gold, found in pairs
    ]
    return _then_math(typeset, [_equal_numbers(*pair, relative=1e-4) for pair in typeset])


def _from_numpy(text: str) -> str:
    return text.replace("np.", "\\")


def _olympiad_gold(answer: str) -> str:
    # It writes no thousands with commas, so that `27,54,108` is a list.
    return _LIST_COMMA.sub(", ", _math_gold(answer.strip().rstrip(".").replace("$", "")))


def _olympiad(pairs: Sequence[Pair]) -> list[Verdict]:
    has_unit = [bool(gold.meta.get("unit")) for gold, _ in pairs]
    is_equal = [
        _equal_numbers(*pair, is_bare_unit=unit) for pair, unit in zip(pairs, has_unit, strict=True)
    ]
    unitless = [
        (gold, without_unit(found) if unit else found)
        for (gold, found), unit in zip(pairs, has_unit, strict=True)
    ]
    return _then_math(unitless, is_equal)


GRADERS = {
    grader.name: grader
    for grader in (
        Grader("aime", "strict integer 0-999 in the last box", _aime_gold, _aime_extract, _same),
        Grader("boxed_integer", "integer in the last box", _integer_gold, _integer_extract, _same),
        Grader(
            "gsm8k", "number in the last box or after ####", _gsm8k_gold, _gsm8k_extract, _gsm8k
        ),
        Grader("exact", "same text in the last box", _math_gold, _boxed, _same),
        Grader("math", "equal expression in the last box", _math_gold, _boxed, _math, True),
        Grader(
            "drgrpo",
            "in the last box, by Dr. GRPO's published rules",
            _math_gold,
            box_answer,
            _published,
            True,
        ),
        Grader("minerva", "as math, numbers to 1 in 10000", _math_gold, _boxed, _minerva, True),
        Grader(
            "olympiad",
            "as math, with units and tolerances",
            _olympiad_gold,
            _boxed,
            _olympiad,
            True,
        ),
    )
}


def get_grader(name: str) -> Grader:
    """A grader by name; ConfigError naming the known ones."""
    if name not in GRADERS:
        raise ConfigError(f"unknown grader {name!r}; known: {', '.join(GRADERS)}")
    return GRADERS[name]


def judge(grader: Grader, candidates: Sequence[Candidate]) -> list[Judgement]:
    """The verdicts on texts. An answer given before a cut-off is graded like any other."""
    found = [_extracted(grader, candidate) for candidate in candidates]
    pairs = [(c.gold, text) for c, text in zip(candidates, found, strict=True) if text is not None]
    verdicts = iter(grader.compare(pairs))
    return [
        Judgement(_without_answer(candidate), None)
        if text is None
        else _judged(grader, candidate.gold.answer, text, next(verdicts))
        for candidate, text in zip(candidates, found, strict=True)
    ]


def _extracted(grader: Grader, candidate: Candidate) -> str | None:
    """The answer in a text; a bare one is read as if it stood in a box."""
    found = grader.extract(candidate.text)
    if found is not None or not candidate.bare:
        return found
    return grader.extract(f"\\boxed{{{candidate.text}}}") or candidate.text.strip() or None


def _judged(grader: Grader, gold: str, answer: str, verdict: Verdict) -> Judgement:
    if verdict is not Verdict.UNGRADABLE:
        return Judgement(verdict, answer)
    for name, text in (("gold answer", gold), ("answer", answer)):
        reason = grader.unreadable(text)
        if reason is not None:
            return Judgement(verdict, answer, f"the {name} cannot be read: {reason}")
    return Judgement(verdict, answer, "past the grader's limits of time, memory or size")


def _without_answer(candidate: Candidate) -> Verdict:
    return Verdict.TRUNCATED if candidate.finish_reason == "length" else Verdict.NO_ANSWER
