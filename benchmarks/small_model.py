r"""A small pretrained model untrained, after `srl-grpo sft`, and after `srl-grpo train`.

SmolLM2-135M-Instruct, its weights de-quantised from Q4_1, on GSM8K's lines as numbered steps. The
commands are those of the guide; each is run once, on one thread, with its time. What is done
already in the working folder is not done again, so that a run that was cut short goes on.

    OMP_NUM_THREADS=1 python benchmarks/small_model.py --data gsm8k/train.jsonl --work road \
        --output docs/benchmarks/small-model.md
"""

import argparse
import json
import os
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.metadata import version
from itertools import islice
from pathlib import Path

from machine import processor

ROOT = Path(__file__).resolve().parent.parent
HELD_OUT = "--val-data gsm8k.val.jsonl --eval-limit 24 --max-new-tokens 80"
PROBLEMS = 600
"""The first so many are enough for a few hundred examples."""
ROAD = {
    "model": "scripts/get_small_model.py --output smollm2",
    "data": "srl-data build s1k --source problems.jsonl --steps gsm8k --field answer --targets all "
    "--val-size 60 --output gsm8k.jsonl",
    "sft": "srl-grpo sft --model smollm2 --data gsm8k.jsonl --max-seq-len 300 "
    "--batch-size 4 --gradient-accumulation-steps 1 --num-steps 60 --lr 5e-5 "
    f"{HELD_OUT} --before-after --output-dir sft",
    "train": "srl-grpo train --model sft/final --data gsm8k.jsonl --max-prompt-length 300 "
    "--batch-size 2 --group-size 4 --num-steps {steps} --lr 1e-5 "
    f"{HELD_OUT} --eval-every {{steps}} --output-dir srl",
}
"""The commands by name, run in the working folder."""
ROWS = {
    "loss": "loss of the expert's step, nats per token",
    "reward": "step reward, sampled",
    "greedy_reward": "step reward, greedy",
    "invalid": "invalid, sampled",
    "exact": "exact, sampled",
    "final_answer": "problems solved by its own steps",
}
"""Held-out metrics, in words."""
SHARES = ("invalid", "exact", "final_answer")


def run(name: str, command: str, work: Path) -> None:
    """Run one command, unless it was done; keep its time and how busy the machine was."""
    path = work / f"{name}.time.json"
    if path.is_file():
        return
    print(f"$ {command}", flush=True)
    program, *words = shlex.split(command)
    is_script = program.startswith("scripts/")
    start = [sys.executable, ROOT / program] if is_script else [beside(program)]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([*start, *words], cwd=work, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = {
        "wall": time.monotonic() - began,
        "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "load": os.getloadavg()[2],
    }
    path.write_text(json.dumps(found))


def take(data: Path, problems: Path) -> None:
    """Write the first problems of the data set."""
    with data.open(encoding="utf-8") as lines:
        problems.write_text("".join(islice(lines, PROBLEMS)), "utf-8")


def beside(program: str) -> Path:
    """A console script of the environment that runs this."""
    return Path(sys.executable).with_name(program)


def summary(work: Path) -> dict[str, dict[str, float]]:
    """Before and after of `sft`."""
    found: dict[str, dict[str, float]] = json.loads((work / "sft" / "summary.json").read_text())
    return found


def metrics(work: Path, run_folder: str) -> list[dict[str, float]]:
    """A run's metrics, step by step."""
    lines = (work / run_folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def last_evaluation(work: Path) -> dict[str, float]:
    """What `train` evaluated at its end, on the same records with the same seeds."""
    last = metrics(work, "srl")[-1]
    return {name.removeprefix("eval/"): found for name, found in last.items() if "eval/" in name}


def shown(name: str, values: Mapping[str, float]) -> str:
    """A metric's value as the table has it; a dash where a stage has none."""
    if name not in values:
        return "–"
    return f"{values[name]:.1%}" if name in SHARES else f"{values[name]:.3f}"


def table(*stages: Mapping[str, float]) -> list[str]:
    """A row per metric, a column per stage."""
    lines = ["| held out | untrained | after `sft` | after `train` |", "|---|--:|--:|--:|"]
    for name, words in ROWS.items():
        values = " | ".join(shown(name, found) for found in stages)
        lines.append(f"| {words} | {values} |")
    return lines


def times(work: Path) -> list[str]:
    """What each command took."""
    load = f"other work: load on {os.cpu_count()} cores"
    lines = [f"| command | CPU time | wall time | {load} |", "|---|--:|--:|--:|"]
    for name in ROAD:
        found = json.loads((work / f"{name}.time.json").read_text())
        cpu, wall = (f"{found[key] / 60:.1f} min" for key in ("cpu", "wall"))
        lines.append(f"| {name} | {cpu} | {wall} | {found['load']:.1f} |")
    return lines


def loss_course(work: Path) -> str:
    """The training loss of `sft` as means over ten steps each."""
    losses = [line["train/loss"] for line in metrics(work, "sft")]
    means = [sum(losses[start : start + 10]) / 10 for start in range(0, len(losses), 10)]
    return ", ".join(f"{mean:.3f}" for mean in means)


def page(work: Path, commands: Mapping[str, str]) -> str:
    """The page with commands, table and times."""
    sft = summary(work)
    return "\n".join(
        [
            "# A small pretrained model: from nothing to steps",
            "",
            (
                "`python benchmarks/small_model.py`: SmolLM2-135M-Instruct, de-quantised from Q4_1 "
                "(so these are no figures of the original model), on GSM8K's lines as "
                f"numbered steps. {processor()}, one thread, float32, torch {version('torch')}, "
                f"transformers {version('transformers')}."
            ),
            "",
            "```bash",
            f"head -n {PROBLEMS} gsm8k/train.jsonl > problems.jsonl",
            *commands.values(),
            "```",
            "",
            (
                f"{sft['instances']} held-out steps, of problems that were set aside before "
                f"({sft['problems']} of them solved by the model's own steps); sampled at "
                "temperature 1."
            ),
            "",
            *table(sft["before"], sft["after"], last_evaluation(work)),
            "",
            f"Loss while `sft` ran, means over ten steps: {loss_course(work)}.",
            "",
            *times(work),
            "",
        ]
    )


def main() -> None:
    """Run what is not done yet, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="GSM8K's train.jsonl")
    parser.add_argument("--work", type=Path, required=True, help="folder of models and runs")
    parser.add_argument("--output", type=Path, required=True, help="the page, Markdown")
    parser.add_argument("--train-steps", type=int, default=4)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    commands = {
        name: text.replace("{steps}", str(options.train_steps)) for name, text in ROAD.items()
    }
    take(options.data, options.work / "problems.jsonl")
    for name, command in commands.items():
        run(name, command, options.work)
    options.output.write_text(page(options.work, commands), "utf-8")


if __name__ == "__main__":
    main()
