r"""One round of `srl-grpo expert-iteration` with a small pretrained model on GSM8K, stopped once.

SmolLM2-135M-Instruct, its weights de-quantised from Q4_1, asked 32 questions four times each, 64
tokens at most. The run is stopped by SIGTERM inside the round and resumed. What is done already in
the working folder is not done again.

    OMP_NUM_THREADS=1 python benchmarks/small_model_rounds.py --data gsm8k --work rounds \
        --output docs/benchmarks/small-model-rounds.md
"""

import argparse
import json
import shlex
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from itertools import islice
from pathlib import Path

from machine import processor
from srl_grpo.run.directory import RunDirectory

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = """{problem}

Think briefly, in one or two short sentences, then give the number in \\boxed{{}}.
"""
"""Sixty-four tokens hold no long solution."""
REWARD = '''import re


def last_number(completions, answer, truncated, **_):
    """1 where the last number of an answer that ends by itself is that of the gold's last line."""

    def of(text):
        found = re.findall(r"-?\\d[\\d,]*(?:\\.\\d+)?", text)
        return float(found[-1].replace(",", "")) if found else None

    return [
        float(not cut and of(text) is not None and of(text) == of(gold))
        for text, gold, cut in zip(completions, answer, truncated, strict=True)
    ]
'''
"""The model boxes next to nothing, so its last number counts, as in much of the literature."""
TAKEN = {"train.jsonl": 64, "test.jsonl": 12}
"""The first so many problems of each split."""
MODEL = "scripts/get_small_model.py --output smollm2"
ROUND = (
    "srl-grpo expert-iteration --model smollm2 --data gsm8k --problem-field question "
    "--answer-field answer --reward last_number.py:last_number --min-reward 1 "
    "--template short.txt --n-ei-steps 1 --batch-size 32 --num-rollouts 4 "
    "--max-new-tokens 64 --max-prompt-length 300 --chunk-size 32 "
    "--temperature 0.7 --sft-batch-size 8 --lr 2e-5 --rationalise --eval-limit 8 --before-after "
    "--output-dir ei"
)
RESUME = " --resume auto"
ROWS = {
    "ei/avg_reward": "mean reward of 128 answers",
    "ei/correct": "of them right and whole",
    "ei/solved": "of the 32 questions solved at least once",
    "completions/clipped_ratio": "of the answers cut off at 64 tokens",
    "ei/filtered_samples": "answers kept and trained on",
    "ei/rationalised": "of these with the answer as a hint",
    "ei/sft_loss": "loss on them, nats per token",
    "ei/sft_steps": "optimizer steps",
    "entropy": "entropy where they are predicted, nats per token",
    "ei/sample_entropy": "entropy of the sampler, nats per token",
    "ei/generated_tokens": "tokens generated",
    "ei/trained_tokens": "tokens trained on",
    "ei/eval_accuracy": "of 8 held-out questions right, greedy",
}
SHARES = ("ei/correct", "ei/solved", "completions/clipped_ratio", "ei/eval_accuracy")


def prepare(data: Path, work: Path) -> None:
    """Write the first problems of both splits, the template and the model."""
    (work / "gsm8k").mkdir(parents=True, exist_ok=True)
    for name, count in TAKEN.items():
        with (data / name).open(encoding="utf-8") as lines:
            (work / "gsm8k" / name).write_text("".join(islice(lines, count)), "utf-8")
    (work / "short.txt").write_text(TEMPLATE, "utf-8")
    (work / "last_number.py").write_text(REWARD, "utf-8")
    if not (work / "smollm2").exists():
        _, *words = shlex.split(MODEL)
        script = ROOT / "scripts/get_small_model.py"
        subprocess.run([sys.executable, script, *words], cwd=work, check=True)


def start(work: Path, command: str) -> "subprocess.Popen[bytes]":
    """Start one of our commands in the working folder."""
    program, *words = shlex.split(command)
    return subprocess.Popen([Path(sys.executable).with_name(program), *words], cwd=work)


def stop_inside(work: Path) -> None:
    """Begin the run and stop it by SIGTERM once the round's first answers are on disk."""
    process, kept = start(work, ROUND), RunDirectory(work / "ei").samples(1)
    while process.poll() is None and not list(kept.glob("*.zst")):
        time.sleep(1)
    process.send_signal(signal.SIGTERM)
    if process.wait() != 130:
        raise SystemExit(f"a run that is stopped ended with {process.returncode}, not 130")
    (work / "stopped.json").write_text(json.dumps(len(list(kept.glob("*.zst")))))


def figure(name: str, value: float) -> str:
    """A metric as the table has it."""
    if name in SHARES:
        return f"{value:.1%}"
    return f"{value:,.0f}" if value == int(value) and abs(value) >= 1 else f"{value:.3f}"


def page(work: Path) -> str:
    """The page with commands and figures."""
    (row,) = map(json.loads, (work / "ei/metrics.jsonl").read_text().splitlines())
    before = json.loads((work / "stopped.json").read_text())
    heads = [f"head -n {count} GSM8K/{name} > gsm8k/{name}" for name, count in TAKEN.items()]
    stopped = (
        f"Stopped by SIGTERM inside the round, when {before} of its 4 chunks of 32 answers without "
        "a hint were on disk, then resumed: those were read and not asked for again."
    )
    made = (
        "`python benchmarks/small_model_rounds.py`: SmolLM2-135M-Instruct, de-quantised from Q4_1 "
        "(so these are no figures of the original model), on the first problems of GSM8K. "
        f"{processor()}, one thread, float32, torch {version('torch')}, transformers "
        f"{version('transformers')}."
    )
    meaning = (
        "What is shown is that a round runs, stops and resumes with a real model, not that it "
        "learns: one of the 32 questions is answered right, by chance as its text shows, and the "
        "others that are kept repeat the hint."
    )
    figures = [f"| {words} | {figure(name, row[name])} |" for name, words in ROWS.items()]
    title = "# A small pretrained model: one round of expert iteration"
    shown = ["```bash", MODEL, *heads, "```", "", "```text", ROUND, "```"]
    template = ["The template `short.txt`:", "", "```text", TEMPLATE.strip(), "```", ""]
    reward = ["The reward `last_number.py`:", "", "```python", REWARD.strip(), "```"]
    table = ["| of the round | |", "|---|--:|", *figures, "", meaning, ""]
    return "\n".join([title, "", made, "", *shown, "", *template, *reward, "", stopped, "", *table])


def main() -> None:
    """Run what is not done yet, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="GSM8K's two files")
    parser.add_argument("--work", type=Path, required=True, help="folder of model and run")
    parser.add_argument("--output", type=Path, required=True, help="the page, Markdown")
    options = parser.parse_args()
    prepare(options.data, options.work)
    if not (options.work / "stopped.json").is_file():
        stop_inside(options.work)
    if start(options.work, ROUND + RESUME).wait() != 0:
        raise SystemExit("the resumed run failed")
    options.output.write_text(page(options.work), "utf-8")


if __name__ == "__main__":
    main()
