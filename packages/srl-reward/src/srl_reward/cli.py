"""`srl-reward score FILE.jsonl`: add reward and reason to each record, as a stream.

Exit codes: 0 done, 1 failed, 2 usage, 3 data missing or bad, 130 interrupted. Left out: any other
reward than those chosen by `--reward`, and any file format but JSON Lines.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TextIO

from srl_reward.reward import Reward
from srl_reward.similarity import METRICS

BATCH = 256
Record = dict[str, object]
REWARDS = ("step", "format", "boxed_think", "r1_zero", "answer")


class DataError(Exception):
    """Bad or missing input, with file, line and reason."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(argv)
    try:
        return _score(options)
    except DataError as error:
        return _fail(3, str(error))
    except KeyboardInterrupt:
        return _fail(130, "interrupted; what was written so far is complete lines")
    except BrokenPipeError:
        # The reader has gone, as `head` does. Keep Python from flushing into the closed pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (OSError, ImportError) as error:
        return _fail(1, str(error))


def _fail(code: int, message: str) -> int:
    sys.stderr.write(f"srl-reward: {message}\n")
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="srl-reward", description="Score model outputs.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    score = commands.add_parser(
        "score",
        help="add reward and reason to each record of a JSON Lines file",
        description="Add `reward`, `reason` and `exact` to each record, in order, on standard "
        "output. A record may also hold truncated, finish_reason, think_prefilled or prompt.",
    )
    add = score.add_argument
    add("file", metavar="FILE.jsonl", help="records, one JSON object a line; - is standard input")
    add("-o", "--output", metavar="FILE", type=Path, help="write here instead, once all is done")
    add("--reward", choices=REWARDS, default="step", help="which reward (default: step)")
    add("--completion", metavar="FIELD", default="completion", help="default: completion")
    add("--target", metavar="FIELD", help="default: target_step for step, answer for the others")
    add("--metric", choices=METRICS, default="ratio", help="similarity for step (default: ratio)")
    add("--grader", choices=("exact", "aime", "gsm8k", "math"), default="exact",
        help="how answer and r1_zero compare (default: exact)")  # fmt: skip
    add("--autojunk", action="store_true", help="difflib's heuristic, for step")
    add("--think-prefilled", action="store_true", help="the prompts ended with <think>")
    return parser


def _score(options: argparse.Namespace) -> int:
    target = options.target or ("target_step" if options.reward == "step" else "answer")
    reward = _reward(options, target)
    needed = [options.completion] + ([] if options.reward == "format" else [target])
    with _source(options.file) as source, _sink(options.output) as sink:
        progress = _Progress()
        records = _records(source, options.file, needed)
        while batch := list(islice(records, BATCH)):
            _score_batch(reward, batch, options.completion, target)
            sink.writelines(_line(record) for record in batch)
            sink.flush()
            progress.add(len(batch))
        progress.close()
    return 0


def _line(record: Record) -> str:
    """Write a record as JSON; lone surrogates are escaped, since UTF-8 has none."""
    text = json.dumps(record, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        text = json.dumps(record)
    return text + "\n"


def _reward(options: argparse.Namespace, target: str) -> Reward:
    from srl_reward.answer_reward import AnswerReward
    from srl_reward.format_reward import BoxedThinkReward, FormatReward, R1ZeroReward
    from srl_reward.step_reward import StepReward

    prefilled = True if options.think_prefilled else None
    if options.reward == "step":
        return StepReward(
            target,
            autojunk=options.autojunk,
            metric=options.metric,
            think_prefilled=prefilled,
        )
    if options.reward == "format":
        return FormatReward(think_prefilled=prefilled)
    if options.reward == "boxed_think":
        return BoxedThinkReward(target, think_prefilled=prefilled)
    if options.reward == "r1_zero":
        return R1ZeroReward(target, grader=options.grader, think_prefilled=prefilled)
    return AnswerReward(target, grader=options.grader, think_prefilled=prefilled)


def _score_batch(reward: Reward, batch: list[Record], completion: str, target: str) -> None:
    columns: dict[str, object] = {target: [record.get(target) for record in batch]}
    for name, column in (
        ("truncated", "truncated"),
        ("finish_reason", "finish_reason"),
        ("think_prefilled", "think_prefilled"),
        ("prompt", "prompts"),
    ):
        if any(name in record for record in batch):
            columns[column] = [record.get(name) for record in batch]
    completions = [record[completion] for record in batch]
    scored = reward.score(completions, **columns)  # type: ignore[arg-type]
    for record, each in zip(batch, scored, strict=True):
        record["reward"] = None if each is None else each.reward
        record["reason"] = None if each is None else each.reason
        record["exact"] = None if each is None else each.exact


def _records(lines: Iterable[bytes], name: str, needed: Sequence[str]) -> Iterator[Record]:
    """Read records, refusing the first bad line with its number and reason."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise DataError(f"{name}:{number}: not JSON: {error}") from error
        except RecursionError as error:
            raise DataError(f"{name}:{number}: JSON nested too deeply") from error
        if not isinstance(record, dict):
            raise DataError(f"{name}:{number}: {type(record).__name__}, expected an object")
        for field in needed:
            if field not in record:
                raise DataError(f"{name}:{number}: no field {field!r}, only {sorted(record)}")
        completion = record[needed[0]]
        if not _is_completion(completion):
            raise DataError(f"{name}:{number}: {needed[0]!r} is neither a text nor messages")
        yield record


def _is_completion(value: object) -> bool:
    if isinstance(value, list):
        return all(isinstance(message, dict) for message in value)
    return isinstance(value, str)


@contextmanager
def _source(name: str) -> Iterator[Iterable[bytes]]:
    if name == "-":
        yield sys.stdin.buffer
        return
    path = Path(name)
    if not path.exists() or path.is_dir():
        raise DataError(f"{name}: {'is a folder' if path.is_dir() else 'no such file'}")
    with path.open("rb") as file:
        yield file


@contextmanager
def _sink(path: Path | None) -> Iterator[TextIO]:
    """Open standard output, or a temporary file that takes the name once all is written."""
    if path is None:
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(encoding="utf-8", errors="surrogatepass")
        yield sys.stdout
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", errors="surrogatepass") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


class _Progress:
    """Records scored and pairs a second, on standard error if that is a terminal."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()
        self._start = self._last = time.monotonic()
        self._count = 0

    def add(self, count: int) -> None:
        self._count += count
        now = time.monotonic()
        if self._shown and now - self._last >= 0.2:
            self._last = now
            self._write("\r")

    def close(self) -> None:
        if self._shown:
            self._write("\r")
            sys.stderr.write("\n")

    def _write(self, prefix: str) -> None:
        rate = self._count / max(time.monotonic() - self._start, 1e-9)
        sys.stderr.write(f"{prefix}{self._count:,} records, {rate:,.0f} pairs a second ")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
