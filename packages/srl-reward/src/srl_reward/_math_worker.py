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
    import math_verify

    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        verdict = _verdict(math_verify, *json.loads(line))
        print(verdict, file=answers, flush=True)
        if verdict == "crashed":
            return


def _verdict(math_verify: object, gold: str, prediction: str) -> str:
    try:
        parsed = [_parse(math_verify, text) for text in (gold, prediction)]
        if not all(parsed):
            return "unparsable"
        equal = math_verify.verify(*parsed, timeout_seconds=None)  # type: ignore[attr-defined]
        return "correct" if equal else "wrong"
    except MemoryError:  # what filled it may be in sympy's caches now, at the next answer's cost
        return "crashed"
    except Exception:  # noqa: BLE001 - whatever sympy raises on a model's text is a verdict
        return "unparsable"


def _parse(math_verify: object, text: str) -> list[object]:
    parse = math_verify.parse  # type: ignore[attr-defined]
    result: list[object] = parse(f"\\boxed{{{text}}}", parsing_timeout=None)
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
