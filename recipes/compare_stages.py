r"""The stages of training side by side, from one start model, on a task made on the spot.

    OMP_NUM_THREADS=1 uv run recipes/compare_stages.py --work stages --output stages.md

Chains of five operations modulo 100 (`srl-data synth chain`): the expert writes bare results, the
start model works them out now and then. Untrained, supervised on the expert's steps, by
reinforcement on answers (RLVR) and on steps (SRL), one after the other, and for twice the time;
three seeds, the same problems for every arm. Each arm is the printed command. What is done is not
done again: a run that was cut short goes on at the command that it was in. Seeds may run side by
side, one core each: `--seeds 0`, `--seeds 1`, `--seeds 2` without `--output`, then all with it.

    … --arms start working sft_rlvr srl_rlvr      these arms, and what they start from
    … --choose                                    try the learning rates on validation problems
"""

import argparse
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from stages_arms import (
    ARMS,
    CHOICES,
    EVALUATIONS,
    PHASES,
    SECONDS,
    START,
    Arm,
    Command,
    data_command,
)
from stages_page import FIRSTS, accuracy, pooled, result, write_page

from srl_data.lock import FolderLock, LockedError

RATES = Path(__file__).with_name("compare_stages_rates.json")
CHOOSING_SEED = 100
"""The seed on which learning rates are chosen; no final one."""
SKILL = 0.9
"""What supervised training with the workings must reach: else the start model lacks the skill."""


@dataclass(frozen=True)
class Workshop:
    """The folder of one seed: its data, runs and evaluations."""

    work: Path
    seed: int
    rates: dict[str, float]
    held_out: str = "test"
    mark: str = ""
    """Behind the names of runs, where an arm is run several times."""

    @property
    def folder(self) -> Path:
        """Everything of the seed."""
        return self.work / f"seed_{self.seed}"

    def run(self, arm: Arm) -> Path:
        """The run folder of an arm."""
        if arm.name == START:
            return self.work / "start" / PHASES[-1].name
        return self.folder / f"{arm.name}{self.mark}"

    def evaluation(self, arm: Arm, mode: str) -> Path:
        """The folder of an arm's evaluation."""
        return self.folder / "results" / f"{arm.name}{self.mark}.{mode}"

    def prepare(self) -> None:
        """The seed's data."""
        data = self.folder / "data" / "chain.jsonl"
        do(data_command(data, self.seed), self.folder / "data", "data")

    def train(self, arm: Arm) -> None:
        """The arm's run, unless it was done."""
        if arm.name == START:
            return
        start = replace(self, mark="").run(ARMS[arm.start]) / "final"
        command = arm.command(self.folder / "data", start, self.rates, self.seed, self.run(arm))
        do(command, self.run(arm), arm.name)

    def evaluate(self, arm: Arm) -> None:
        """The arm's evaluations, unless they were done."""
        for mode, make in EVALUATIONS.items():
            data, folder = self.folder / "data", self.evaluation(arm, mode)
            do(make(data, self.held_out, self.run(arm) / "final", folder), folder, mode)


def do(command: Command, made: Path, name: str) -> None:
    """Run one command in a process of its own, unless it was done; keep what it took.

    The process is a fork of this one, which has imported what the commands import: a command that
    starts from nothing spends most of a small model's time on that.
    """
    note = made.with_name(f"{made.name}.{name}.json")
    if note.is_file():
        check_same(note, command)
        return
    shutil.rmtree(made, ignore_errors=True)  # of a run that was cut short
    made.parent.mkdir(parents=True, exist_ok=True)
    print(f"$ {command}", flush=True)
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        as_command(command, made.with_name(f"{made.name}.{name}.log"))
    try:
        _, status, used = os.wait4(child, 0)
    except KeyboardInterrupt:  # SIGTERM too: the command does not outlive this process
        os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)
        raise
    if os.waitstatus_to_exitcode(status):
        log = made.with_name(f"{made.name}.{name}.log").read_text("utf-8")
        raise SystemExit(f"{log[-2000:]}\nfailed: {command}")
    found = {
        "command": str(command),
        "wall": time.monotonic() - began,
        "processor": used.ru_utime + used.ru_stime,
    }
    note.write_text(json.dumps(found), "utf-8")


def check_same(note: Path, command: Command) -> None:
    """SystemExit where what was done is not what is asked for."""
    done = json.loads(note.read_text("utf-8"))["command"]
    if done != str(command):
        raise SystemExit(
            f"{note} is of another command:\n{done}\nasked for:\n{command}\n"
            "delete it to run this one, or give another --work"
        )


def as_command(command: Command, log: Path) -> None:
    """Be the command's process, to its end."""
    code = 1
    with log.open("w", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        sys.stdout = sys.stderr = file
        try:
            sys.argv = list(command.words)
            command.main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        finally:
            file.flush()
            os._exit(code)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """The only process in a folder within; SystemExit naming the other one where there is one."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FolderLock()
    try:
        lock.take(folder)
    except LockedError as error:
        raise SystemExit(str(error)) from error
    try:
        yield
    finally:
        lock.release()


def warm() -> None:
    """Import what the commands import, once."""
    import deepspeed  # noqa: F401
    import torch

    import srl_eval.display
    import srl_eval.run  # noqa: F401
    import srl_grpo.stages.train  # noqa: F401

    torch.set_num_threads(1)


def needed(names: Sequence[str]) -> Iterator[Arm]:
    """The arms of these names and those that they start from, each after its start."""
    wanted = set(names)
    while more := {ARMS[name].start for name in wanted if name != START} - wanted:
        wanted |= more
    return (arm for arm in ARMS.values() if arm.name in wanted)


def make_start(work: Path) -> None:
    """The start model: what its phases leave, one from the other."""
    before = None
    for number, phase in enumerate(PHASES):
        data, run = work / "start" / f"{phase.name}_data", work / "start" / phase.name
        do(data_command(data / "chain.jsonl", number, phase.drills, phase.sloppy), data, "data")
        do(phase.command(data, before, run), run, phase.name)
        before = run


def check_skill(shop: Workshop) -> None:
    """SystemExit where the start model cannot learn the task from its own kind of working."""
    arm = ARMS["working"]
    shop.train(arm)
    shop.evaluate(arm)
    score = accuracy(shop.evaluation(arm, "steps"))
    if score < SKILL:
        raise SystemExit(
            f"supervised training with the workings reaches {score:.2f}, expected {SKILL} or more: "
            f"the start model in {shop.work / 'start'} lacks the skill; give it a longer stream"
        )


def run_seed(shop: Workshop, arms: Sequence[Arm]) -> None:
    """Every arm of a seed, after the start model has been checked."""
    shop.prepare()
    check_skill(shop)
    for arm in arms:
        shop.train(arm)
        shop.evaluate(arm)


def choose(work: Path, names: Sequence[str]) -> None:
    """Try each arm's rates on validation problems; keep the best one of each, in their order."""
    chosen: dict[str, float] = json.loads(RATES.read_text("utf-8"))
    for name in names:
        found = {rate: tried(work, ARMS[name], {**chosen, name: rate}) for rate in CHOICES[name]}
        chosen[name] = max(found, key=lambda rate: found[rate])
        chosen |= {second: chosen[name] for second, of in SECONDS.items() if of == name}
        print(f"{name}: {found}, {chosen[name]:g} is chosen", flush=True)
        RATES.write_text(json.dumps(chosen, indent=2) + "\n", "utf-8")


def tried(work: Path, arm: Arm, rates: dict[str, float]) -> float:
    """The share of validation problems that an arm has right with these rates.

    By its own steps and in one answer, the mean of both.
    """
    shop = Workshop(work, CHOOSING_SEED, rates, "val_answers", f"_{rates[arm.name]:g}")
    shop.prepare()
    replace(shop, mark="").train(ARMS[arm.start])
    shop.train(arm)
    shop.evaluate(arm)
    return sum(accuracy(shop.evaluation(arm, mode)) for mode in EVALUATIONS) / len(EVALUATIONS)


def compare(work: Path, arms: Sequence[Arm], seeds: Sequence[int], mode: str) -> dict[str, Path]:
    """`srl-eval compare` over all seeds: its folders, by the arm that stands first."""
    pools = {
        arm.name: pooled(
            [result(work, seed, arm, mode) for seed in seeds], work / "pooled" / mode / arm.name
        )
        for arm in arms
    }
    done = {}
    for first in (name for name in FIRSTS if name in pools):
        folders = [pools[first], *(folder for name, folder in pools.items() if name != first)]
        into = work / "compared" / f"{mode}.{first}"
        shutil.rmtree(into, ignore_errors=True)
        into.with_name(f"{into.name}.compare.json").unlink(missing_ok=True)
        words = ("srl-eval", "compare", *map(str, folders), "--output-dir", str(into))
        do(Command(words), into, "compare")
        done[first] = into
    return done


def main() -> None:
    """Run what is not done yet, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of models and runs")
    parser.add_argument("--output", type=Path, help="the page, Markdown")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--choose", action="store_true", help="choose learning rates instead")
    options = parser.parse_args()
    warm()
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    with alone(options.work / "start"):
        make_start(options.work)
    arms = list(needed(options.arms))
    if options.choose:
        with alone(options.work / f"seed_{CHOOSING_SEED}"):
            choose(options.work, [arm.name for arm in arms if arm.name in CHOICES])
        return
    rates = json.loads(RATES.read_text("utf-8"))
    for seed in options.seeds:
        with alone(options.work / f"seed_{seed}"):
            run_seed(Workshop(options.work, seed, rates), arms)
    if options.output is not None:
        with alone(options.work):
            compared = {
                mode: compare(options.work, arms, options.seeds, mode) for mode in EVALUATIONS
            }
        words = " ".join(sys.argv[1:]).replace(f"{options.work.parent}/", "")
        asked = f"recipes/{Path(__file__).name} {words}"
        write_page(options.output, options.work, arms, options.seeds, compared, asked)


if __name__ == "__main__":
    main()
