"""`srl-reward score FILE.jsonl`: add reward and reason to each record, as a stream.

Exit codes: 0 done, 1 failed, 2 usage, 3 data missing or bad, 130 interrupted. Left out: any other
reward than those chosen by `--reward`, and any file format but JSON Lines.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NoReturn

from srl_reward._jsonl import DataError, Line, open_sink, open_source, read_batches, write_lines
from srl_reward._progress import Progress
from srl_reward.completions import is_completion
from srl_reward.reward import Reward
from srl_reward.sequence import ratio_batch
from srl_reward.similarity import METRICS

REWARDS = ("step", "format", "boxed_think", "r1_zero", "answer")
COLUMNS = {
    "truncated": "truncated",
    "finish_reason": "finish_reason",
    "think_prefilled": "think_prefilled",
    "prompt": "prompts",
}
"""Optional fields of a record, and the columns that they are to a reward."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    try:
        return _score(_parser().parse_args(argv))
    except DataError as error:
        return _fail(3, str(error))
    except KeyboardInterrupt:
        return _fail(130, "interrupted")
    except BrokenPipeError:  # the reader has gone, as `head` does
        _drop_output()
        return 1
    except OSError as error:
        _drop_output()
        where = f"{error.filename}: " if error.filename else ""
        return _fail(1, f"{where}{error.strerror or error}")
    except (ImportError, RuntimeError) as error:
        return _fail(1, str(error))


def _fail(code: int, message: str) -> int:
    if sys.stderr is not None:
        sys.stderr.write(f"srl-reward: error: {message}\n")
    return code


def _drop_output() -> None:
    """Point a standard output that fails at nothing, since Python flushes it once more at exit."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Parser(argparse.ArgumentParser):
    """Errors in one line, as the other commands of the house write them."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"srl-reward: error: {message} (see {self.prog} --help)\n")


class _Version(argparse.Action):
    """`--version`; the metadata, slow to read, is read only when asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version

        sys.stdout.write(f"srl-reward, version {version('srl-reward')}\n")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="srl-reward", description="Score model outputs.")
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    score = commands.add_parser(
        "score",
        help="add reward and reason to each record of a JSON Lines file",
        description="Add `reward`, `reason` and `exact` to each record, in order, on standard "
        "output. A record may also hold truncated, finish_reason, think_prefilled or prompt.",
    )
    add = score.add_argument
    add("file", metavar="FILE.jsonl", help="records, one JSON object a line; - is standard input")
    add("-o", "--output", metavar="FILE", default="-",
        help="write here instead, once all is done")  # fmt: skip
    add("--reward", choices=REWARDS, default="step", help="which reward (default: step)")
    add("--completion", metavar="FIELD", default="completion", help="default: completion")
    add("--target", metavar="FIELD", help="default: target_step for step, answer for the others")
    add("--metric", choices=METRICS, default="ratio", help="similarity for step (default: ratio)")
    add("--grader", choices=("exact", "aime", "boxed_integer", "gsm8k", "math"), default="exact",
        help="how answer and r1_zero compare (default: exact)")  # fmt: skip
    add("--autojunk", action="store_true", help="difflib's heuristic, for step")
    add("--think-prefilled", action="store_true", help="the prompts ended with <think>")
    return parser


def _score(options: argparse.Namespace) -> int:
    if Path(options.output).is_dir():
        return _fail(2, f"--output {options.output} is a folder, expected a file")
    target = options.target or ("target_step" if options.reward == "step" else "answer")
    try:
        ratio_batch([], [])  # refuses a bad SRL_REWARD_THREADS
        reward = _reward(options, target)
    except ValueError as error:
        return _fail(2, str(error))
    needed = [options.completion] + ([] if options.reward == "format" else [target])
    with open_source(options.file) as source, open_sink(options.output) as sink:
        total = os.fstat(source.fileno()).st_size if options.file != "-" else None
        with closing(Progress(total, records_on_stdout=options.output == "-")) as progress:
            for batch in read_batches(source, options.file):
                _score_batch(reward, batch, needed)
                write_lines(sink, batch)
                progress.add(len(batch), sum(line.size for line in batch))
    return 0


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


def _score_batch(reward: Reward, batch: Sequence[Line], needed: Sequence[str]) -> None:
    """Add reward, reason and exact to each record; refuse the first that can't be scored."""
    for line in batch:
        for name in needed:
            if name not in line.record:
                raise DataError(f"{line.place}: no field {name!r}, only {sorted(line.record)}")
        if not is_completion(line.record[needed[0]]):
            raise DataError(f"{line.place}: {needed[0]!r} is neither a text nor messages")
        _check_target(reward, line)
    columns = {
        column: [line.record.get(name) for line in batch]
        for name, column in (*COLUMNS.items(), *((name, name) for name in needed[1:]))
        if any(name in line.record for line in batch)
    }
    completions = [line.record[needed[0]] for line in batch]
    try:
        scored = reward.score(completions, **columns)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        if len(batch) > 1:  # find the line
            for line in batch:
                _score_batch(reward, [line], needed)
        raise DataError(f"{batch[0].place}: {error}") from error
    for line, each in zip(batch, scored, strict=True):
        line.record["reward"] = None if each is None else each.reward
        line.record["reason"] = None if each is None else each.reason
        line.record["exact"] = None if each is None else each.exact


def _check_target(reward: Reward, line: Line) -> None:
    """Refuse a target step that no output could earn the whole reward for."""
    from srl_reward.step_reward import StepReward, target_fault

    if not isinstance(reward, StepReward):
        return
    target = line.record[reward.target]
    if isinstance(target, str) and (fault := target_fault(target)):
        raise DataError(
            f"{line.place}: {reward.target} {target[:40]!r} can never be rewarded: an exact copy "
            f"of it is no valid output ({fault}); give one step, without thinking"
        )


if __name__ == "__main__":
    sys.exit(main())
