"""The child process that compares answers: one JSON line in, one out, until standard input ends.

A line holds the rules (`math` or `drgrpo`), the gold answer and the prediction.
What our own reader reads is compared exactly (`srl_reward.expression`); math-verify is asked about
the rest, and its yes is checked. Either may hang or die on hostile input: `_math_pool` kills it
then. math-verify's own timeouts are signals that work in main threads only and may come late, so
they are off.
"""

import json
import logging
import os
import sys
import threading
import time
from typing import TextIO

from srl_reward.expression.tree import Node, UnreadableError
from srl_reward.notation.kept import keeps_signs

MEMORY_BYTES = 4 << 30
"""Address space past which an answer is refused rather than the machine filled."""


def main() -> None:
    """Say that the libraries are loaded, then answer questions."""
    _limit_memory()
    answers = _take_stdout()
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    logging.disable(logging.CRITICAL)
    expressions = _Expressions()
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        rules, gold, prediction = json.loads(line)
        ask = published_verdict if rules == "drgrpo" else expressions.verdict
        verdict = ask(gold, prediction)
        print(verdict, file=answers, flush=True)
        if verdict == "crashed":
            return


class _Expressions:
    """Our reader, then math-verify, which reads a box's whole content or nothing of it."""

    def __init__(self) -> None:
        import math_verify

        from srl_reward.expression.compare import same
        from srl_reward.expression.reader import read

        self._library, self._same, self._read = math_verify, same, read
        # Without its other way of reading: that takes the last number of a text that is no LaTeX,
        # so that `t(0, 4]` was 4.
        self._ways = [math_verify.LatexExtractionConfig(boxed_match_priority=0)]

    def verdict(self, gold: str, prediction: str) -> str:
        """One word for the pipe."""
        try:
            left, right = self._tree(gold), self._tree(prediction)
            if left is not None and right is not None:
                return "correct" if self._same(left, right) else "wrong"
            return self._asked(gold, prediction, is_gold_read=left is not None)
        except MemoryError:  # what filled it may be in sympy's caches now, at the next one's cost
            return "crashed"
        except Exception:  # noqa: BLE001 - whatever is raised on a model's text is a verdict
            return "unparsable"

    def _tree(self, text: str) -> Node | None:
        try:
            return self._read(text)
        except UnreadableError:
            return None

    def _asked(self, gold: str, prediction: str, *, is_gold_read: bool) -> str:
        """math-verify's verdict on a pair of which our reader does not read one side."""
        if not keeps_signs(gold, prediction):
            return "wrong" if is_gold_read or self._is_expression(gold) else "unparsable"
        parsed = [self._parse(text) for text in (gold, prediction)]
        if not is_gold_read and not _has_expression(parsed[0]):
            return "unparsable"
        if not all(parsed):
            return "unparsable"
        equal = self._library.verify(*parsed, timeout_seconds=None)
        return "correct" if equal else "wrong"

    def _is_expression(self, text: str) -> bool:
        return _has_expression(self._parse(text))

    def _parse(self, text: str) -> list[object]:
        boxed = f"\\boxed{{{text}}}"
        result: list[object] = self._library.parse(boxed, self._ways, parsing_timeout=None)
        return result


def published_verdict(gold: str, prediction: str) -> str:
    """One word for the pipe, by Dr. GRPO's rules (`srl_reward.drgrpo`)."""
    from srl_reward.drgrpo.grade import is_right

    try:
        return "correct" if is_right(gold, prediction) else "wrong"
    except MemoryError:
        return "crashed"
    except Exception:  # noqa: BLE001 - whatever is raised on a model's text is a verdict
        return "unparsable"


def _has_expression(parsed: list[object]) -> bool:
    """Whether more than the text itself was found."""
    return any(not isinstance(each, str) for each in parsed)


def _take_stdout() -> TextIO:
    """Keep the pipe for answers alone: what a library prints would be read as a verdict."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


if __name__ == "__main__":
    main()
