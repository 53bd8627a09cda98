r"""Whether a model's final answer is the gold one, by one of six graders.

`exact` compares strings, `aime` integers from 0 to 999, `boxed_integer` any integers, `gsm8k`
numbers with what people write around them; `math` asks math-verify (extra `[math]`) whether two
expressions are equal, in child processes that are killed at a hard limit; `drgrpo` follows Dr.
GRPO's published rules (`srl_reward.drgrpo`), there too. Verdicts of the children are cached by
(gold, prediction). Nothing here raises on a model's text.
"""

import re
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from enum import StrEnum
from fractions import Fraction
from importlib.util import find_spec
from typing import Literal, get_args

from srl_reward.answer import extract_aime_answer, extract_boxed, extract_gsm8k_answer
from srl_reward.drgrpo.form import answer_of
from srl_reward.expression.reader import read
from srl_reward.expression.tree import UnreadableError
from srl_reward.notation import is_same_text, plain
from srl_reward.numbers import parse_number, parse_quantity, read_integer

Grader = Literal["exact", "aime", "boxed_integer", "gsm8k", "math", "drgrpo"]
Pair = tuple[str, str]
"""A gold answer and a prediction."""
GRADERS: tuple[Grader, ...] = get_args(Grader)

NEEDED = {"math": ("math_verify",), "drgrpo": ("math_verify", "pylatexenc")}
"""Optional libraries of graders; that of `drgrpo` works in the same child processes."""

CACHE_SIZE = 1 << 16
MAX_CHARS = 2_000
"""A longer answer is not an answer."""


class Verdict(StrEnum):
    """What grading found."""

    CORRECT = "correct"
    WRONG = "wrong"
    UNPARSABLE = "unparsable"
    """One side isn't an answer that the grader can read."""
    TIMEOUT = "timeout"
    """math-verify had to be killed; not cached, since a busy machine may be the cause."""
    CRASHED = "crashed"
    """math-verify's process died, of memory for one."""


def check_grader(grader: str) -> None:
    """Refuse an unknown grader, and `math` and `drgrpo` where their libraries aren't installed.

    Raises:
        ValueError: The grader is unknown.
        ImportError: It needs the extra `[math]`.
    """
    if grader not in GRADERS:
        raise ValueError(f"grader is {grader!r}, expected one of {GRADERS}")
    for library in NEEDED.get(grader, ()):
        if find_spec(library) is None:
            raise ImportError(
                f"the grader {grader!r} needs {library.replace('_', '-')}: "
                "pip install 'srl-reward[math]'",
                name=library,
            )


def find_answer(grader: Grader, text: str) -> str | None:
    """Return the final answer a text gives, the last that it gives; an empty one is none.

    That is the last box, and for gsm8k a number after the last `####` where no box follows it.
    """
    if grader != "gsm8k":
        return _boxed(text)
    _, marked, after = text.rpartition("####")
    given = _marked_answer(after) if marked else None
    plain_number = extract_gsm8k_answer(text)
    if given is None or (plain_number and parse_quantity(given) == parse_number(plain_number)):
        given = plain_number
    return given or _boxed(text)


def _marked_answer(after: str) -> str | None:
    """What a `####` line says, read as a box would be: its box, or its number in any dress."""
    line = _TURN_END.sub("", after.strip(" \t").split("\n", 1)[0]).strip().strip("*").strip()
    boxed = _boxed(after)
    if boxed is not None:
        return boxed
    return line if parse_quantity(line) is not None else None


def _boxed(text: str) -> str | None:
    return (extract_boxed(text) or "").strip() or None


def grade(grader: Grader, gold: str, prediction: str, *, seconds: float = 5.0) -> Verdict:
    """Grade one answer; see `grade_batch`."""
    return grade_batch(grader, [(gold, prediction)], seconds=seconds)[0]


def grade_batch(
    grader: Grader, pairs: Sequence[tuple[str, str]], *, seconds: float = 5.0
) -> list[Verdict]:
    """Grade pairs of (gold answer, predicted answer), both without box or marks.

    Args:
        grader: Which of the six.
        pairs: Gold first.
        seconds: Hard limit for one pair under `math`.

    Raises:
        ValueError: The grader is unknown.
        ImportError: It needs the extra `[math]`.
    """
    check_grader(grader)
    if grader == "math":
        return _grade_math(pairs, seconds)
    if grader == "drgrpo":
        return _grade_published(pairs, seconds)
    return [_grade_plain(grader, gold.strip(), prediction.strip()) for gold, prediction in pairs]


def unreadable(grader: Grader, text: str) -> str | None:
    """Why a grader cannot read an answer, a gold one for example; None where it can.

    For `math` that is what neither our reader nor math-verify makes an expression of: only the same
    text is equal to it.

    Raises:
        ValueError: The grader is unknown.
        ImportError: It needs the extra `[math]`.
    """
    check_grader(grader)
    text = text.strip()
    if grader == "math":
        return _unread_expression(text)
    if grader == "drgrpo":
        return _unread_published(text)
    known = {"aime": _aime_value, "boxed_integer": read_integer, "gsm8k": _gsm8k_gold}.get(grader)
    return None if known is None or known(text) is not None else "it is no number of this grader's"


def _unread_published(text: str) -> str | None:
    if len(text) > MAX_CHARS:
        return f"it has more than {MAX_CHARS} characters"
    if "####" in text:
        return "these rules know no ####: give the number behind it alone"
    return None if answer_of(text) is not None else "its box is not closed"


def _unread_expression(text: str) -> str | None:
    if len(text) > MAX_CHARS:
        return f"it has more than {MAX_CHARS} characters"
    bare = plain(text)
    try:
        read(bare)
    except UnreadableError as error:
        from srl_reward._math_pool import shared_pool

        verdict = shared_pool().ask_all([(bare, bare)], 5.0)[0]
        return None if verdict == Verdict.CORRECT else str(error)
    return None


def _aime_value(text: str) -> int | None:
    return extract_aime_answer(f"\\boxed{{{text}}}")


def _grade_plain(grader: Grader, gold: str, prediction: str) -> Verdict:
    if grader == "exact":
        return Verdict.CORRECT if gold == prediction else Verdict.WRONG
    if grader == "aime":
        return _compare(_aime_value(gold), _aime_value(prediction))
    if grader == "boxed_integer":
        return _compare(read_integer(gold), read_integer(prediction))
    return _compare(_gsm8k_gold(gold), parse_quantity(prediction))


def _compare(gold: object, prediction: object) -> Verdict:
    if gold is None or prediction is None:
        return Verdict.UNPARSABLE
    return Verdict.CORRECT if gold == prediction else Verdict.WRONG


def _gsm8k_gold(answer: str) -> Fraction | None:
    number = extract_gsm8k_answer(answer if "####" in answer else f"#### {answer}")
    return None if number is None else parse_number(number)


class _Cache:
    """The latest verdicts of math-verify, for all threads."""

    def __init__(self) -> None:
        self._verdicts: OrderedDict[tuple[str, str], Verdict] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, pair: tuple[str, str]) -> Verdict | None:
        with self._lock:
            verdict = self._verdicts.get(pair)
            if verdict is not None:
                self._verdicts.move_to_end(pair)
            return verdict

    def put(self, pair: tuple[str, str], verdict: Verdict) -> None:
        with self._lock:
            self._verdicts[pair] = verdict
            if len(self._verdicts) > CACHE_SIZE:
                self._verdicts.popitem(last=False)


_cache, _published = _Cache(), _Cache()


def _grade_math(pairs: Sequence[Pair], seconds: float) -> list[Verdict]:
    keys = [(gold.strip(), prediction.strip()) for gold, prediction in pairs]
    verdicts = {key: _known(key) for key in keys}
    unknown = {
        key: (plain(key[0]), plain(key[1])) for key, verdict in verdicts.items() if verdict is None
    }
    asked = _ask_children("math", unknown, seconds, _cache)
    return [asked.get(key) or verdicts[key] or Verdict.UNPARSABLE for key in keys]


def _grade_published(pairs: Sequence[Pair], seconds: float) -> list[Verdict]:
    """By Dr. GRPO's rules; an answer that is too long to be one is not asked about."""
    known = {pair: _published.get(pair) for pair in pairs if max(map(len, pair)) <= MAX_CHARS}
    unknown = {pair: pair for pair, verdict in known.items() if verdict is None}
    asked = _ask_children("drgrpo", unknown, seconds, _published)
    return [asked.get(pair) or known.get(pair) or Verdict.UNPARSABLE for pair in pairs]


def _ask_children(
    rules: str, questions: Mapping[Pair, Pair], seconds: float, cache: _Cache
) -> dict[Pair, Verdict]:
    """The verdict on each question, under its key, and in the cache where it may be kept."""
    if not questions:
        return {}
    # Imported late: only these graders start processes.
    from srl_reward._math_pool import shared_pool

    answers = shared_pool().ask_all(list(questions.values()), seconds, rules)
    found = dict(zip(questions, map(Verdict, answers), strict=True))
    for key, verdict in found.items():
        if verdict not in (Verdict.TIMEOUT, Verdict.CRASHED):
            cache.put(key, verdict)
    return found


def _known(pair: tuple[str, str]) -> Verdict | None:
    gold, prediction = pair
    if gold == prediction:
        return Verdict.CORRECT
    if not prediction or max(len(gold), len(prediction)) > MAX_CHARS:
        return Verdict.UNPARSABLE
    if _INTEGER.fullmatch(gold) and _INTEGER.fullmatch(prediction):
        return Verdict.CORRECT if _is_same_integer(gold, prediction) else Verdict.WRONG
    known = _cache.get(pair)
    if known is None and is_same_text(plain(gold), plain(prediction)):
        return Verdict.CORRECT
    return known


_TURN_END = re.compile(r"(?:<\|[a-z_]+\|>|</s>|<eos>|<end_of_turn>)\s*$")
_INTEGER = re.compile(r"([-+]?)0*(\d+)", re.ASCII)


def _is_same_integer(gold: str, prediction: str) -> bool:
    """Whether two texts of digits are one number, of whatever length."""
    found = [_INTEGER.fullmatch(text) for text in (gold, prediction)]
    values = {(each[1] == "-" and each[2] != "0", each[2]) for each in found if each}
    return len(values) == 1
