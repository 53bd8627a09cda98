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

MEMORY_BYTES = 4 << 30
"""Address space past which an answer is refused rather than the machine filled."""


def main() -> None:
    """Say that the libraries are loaded, then answer pairs of gold and prediction."""
    _limit_memory()
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    logging.disable(logging.CRITICAL)
    import math_verify

    _write("ready")
    for line in sys.stdin:
        gold, prediction = json.loads(line)
        try:
            parsed = [_parse(math_verify, text) for text in (gold, prediction)]
            equal = all(parsed) and math_verify.verify(*parsed, timeout_seconds=None)
            _write("correct" if equal else "wrong" if all(parsed) else "unparsable")
        except Exception:  # noqa: BLE001 - whatever sympy raises on a model's text is a verdict
            _write("unparsable")


def _parse(math_verify: object, text: str) -> list[object]:
    parse = math_verify.parse  # type: ignore[attr-defined]
    result: list[object] = parse(f"\\boxed{{{text}}}", parsing_timeout=None)
    return result


def _write(verdict: str) -> None:
    sys.stdout.write(verdict + "\n")
    sys.stdout.flush()


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
