"""Rollouts by three engines beside each other: vLLM, ours over transformers, plain `generate`.

One prompt, a group of completions, all of the same length, drawn at temperature 1; the engines take
turns in one process, and the tokens are counted per second of processor time as well as of wall
time, since other work may share the machine. Left out: the weights' way to the engine.

    python benchmarks/rollout.py --model smollm2 --output docs/benchmarks/rollout.md
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from machine import processor
from srl_eval.generate import ChunkedEngine, Sampling, TransformersEngine
from srl_eval.generate.folders import ModelSource
from srl_eval.generate.options import VllmOptions
from srl_eval.generate.vllm import start_vllm
from srl_eval.generate.vllm_settings import installed_version

Generate = Callable[[list[int], Sampling, Sequence[int]], int]
"""From a prompt, a sampling and a seed per completion to the number of tokens generated."""


@dataclass
class Engine:
    """One way to generate, and what it took."""

    generate: Generate
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    tokens: int = 0


def plain(model: PreTrainedModel) -> Generate:
    """`model.generate` of transformers, as a user would call it for a group."""

    def generate(prompt: list[int], sampling: Sampling, seeds: Sequence[int]) -> int:
        torch.manual_seed(seeds[0])
        ids = torch.tensor([prompt] * len(seeds))
        found = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            top_k=0,
            max_new_tokens=sampling.max_new_tokens,
            min_new_tokens=sampling.max_new_tokens,
            pad_token_id=0,
        )
        return int(found[:, len(prompt) :].numel())

    return generate


def through(engine: ChunkedEngine) -> Generate:
    """An engine of `srl_eval.generate`."""

    def generate(prompt: list[int], sampling: Sampling, seeds: Sequence[int]) -> int:
        rows = engine.generate([prompt] * len(seeds), sampling, seeds)
        return sum(len(row.token_ids) for row in rows)

    return generate


def measure(
    engines: dict[str, Engine], prompt: list[int], sampling: Sampling, group: int, rounds: int
) -> None:
    """A round that does not count, then `rounds` in which the engines take turns."""
    for turn in range(rounds + 1):
        for engine in engines.values():
            wall, cpu = time.monotonic(), time.process_time()
            tokens = engine.generate(prompt, sampling, range(turn * group, (turn + 1) * group))
            if turn:
                engine.wall.append(time.monotonic() - wall)
                engine.cpu.append(time.process_time() - cpu)
                engine.tokens = tokens


def table(engines: dict[str, Engine]) -> list[str]:
    """Tokens per second of each, medians over the rounds, and how many times the last one's."""
    last = list(engines.values())[-1]
    lines = [
        "| engine | tokens/s, wall | times | tokens/s of processor time | times |",
        "|---|--:|--:|--:|--:|",
    ]
    for name, engine in engines.items():
        cells = []
        for mine, theirs in ((engine.wall, last.wall), (engine.cpu, last.cpu)):
            seconds, times = statistics.median(mine), statistics.median(theirs)
            cells += [f"{engine.tokens / seconds:.0f}", f"{times / seconds:.1f}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def page(engines: dict[str, Engine], command: str, shape: str) -> str:
    """The page with the command, the machine and the table."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers"))
    machine = (
        f"{processor()}, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.0f} on "
        f"{os.cpu_count()} cores, float32, vLLM {installed_version()}, {versions}"
    )
    rounds = (
        f"Medians of {len(next(iter(engines.values())).wall)} rounds in which the engines take "
        "turns in one process. Other work shared the machine: read the ratios, and of them those "
        "of processor time."
    )
    return "\n".join(
        [
            "# Rollouts: three engines",
            "",
            f"`{command}` on {machine}.",
            f"{shape} {rounds}",
            "",
            *table(engines),
            "",
            "Ours computes the prompt once for the group, vLLM once but for its last block,",
            "`model.generate` once for each row.",
            "",
        ]
    )


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="folder of the model")
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--prompt-tokens", type=int, default=512)
    parser.add_argument("--new-tokens", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    words = "A farmer sells eggs for two dollars each and keeps three for breakfast. " * 100
    prompt = tokenizer(words)["input_ids"][: options.prompt_tokens]
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32).eval()
    window = options.prompt_tokens + options.new_tokens
    started = start_vllm(
        ModelSource(options.model), VllmOptions(chunk_size=options.group, max_model_len=window)
    )
    engines = {
        "vLLM": Engine(through(started)),
        "ours over transformers": Engine(through(TransformersEngine(model, pad_token_id=0))),
        "`model.generate`": Engine(plain(model)),
    }
    measure(engines, prompt, Sampling(options.new_tokens), options.group, options.rounds)
    shape = (
        f"One prompt of {len(prompt)} tokens, {options.group} completions of {options.new_tokens} "
        "tokens."
    )
    options.output.write_text(page(engines, " ".join(["python", *sys.argv]), shape), "utf-8")
    started.close()
    print("\n".join(table(engines)))


if __name__ == "__main__":
    main()
