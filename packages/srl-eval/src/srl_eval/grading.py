r"""Verdicts on answers: grader and gold in, what was extracted and whether it holds out.

Extraction is `srl_reward.answer`'s; here is only which extraction and comparison a benchmark uses,
and what counts as what when there is no answer or the text was cut off.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from srl_data.errors import ConfigError
from srl_eval.generate.sampling import FinishReason
from srl_reward.answer import extract_aime_answer, extract_boxed, extract_gsm8k_answer


class Verdict(StrEnum):
    """What became of one sample. Only `CORRECT` counts for accuracy."""

    CORRECT = "correct"
    WRONG = "wrong"
    NO_ANSWER = "no_answer"
    """The text ended by itself without an answer in the form asked for."""
    TRUNCATED = "truncated"
    """Cut off by the token cap (or the cap on steps) before an answer in the form asked for."""
    UNGRADABLE = "ungradable"
    """An answer that the grader gave up on, within its limits of time and memory."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict with the answer it is about, None where there was none."""

    verdict: Verdict
    extracted: str | None


@dataclass(frozen=True, slots=True)
class Grader:
    """A way to find and compare answers.

    `gold` brings a benchmark's answer into the form compared, and raises ValueError on one that is
    no answer; `extract` finds the model's; `equal` (extracted, gold) decides.
    """

    name: str
    description: str
    gold: Callable[[str], str]
    extract: Callable[[str], str | None]
    equal: Callable[[str, str], bool]


_INTEGER = re.compile(r"([+-]?\d+)(?:\.0*)?", re.ASCII)
_LONGEST = 1000  # characters of an integer; what is longer is no benchmark's answer
_THOUSANDS = re.compile(r"(?<=\d)(?:,|\{,\}|\\,)(?=\d{3}(?!\d))")


def _same(extracted: str, gold: str) -> bool:
    return extracted == gold


def _aime_gold(answer: str) -> str:
    found = plain_integer(answer)
    if found is None or not 0 <= int(found) <= 999:
        raise ValueError(f"answer {answer!r} is no AIME answer, expected an integer from 0 to 999")
    return found


def _aime_extract(text: str) -> str | None:
    found = extract_aime_answer(text)
    return None if found is None else str(found)


def plain_integer(text: str) -> str | None:
    r"""The integer that a text is, in plain digits: `1{,}406`, `+7.0`, `$12$`; not `1/2`."""
    if len(text) > _LONGEST:
        return None
    match = _INTEGER.fullmatch(_THOUSANDS.sub("", text.strip().strip("$").strip()))
    return str(int(match[1])) if match else None


def _integer_gold(answer: str) -> str:
    found = plain_integer(answer)
    if found is None:
        raise ValueError(f"answer {answer!r} is no integer")
    return found


def _integer_extract(text: str) -> str | None:
    boxed = extract_boxed(text)
    if boxed is None:
        return None
    # A box with something else in it is an answer, and a wrong one.
    return plain_integer(boxed) or boxed.strip() or None


def _gsm8k_gold(answer: str) -> str:
    found = extract_gsm8k_answer(answer if "####" in answer else f"#### {answer}")
    if found is None:
        raise ValueError(f"answer {answer[-40:]!r} has no number after ####")
    return found


def _gsm8k_extract(text: str) -> str | None:
    boxed = extract_boxed(text)
    inner = None if boxed is None else extract_gsm8k_answer(f"#### {boxed}")
    return inner or extract_gsm8k_answer(text)


GRADERS = {
    grader.name: grader
    for grader in (
        Grader("aime", "strict integer 0-999 in the last box", _aime_gold, _aime_extract, _same),
        Grader("boxed_integer", "integer in the last box", _integer_gold, _integer_extract, _same),
        Grader(
            "gsm8k", "number in the last box, or after ####", _gsm8k_gold, _gsm8k_extract, _same
        ),
    )
}


def get_grader(name: str) -> Grader:
    """A grader by name; ConfigError naming the known ones."""
    if name not in GRADERS:
        raise ConfigError(f"unknown grader {name!r}; known: {', '.join(GRADERS)}")
    return GRADERS[name]


def judge(grader: Grader, text: str, gold: str, finish: FinishReason) -> Judgement:
    """The verdict on one text. An answer given before a cut-off is graded like any other."""
    extracted = grader.extract(text)
    if extracted is None:
        return Judgement(Verdict.TRUNCATED if finish == "length" else Verdict.NO_ANSWER, None)
    right = grader.equal(extracted, gold)
    return Judgement(Verdict.CORRECT if right else Verdict.WRONG, extracted)
