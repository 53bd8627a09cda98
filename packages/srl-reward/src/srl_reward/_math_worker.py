"""The child process that asks math-verify: one JSON line in, one out, until standard input ends.

It may hang or die on hostile input: `_math_pool` kills it then. math-verify's own timeouts are
signals that work in main threads only and may come late, so they are off.
"""

import json
import logging
import os
import sys
import threading
import time
from typing import TextIO

MEMORY_BYTES = 4 << 30
"""Address space past which an answer is refused rather than the machine filled."""


def main() -> None:
    """Say that the libraries are loaded, then answer pairs of gold and prediction."""
    _limit_memory()
    answers = _take_stdout()
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    logging.disable(logging.CRITICAL)
    expressions = _Expressions()
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        verdict = expressions.verdict(*json.loads(line))
        print(verdict, file=answers, flush=True)
        if verdict == "crashed":
            return


class _Expressions:
    """math-verify, reading a box's whole content or nothing of it."""

    def __init__(self) -> None:
        import math_verify

        self._library = math_verify
        # Without its other way of reading: that takes the last number of a text that is no LaTeX,
        # so that `t(0, 4]` was 4.
        self._ways = [math_verify.LatexExtractionConfig(boxed_match_priority=0)]

    def verdict(self, gold: str, prediction: str) -> str:
        """One word for the pipe."""
        try:
            parsed = [self._parse(text) for text in (gold, prediction)]
            if not all(parsed):
                return "unparsable"
            equal = self._library.verify(*parsed, timeout_seconds=None)
        except MemoryError:  # what filled it may be in sympy's caches now, at the next one's cost
            return "crashed"
        except Exception:  # noqa: BLE001 - whatever sympy raises on a model's text is a verdict
            return "unparsable"
        return "correct" if equal else "wrong"

    def _parse(self, text: str) -> list[object]:
        boxed = f"\\boxed{{{text}}}"
        result: list[object] = self._library.parse(boxed, self._ways, parsing_timeout=None)
        return result


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
