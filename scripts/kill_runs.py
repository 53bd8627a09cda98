r"""Kill a small training run at random instants and compare its end with that of an unbroken one.

It is resumed each time. Metrics, rollouts and weights have to be the same, byte for byte.

    uv run python scripts/kill_runs.py --stage sft --kills 20
    .venv-vllm/bin/python scripts/kill_runs.py --stage train --kills 5 \
        --flags "--use-vllm --hidden-size 128 --num-heads 2 --num-kv-heads 2"

Two thirds of the kills come by the clock, one third inside the run's own writing: before the n-th
fsync, link or rename, n drawn at random. Times are the only metrics that are not compared.
"""

import argparse
import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from srl_grpo.run.directory import RunDirectory, read_rollouts

KILLED = Path(__file__).parents[1] / "packages" / "srl-grpo" / "tests" / "killed"
"""A config for each stage, the data and rewards that it names."""
STAGES = {path.stem: path for path in sorted(KILLED.glob("*.yaml"))}
COMMANDS = {"rlvr": "train"}
"""The command of a stage, where it is not called so itself."""

HOOK = """
import os, signal, sys
from pathlib import Path
limit, count = int(sys.argv.pop(1)), [0]
log = sys.argv.pop(1)
if sys.argv[1] == "expert-iteration":
    import srl_grpo.rollout.stored_engine as stored
    from srl_eval.generate import TransformersEngine
    from srl_eval.generate.vllm import VllmEngine
    def told(plain, line):
        def call(*arguments, **keywords):
            done = plain(*arguments, **keywords)
            with open(log + ".chunks", "a") as file:
                file.write(line(arguments) + chr(10))
            return done
        return call
    stored.write_rollouts = told(stored.write_rollouts, lambda found: found[0].name)
    for Engine in (TransformersEngine, VllmEngine):
        Engine.run_chunk = told(Engine.run_chunk, lambda _: "generated")
def hooked(plain):
    def call(*arguments, **keywords):
        count[0] += 1
        if count[0] == limit:
            os.kill(os.getpid(), signal.SIGKILL)
        return plain(*arguments, **keywords)
    return call
for name in ("fsync", "link", "rename", "replace"):
    setattr(os, name, hooked(getattr(os, name)))
from srl_grpo.cli import main
try:
    main()
finally:
    Path(log + '.count').write_text(str(count[0]))
"""
"""Runs the command, killed before its n-th write call; 0 kills never. The count is written down, of
expert iteration also each chunk that is generated or kept."""

SAME = ("config.json", "generation_config.json", "tokenizer.json", "srl_template.json")
"""Files of `final/` beside the weights; transformers writes into tokenizer_config.json whether the
tokenizer came from a folder, and the state names the run's own."""
KINDS = ("step_*", "ei_step_*")
"""Names of checkpoints."""
NOT_COMPARED = ("time", "seconds", "per_second")


@dataclass
class Runner:
    """A stage's command in a folder of its own."""

    stage: str
    folder: Path
    threads: str = "1"
    flags: tuple[str, ...] = ()
    """Laid over the stage's config."""

    def prepare(self) -> None:
        """Lay config and data into the folder."""
        shutil.copytree(KILLED, self.folder, dirs_exist_ok=True)

    def start(self, name: str, limit: int = 0) -> "subprocess.Popen[bytes]":
        """Begin or resume the run called `name`."""
        told, stage = str(self.folder / name), COMMANDS.get(self.stage, self.stage)
        command = [sys.executable, "-c", HOOK, str(limit), told, stage]
        options = ["--config", STAGES[self.stage].name, "--output-dir", name, "--resume", "auto"]
        environment = {**os.environ, "OMP_NUM_THREADS": self.threads}
        log = (self.folder / f"{name}.log").open("ab")
        with log:
            return subprocess.Popen(
                [*command, *options, *self.flags],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                env=environment,
            )

    def finish(self, name: str) -> None:
        """Run to the end; SystemExit with the log where it fails."""
        if self.start(name).wait() != 0:
            raise SystemExit((self.folder / f"{name}.log").read_text()[-3000:])

    def write_calls(self) -> int:
        """Write calls of the unbroken run."""
        return int((self.folder / "unbroken").with_suffix(".count").read_text())


def killed_by_clock(runner: Runner, name: str, after: float) -> bool:
    """Kill the run after so many seconds; False where it was done before."""
    process = runner.start(name)
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True
    return False


def killed_in_writing(runner: Runner, name: str, call: int) -> bool:
    """Kill the run before its `call`-th write call; False where it was done before."""
    return runner.start(name, call).wait() == -signal.SIGKILL


def comparable(run: Path) -> dict[str, object]:
    """What has to be the same: metrics but times, rollouts, weights, how the model is prompted."""
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    kept = [
        {name: value for name, value in row.items() if not any(t in name for t in NOT_COMPARED)}
        for row in metrics
    ]
    rollouts = {
        step: list(read_rollouts(path)) for step, path in RunDirectory(run).rollout_files().items()
    }
    final = {
        path.relative_to(run).as_posix(): path.read_bytes()
        for path in sorted((run / "final").rglob("*"))
        if path.suffix == ".safetensors" or path.name in SAME
    }
    checkpoints = sorted(path.name for kind in KINDS for path in run.glob(kind))
    chosen = {
        path.relative_to(run).as_posix(): path.read_bytes()
        for folder in ("samples", "kept")
        for path in sorted((run / folder).rglob("*.*"))
    }
    return {
        "metrics": kept,
        "rollouts": rollouts,
        "final": final,
        "checkpoints": checkpoints,
        "samples and pairs": chosen,
    }


def check_asked_once(folder: Path, name: str, kills: int) -> None:
    """AssertionError where expert iteration asked again for a chunk that was kept.

    A chunk that is generated when the kill comes, and not yet on the disk, is all that may be lost.
    """
    log = folder / f"{name}.chunks"
    lines = log.read_text().splitlines() if log.is_file() else []
    kept = [line for line in lines if line != "generated"]
    assert len(set(kept)) == len(kept), f"a chunk was kept twice, see {log}"
    generated = len(lines) - len(kept)
    whole = len(list((folder / name / "samples").rglob("*.zst")))
    assert generated <= whole + kills, f"{generated} chunks generated for {whole}, see {log}"


def kill_and_compare(
    stage: str, kills: int, seed: int, folder: Path, flags: tuple[str, ...] = ()
) -> list[str]:
    """Kill and resume; a line for each kill. AssertionError naming what came out otherwise."""
    runner, chooser, told = Runner(stage, folder, flags=flags), random.Random(seed), []
    runner.prepare()
    began = time.monotonic()
    runner.finish("unbroken")
    duration, calls = time.monotonic() - began, runner.write_calls()
    name, done = "killed", 0
    for number in range(kills):
        if number % 3 == 2:
            place = chooser.randint(1, max(1, calls // 3))  # a resumed run has fewer of them
            was = killed_in_writing(runner, name, place)
            told.append(f"kill {number + 1}: before write call {place} of {calls}: {was}")
        else:
            after = chooser.uniform(0, duration)
            was = killed_by_clock(runner, name, after)
            told.append(f"kill {number + 1}: after {after:.2f} of {duration:.2f} s: {was}")
        done += was
        if not was:  # it was done: the next kills hit a new run, and this one is compared
            compare(folder, name, done)
            name = f"killed_{number}"
    runner.finish(name)
    compare(folder, name, done)
    return [*told, f"{done} of {kills} kills hit a run that went on; all ends are the unbroken one"]


def compare(folder: Path, name: str, kills: int) -> None:
    """AssertionError where a run is not the unbroken one."""
    expected, found = comparable(folder / "unbroken"), comparable(folder / name)
    for part, value in expected.items():
        assert found[part] == value, f"{part} differ after {kills} kills, see {folder / name}"
    check_asked_once(folder, name, kills)


def main() -> None:
    """Parse, kill, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stage", choices=sorted(STAGES), default="sft")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--flags", default="", help="flags for every start, laid over the config")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="killed_runs_"))
    flags = tuple(shlex.split(options.flags))
    for line in kill_and_compare(options.stage, options.kills, options.seed, folder, flags):
        print(line, flush=True)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
