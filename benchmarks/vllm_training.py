r"""Steps of reinforcement learning with rollouts by vLLM, beside the same by transformers.

The same config twice, on a CPU. After every sync vLLM and a transformers engine over the policy
itself complete the first prompts greedily; their tokens and log-probabilities are compared. A run
that is there already is not done again.

    OMP_NUM_THREADS=1 python benchmarks/vllm_training.py --model sft/final --data gsm8k.jsonl \
        --work runs --output docs/benchmarks/vllm-training.md
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from textwrap import wrap

import numpy as np

from machine import processor
from srl_eval.generate import Completion, Sampling, TransformersEngine
from srl_eval.generate.vllm_settings import installed_version
from srl_grpo.config.train import TrainConfig
from srl_grpo.learner import distributed
from srl_grpo.run.directory import read_rollouts
from srl_grpo.run.session import Session
from srl_grpo.stages.rl import RLStage
from srl_grpo.stages.running import train_and_compare
from srl_grpo.stages.train import open_run

NAMES = {"hf": "transformers", "vllm": "vLLM"}
PROMPTS, TOKENS = 2, 24
"""Of the greedy comparison after each sync."""


def config_of(options: argparse.Namespace, backend: str) -> TrainConfig:
    """The run: 2 prompts, 4 completions of each, 48 tokens."""
    return TrainConfig.model_validate(
        {
            "num_steps": options.steps,
            "output_dir": options.work / backend,
            "model": {"path": str(options.model)},
            "data": {"path": options.data, "max_prompt_length": 300},
            "rollout": {"batch_size": 2, "max_new_tokens": 48, "backend": backend},
            "optimizer": {"learning_rate": 1e-5},
            "checkpoint": {"checkpoint_every": 0},
            "tracking": {"tensorboard": False},
        }
    )


@dataclass
class Compared:
    """Greedy completions by vLLM and by transformers after one sync."""

    tokens: int = 0
    same: int = 0
    """Tokens before the first that differs."""
    largest: float = 0.0
    """Greatest distance of the log-probabilities of a token that is the same, in nats."""
    gap: float = 0.0
    """The same at the first token that differs: of a near-tie it is no more."""
    seconds: float = 0.0
    """What the comparison took."""

    def add(self, found: Completion, expected: Completion) -> None:
        """Count a row of both."""
        pairs = list(zip(found.token_ids, expected.token_ids, strict=False))
        alike = next((n for n, (a, b) in enumerate(pairs) if a != b), len(pairs))
        apart = np.abs(np.subtract(found.logprobs[: len(pairs)], expected.logprobs[: len(pairs)]))
        self.tokens += len(pairs)
        self.same += alike
        self.largest = max(self.largest, *apart[:alike], 0.0)
        self.gap = max(self.gap, *apart[alike : alike + 1], 0.0)


def compare(session: Session[TrainConfig], stage: RLStage) -> Compared:
    """Both engines on the first prompts."""
    began = time.monotonic()
    model, source = session.model, stage.source
    plain = TransformersEngine(session.engine.policy.model, pad_token_id=model.pad_id)
    greedy = Sampling(TOKENS, 0.0, stop_token_ids=source.sampling.stop_token_ids)
    prompts = [prompt.ids for prompt in source.prompts[:PROMPTS]]
    rows = [
        engine.generate(prompts, greedy, [0] * PROMPTS) for engine in (source.rollout.engine, plain)
    ]
    found = Compared()
    for pair in zip(*rows, strict=True):
        found.add(*pair)
    found.seconds = time.monotonic() - began
    return found


def run(options: argparse.Namespace, backend: str) -> None:
    """Train in this process; with vLLM, compare now and after every sync."""
    world = distributed.start()
    compared: list[Compared] = []
    began = time.process_time()
    with open_run(config_of(options, backend), world) as (session, stage, before_after):
        rollout = stage.source.rollout
        plain = rollout.sync

        def sync(engine: object) -> None:
            plain(engine)
            compared.append(compare(session, stage))

        if backend == "vllm":
            compared.append(compare(session, stage))
            rollout.sync = sync
        train_and_compare(session, stage, before_after)
    distributed.stop()
    told = {"cpu": time.process_time() - began, "compared": [asdict(each) for each in compared]}
    (options.work / f"{backend}.json").write_text(json.dumps(told))


def told_of(work: Path, backend: str) -> dict[str, object]:
    """What `run` wrote."""
    found: dict[str, object] = json.loads((work / f"{backend}.json").read_text())
    return found


def compared_of(work: Path, backend: str) -> list[dict[str, float]]:
    """The comparisons of a run, in order of its syncs."""
    found = told_of(work, backend)["compared"]
    assert isinstance(found, list)
    return found


def metrics(work: Path, backend: str) -> list[dict[str, float]]:
    """A run's metrics, step by step."""
    lines = (work / backend / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def group_rewards(work: Path, backend: str) -> np.ndarray:
    """The mean reward of each group that was sampled, kept or not."""
    groups: dict[tuple[int, int], list[float]] = {}
    for path in sorted((work / backend / "rollouts").glob("*.zst")):
        for place, row in enumerate(read_rollouts(path)):
            groups.setdefault((int(str(row["step"])), place // 4), []).append(
                float(str(row["reward"]))
            )
    return np.array([np.mean(rewards) for rewards in groups.values()])


def rewards_told(work: Path) -> list[str]:
    """Mean rewards over all groups with their standard errors, and whether they differ."""
    lines = [
        "| Rollouts by | groups | mean reward | its standard error |",
        "| --- | --: | --: | --: |",
    ]
    means, errors = [], []
    for backend, name in NAMES.items():
        values = group_rewards(work, backend)
        means.append(values.mean())
        errors.append(values.std(ddof=1) / np.sqrt(len(values)))
        lines.append(f"| {name} | {len(values)} | {means[-1]:.3f} | {errors[-1]:.3f} |")
    apart, error = abs(means[0] - means[1]), float(np.hypot(*errors))
    return [
        *lines,
        "",
        f"They differ by {apart:.3f}, {apart / error:.1f} standard errors of a difference.",
    ]


def course(values: Sequence[float]) -> str:
    """Means over five steps each."""
    means = [np.mean(values[start : start + 5]) for start in range(0, len(values), 5)]
    return ", ".join(f"{mean:.3f}" for mean in means)


def ratios_told(work: Path) -> list[str]:
    """The sampling ratio's distribution in both runs: the widest of all steps."""
    lines = [
        "| Rollouts by | mean | lowest p01 | highest p99 | max | greatest mean distance, nats |",
        "| --- | --: | --: | --: | --: | --: |",
    ]
    for backend, name in NAMES.items():
        rows = [row for row in metrics(work, backend) if "sampling/ratio_mean" in row]
        mean = np.mean([row["sampling/ratio_mean"] for row in rows])
        low = min(row["sampling/ratio_p01"] for row in rows)
        high, most, apart = (
            max(row[f"sampling/{key}"] for row in rows)
            for key in ("ratio_p99", "ratio_max", "logprob_difference")
        )
        lines.append(f"| {name} | {mean:.7f} | {low:.6f} | {high:.6f} | {most:.6f} | {apart:.1e} |")
    return lines


def times_told(work: Path) -> list[str]:
    """Median seconds of a step's phases, wall time."""
    phases = ("rollout", "update", "sync")
    lines = [
        f"| Rollouts by | {' | '.join(phases)} | tokens per second of rollout | CPU time, run |",
        "| --- | --: | --: | --: | --: | --: |",
    ]
    for backend, name in NAMES.items():
        rows = metrics(work, backend)
        extra = [float(each["seconds"]) for each in compared_of(work, backend)][1:]
        for row, seconds in zip((row for row in rows if "loss" in row), extra, strict=False):
            row["time/sync"] -= seconds
        medians = [np.median([row.get(f"time/{phase}", 0.0) for row in rows]) for phase in phases]
        tokens = rows[-1]["num_tokens"] / sum(row["time/rollout"] for row in rows)
        cells = " | ".join(f"{value:.2f} s" for value in medians)
        minutes = float(str(told_of(work, backend)["cpu"])) / 60
        lines.append(f"| {name} | {cells} | {tokens:.0f} | {minutes:.0f} min |")
    return lines


def parity_told(work: Path) -> list[str]:
    """What the greedy comparisons say."""
    found = [Compared(**each) for each in compared_of(work, "vllm")]
    tokens, same = sum(each.tokens for each in found), sum(each.same for each in found)
    split = [each for each in found if each.same < each.tokens]
    differs = max((each.gap for each in split), default=0.0)
    syncs = [row["sampling/sync_difference"] for row in metrics(work, "vllm") if "loss" in row]
    largest = max(each.largest for each in found)
    tie = f", at a token that differs {differs:.1e} (a near-tie)" if split else ""
    return wrap(
        f"{len(found)} syncs, the first one included, {PROMPTS} prompts after each. Of {tokens} "
        f"greedy tokens {same} come before the first that differs; after "
        f"{len(found) - len(split)} syncs all are alike. Log-probabilities of tokens that are "
        f"alike lie at most {largest:.1e} nats apart{tie}. The run's own check after each update "
        f"says at most {max(syncs):.1e}.",
        100,
    )


def page(options: argparse.Namespace) -> str:
    """The page."""
    work, first = options.work, ["hf", "vllm"]
    rewards = {NAMES[b]: course([row["reward"] for row in metrics(work, b)]) for b in first}
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers"))
    machine = f"{processor()}, float32, vLLM {installed_version()}, {versions}"
    return "\n".join(
        [
            "# Training with rollouts by vLLM",
            "",
            *wrap(
                f"`benchmarks/vllm_training.py`: {options.steps} steps of SRL, 2 prompts, 4 "
                "completions of each, at most 48 tokens, learning rate 1e-5, from SmolLM2-135M "
                "after `srl-grpo sft` ([how](small-model.md)), on GSM8K's lines as steps; once by "
                f"each engine, with the same seeds. {machine}, one thread; other work shared the "
                "machine.",
                100,
            ),
            "",
            "## Rewards",
            "",
            *rewards_told(work),
            "The same seed draws other tokens in the two engines. Means over five steps each:",
            "",
            *(f"- {name}: {values}" for name, values in rewards.items()),
            "",
            "## The same weights after every sync",
            "",
            *parity_told(work),
            "",
            "## The trainer's over the sampler's probability",
            "",
            *ratios_told(work),
            "",
            "## Time of a step, medians",
            "",
            *times_told(work),
            "",
            "A sync brings 135 million parameters, packs them for the CPU and checks eight tokens.",
            "The comparison above is not in it, but is in vLLM's CPU time.",
            "",
        ]
    )


def main() -> None:
    """Run what is not done yet, each in a process of its own, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="sft/final of small_model.py")
    parser.add_argument("--data", type=Path, required=True, help="its gsm8k.jsonl")
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--output", type=Path, required=True, help="the page, Markdown")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--only", choices=sorted(NAMES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    if options.only:
        run(options, options.only)
        return
    for backend in NAMES:
        if not (options.work / f"{backend}.json").is_file():
            command = [sys.executable, *sys.argv, "--only", backend]
            subprocess.run(command, check=True, env={"OMP_NUM_THREADS": "1", **os.environ})
    options.output.write_text(page(options), "utf-8")


if __name__ == "__main__":
    main()
