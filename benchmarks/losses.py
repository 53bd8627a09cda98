"""Each loss of the family on the arithmetic task: from one start, one seed, as many tokens.

Not to rank them: constants and learning rate are nobody's best. The table shows that each runs,
what becomes of the reward, and that a run continued from its middle ends with the same bits:
weights and metrics of every step after. The start is the quickstart's supervised stage.

    OMP_NUM_THREADS=1 python benchmarks/losses.py --output docs/benchmarks/losses.md
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import torch
import yaml
from safetensors.torch import load_file
from transformers.utils.logging import disable_progress_bar

from machine import processor
from srl_data.lock import FolderLock
from srl_grpo import presets
from srl_grpo.config.losses import PUBLISHED
from srl_grpo.config.train import TrainConfig
from srl_grpo.heldout.evaluation import means
from srl_grpo.learner import distributed
from srl_grpo.learner.distributed import World
from srl_grpo.run.session import Session
from srl_grpo.stages.loop import train_step
from srl_grpo.stages.rl import RLStage
from srl_grpo.stages.running import run_to_end
from srl_grpo.stages.train import TRAIN, open_run

SEED = 5
QUICKSTART = yaml.safe_load(files(presets).joinpath("quickstart.yaml").read_text("utf-8"))
ARITHMETIC = {
    **{name: QUICKSTART[name] for name in ("data", "synthetic", "rollout")},
    "seed": SEED,
    "tracking": {"tensorboard": False, "logging_steps": 1000},
    "checkpoint": {"checkpoint_every": 0},
}
SUPERVISED = QUICKSTART["warm_start"]["steps"]
PROMPTS, GROUP = (QUICKSTART["rollout"][name] for name in ("batch_size", "group_size"))
RATE = 2e-4
RATES = {"dr_grpo": 6e-5, "no_baseline": 2e-5}
"""Of the two that gained nothing, or lost, at that one: neither scales by a group's deviation."""
HELD_OUT = 600
"""Steps of held-out problems that an evaluation takes."""
ERROR = 0.02
"""About the standard error of a share of so many."""
CLOCKED = ("time", "per_second")
"""Parts of the names of metrics that are measured with a clock."""


@dataclass
class Row:
    """What one loss did."""

    name: str
    steps: int
    tokens: int
    after: dict[str, float]
    same: bool
    """Whether the run that was continued from its middle ended with the same bits."""
    seconds: float


def make_start(folder: Path, steps: int, world: World) -> Path:
    """The model that all begin with: a small one after its supervised stage."""
    tree = {
        **ARITHMETIC,
        "output_dir": folder,
        "num_steps": 1,
        "model": QUICKSTART["model"],
        "warm_start": {**QUICKSTART["warm_start"], "steps": steps},
        "rollout": {"batch_size": 1, "max_new_tokens": 32, "max_starved_steps": 0},
    }
    if not (folder / "sft/final").is_dir():
        lock = FolderLock()
        run_to_end(TrainConfig.model_validate(tree), TRAIN, world, lock)
        lock.release()
    return folder / "sft/final"


def config_of(name: str, start: Path, folder: Path, resume: Path | None = None) -> TrainConfig:
    """A run of a loss, with two optimizer steps a batch, so that ratios leave 1."""
    tree = {
        **ARITHMETIC,
        "output_dir": folder,
        "num_steps": 10_000,
        "model": {"dtype": "float32", "path": str(start)},
        "algorithm": {"loss": name, "train_batch_size": 64},
        "optimizer": {"learning_rate": RATES.get(name, RATE)},
        "evaluation": {"before_after": True, "eval_limit": HELD_OUT},
    }
    if resume is not None:
        tree["checkpoint"] = {"checkpoint_every": 0, "resume": str(resume)}
    return TrainConfig.model_validate(tree)


@contextmanager
def opened(config: TrainConfig, world: World) -> Iterator[tuple[Session[TrainConfig], RLStage]]:
    """A run that is ready to train, or to continue."""
    lock = FolderLock()
    with open_run(config, world, held=lock) as (session, stage, _):
        session.clock.restart(session.display.phase)
        yield session, stage
    lock.release()


def train_to(session: Session[TrainConfig], stage: RLStage, tokens: int) -> Path:
    """Whole steps until so many tokens are generated; the checkpoint then."""
    while session.state.num_tokens < tokens:
        train_step(session, stage)
    session.save()
    return session.directory.path / f"step_{session.state.step}"


def lines_of(run: Path, after: int) -> list[dict[str, float]]:
    """The metrics of the steps after one, without what a clock measured."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [
        {key: value for key, value in line.items() if not any(c in key for c in CLOCKED)}
        for line in lines
        if line["step"] > after
    ]


def same_bits(one: Path, other: Path) -> bool:
    """Whether two checkpoints hold the same weights."""
    a, b = (load_file(folder / "model.safetensors") for folder in (one, other))
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def measure(name: str, start: Path, work: Path, tokens: int, world: World) -> Row:
    """Train with a loss; once more from the middle of that run."""
    began = time.monotonic()
    whole, again = work / name, work / f"{name}-again"
    with opened(config_of(name, start, whole), world) as (session, stage):
        middle = train_to(session, stage, tokens // 2)
        end = train_to(session, stage, tokens)
        after, state = means(stage.evaluate()), session.state
    with opened(config_of(name, start, again, middle), world) as (session, stage):
        ended = train_to(session, stage, tokens)
    step = int(middle.name.removeprefix("step_"))
    same = same_bits(end, ended) and lines_of(whole, step) == lines_of(again, step)
    seconds = time.monotonic() - began
    return Row(name, state.step, state.num_tokens, after, same, seconds)


def held_out(start: Path, work: Path, world: World) -> dict[str, float]:
    """Held-out values of the model that all begin with."""
    with opened(config_of("dapo", start, work / "before"), world) as (_, stage):
        return means(stage.evaluate())


def table(rows: list[Row], before: dict[str, float]) -> str:
    """The rows as Markdown."""
    head = "| `--loss` | steps | tokens | reward | exact | continued from its middle |"
    lines = [head, "| --- | --: | --: | --: | --: | --- |"]
    for row in rows:
        shown = [
            f"{before[key]:.{digits}{kind}} to {row.after[key]:.{digits}{kind}}"
            for key, digits, kind in (("reward", 3, "f"), ("exact", 1, "%"))
        ]
        same = "the same bits" if row.same else "**other bits**"
        cells = [f"`{row.name}`", row.steps, f"{row.tokens:,}", *shown, same]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def page(rows: list[Row], before: dict[str, float], options: argparse.Namespace) -> str:
    """The whole page."""
    minutes = sum(row.seconds for row in rows) / 60
    risen = sum(row.after["exact"] > before["exact"] for row in rows)
    within = [row.name for row in rows if abs(row.after["exact"] - before["exact"]) < 2 * ERROR]
    unsure = f" ({', '.join(f'`{name}`' for name in within)} by less than twice its standard error)"
    others = ", ".join(f"`{name}` {rate:g}" for name, rate in RATES.items())
    batch = f"{PROMPTS} prompts of {GROUP} completions"
    return f"""# The losses on the arithmetic task

`python benchmarks/losses.py`: {processor()}, one thread, float32, torch {torch.__version__};
{minutes:.0f} minutes beside other work.

Each loss with the constants that it was published with, from one start (the quickstart's model
after {options.start_steps} supervised steps), one seed, {batch} a step in two
optimizer steps, whole steps until {options.tokens:,} tokens were generated, learning rate {RATE:g}
({others}, which gained nothing or lost at that one).
Reward and exact share are those of {HELD_OUT} held-out steps, sampled at temperature 1, before and
after. The last column compares the weights, and every metric of every later step, with a run
that was continued from a checkpoint in the middle.

{table(rows, before)}

The exact share rose under {risen} of {len(rows)}{unsure if within else ""}.
One seed, one learning rate: the standard error of such a share is about {100 * ERROR:.0f} points,
so that losses a few points apart are not ranked. It shows that each loss runs and resumes, and
which of them learned in so few tokens.
"""


def main() -> int:
    """Print the page, or write it; 1 where a continued run ended otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=100_000, help="tokens generated per loss")
    parser.add_argument(
        "--start-steps", type=int, default=SUPERVISED, help="supervised steps before"
    )
    parser.add_argument("--losses", nargs="+", default=list(PUBLISHED), choices=list(PUBLISHED))
    parser.add_argument("--work", type=Path, help="where runs stand; default a temporary folder")
    parser.add_argument("--output", type=Path, help="the page to write; default standard output")
    options = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    torch.set_num_threads(1)
    disable_progress_bar()
    world = distributed.start()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        start = make_start(work / "start", options.start_steps, world)
        before, rows = held_out(start, work, world), list[Row]()
        for name in options.losses:
            rows.append(measure(name, start, work, options.tokens, world))
            last = table(rows[-1:], before).splitlines()[-1]
            print(last, f"{rows[-1].seconds:.0f} s", file=sys.stderr)
    distributed.stop()
    text = page(rows, before, options)
    if options.output is None:
        print(text)
    else:
        options.output.write_text(text, "utf-8")
    return 0 if all(row.same for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
