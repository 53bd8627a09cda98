r"""RLVR of a small pretrained model on GSM8K: it runs, is resumed, evaluates; what it gained.

SmolLM2-135M-Instruct, its weights de-quantised from Q4_1, asked for one sentence with a number. It
is too small to solve these problems: what a few steps can move is the form. Each
command is run once, on one thread; what is done in the working folder is not done again.

    OMP_NUM_THREADS=1 python benchmarks/rlvr_small_model.py --data gsm8k --work rlvr-road \
        --output docs/benchmarks/rlvr-small-model.md
"""

import argparse
import json
import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from machine import processor
from small_model import metrics, run

ASK = "{problem}\n\nAnswer in one short sentence that ends with the number.\n"
"""The prompt template, a text file."""
FORM = '''"""Rewards for a sentence: whether it ends in a number, and whether in the right one."""

import re

NUMBER = re.compile(r"\\d[\\d,]*(?:\\.\\d+)?")


def last(text: str) -> str | None:
    """The last number of a text, without separators."""
    found = NUMBER.findall(text)
    return found[-1].replace(",", "") if found else None


def right(completions: list[str], answer: list[str], **_: object) -> list[float]:
    """1 where the last number is that of the answer's last line."""
    return [
        float(last(text) == last(gold)) for text, gold in zip(completions, answer, strict=True)
    ]


def short(completions: list[str], truncated: list[bool], **_: object) -> list[float]:
    """1 for a completion that ends by itself with a number in its last ten words."""
    return [
        float(not cut and last(" ".join(text.split()[-10:])) is not None)
        for text, cut in zip(completions, truncated, strict=True)
    ]
'''
"""Rewards of the user's own: this model writes no boxes."""
TRAIN = (
    "srl-grpo train --model smollm2 --data gsm8k --problem-field question --answer-field answer "
    "--template ask.txt --reward form.py:right --reward form.py:short "
    "--reward-weights 1 --reward-weights 0.2 --batch-size 2 --group-size 4 "
    "--max-prompt-length 200 --max-new-tokens 64 --sampling-temperature 0.7 --top-p 0.9 --lr 2e-6 "
    "--max-rounds 2 --max-starved-steps 0 --train-max-samples 200 --test-max-samples 4 "
    "--eval-samples 2 --eval-steps {last} --saving-steps {last} --seed 42 --output-dir rlvr"
)
ROAD = {
    "model": "scripts/get_small_model.py --output smollm2",
    "train": f"{TRAIN} --num-steps {{first}}",
    "resume": f"{TRAIN} --num-steps {{last}} --resume auto",
}
"""The commands by name, run in the working folder."""
ROWS = {
    "reward": "reward of the sampled completions",
    "reward/right": "share of right answers",
    "reward/short": "share that ends in a number by itself",
    "completions/mean_length": "tokens",
    "completions/clipped_ratio": "share cut off at 64 tokens",
    "sampling/kept_tokens": "tokens that one was drawn from (top-p 0.9)",
    "sampling/logprob_difference": "sampler against trainer, nats per token",
    "kept": "groups trained on, of 2",
    "eval/reward": "held-out reward",
    "eval/reward/right": "held-out right answers",
    "eval/reward/short": "held-out answers that end in a number",
}
"""Metrics, in words."""


def prepare(data: Path, work: Path) -> None:
    """Lay data, template and reward into the working folder."""
    work.mkdir(parents=True, exist_ok=True)
    (work / "gsm8k").mkdir(exist_ok=True)
    for split in ("train", "test"):
        shutil.copyfile(data / f"{split}.jsonl", work / "gsm8k" / f"{split}.jsonl")
    (work / "ask.txt").write_text(ASK)
    (work / "form.py").write_text(FORM)


def shown(line: dict[str, float], name: str) -> str:
    """A metric of a step as the table has it; a dash where the step has none."""
    if name == "kept":
        per_group, keep = line.get("sampling/prompts_per_kept_group"), line["sampling/keep_rate"]
        return "0" if per_group is None or not keep else f"{2 - int(line['sampling/starved'])}"
    value = line.get(name)
    if value is None:
        return "–"
    return f"{value:.1e}" if 0 < abs(value) < 0.001 else f"{value:.3f}"


def table(lines: Sequence[dict[str, float]]) -> list[str]:
    """A row per metric, a column per step."""
    heads = " | ".join(f"step {line['step']:.0f}" for line in lines)
    rows = [f"| | {heads} |", "|---|" + "--:|" * len(lines)]
    for name, words in ROWS.items():
        rows.append(f"| {words} | {' | '.join(shown(line, name) for line in lines)} |")
    return rows


def times(work: Path) -> list[str]:
    """What each command took."""
    lines = ["| command | CPU time | wall time | load of the machine |", "|---|--:|--:|--:|"]
    for name in ("train", "resume"):
        found = json.loads((work / f"{name}.time.json").read_text())
        cpu, wall = (f"{found[key] / 60:.1f} min" for key in ("cpu", "wall"))
        lines.append(f"| {name} | {cpu} | {wall} | {found['load']:.1f} |")
    return lines


def page(work: Path, commands: Mapping[str, str]) -> str:
    """The page with commands, table and times."""
    intro = (
        "`python benchmarks/rlvr_small_model.py`: SmolLM2-135M-Instruct, de-quantised from Q4_1 "
        "(so these are no figures of the original model), 2 prompts × 4 completions of at most 64 "
        f"tokens on GSM8K. {processor()}, one thread, float32, torch {version('torch')}, "
        f"transformers {version('transformers')}. The run was ended on the way and resumed."
    )
    words = ["```text", *commands.values(), "```"]
    parts = [
        ["# Reinforcement learning on answers with a small pretrained model"],
        [intro],
        words,
        table(metrics(work, "rlvr")),
        times(work),
    ]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def main() -> None:
    """Run what is not done yet, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="GSM8K's train.jsonl, test.jsonl")
    parser.add_argument("--work", type=Path, required=True, help="folder of model and run")
    parser.add_argument("--output", type=Path, required=True, help="the page, Markdown")
    parser.add_argument("--steps", type=int, default=4, help="of the whole run; at least 2")
    options = parser.parse_args()
    first, last = str(options.steps - 1), str(options.steps)
    commands = {
        name: command.replace("{first}", first).replace("{last}", last)
        for name, command in ROAD.items()
    }
    prepare(options.data, options.work)
    for name, command in commands.items():
        run(name, command, options.work)
    options.output.write_text(page(options.work, commands), "utf-8")


if __name__ == "__main__":
    main()
