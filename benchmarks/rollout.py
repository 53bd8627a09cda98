"""Rollouts by three engines beside each other: vLLM, ours over transformers, plain `generate`.

One prompt and four, a group of completions each, all of the same length, drawn at temperature 1;
the engines take turns in one process, and the tokens are counted per second of processor time as
well as of wall time, since other work may share the machine. Left out: the weights' way to the
engine.

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

Generate = Callable[[list[list[int]], Sampling, Sequence[int]], int]
"""From a prompt and a seed per completion, and a sampling, to the number of tokens generated."""


@dataclass
class Engine:
    """One way to generate, and what it took."""

    generate: Generate
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    tokens: int = 0


def plain(model: PreTrainedModel) -> Generate:
    """`model.generate` of transformers, as a user would call it for a group."""

    def generate(rows: list[list[int]], sampling: Sampling, seeds: Sequence[int]) -> int:
        torch.manual_seed(seeds[0])
        ids = torch.tensor(rows)
        found = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            top_k=0,
            max_new_tokens=sampling.max_new_tokens,
            min_new_tokens=sampling.max_new_tokens,
            pad_token_id=0,
        )
        return int(found[:, len(rows[0]) :].numel())

    return generate


def through(engine: ChunkedEngine) -> Generate:
    """An engine of `srl_eval.generate`."""

    def generate(rows: list[list[int]], sampling: Sampling, seeds: Sequence[int]) -> int:
        return sum(len(row.token_ids) for row in engine.generate(rows, sampling, seeds))

    return generate


def measured(
    ways: dict[str, Generate], rows: list[list[int]], sampling: Sampling, rounds: int
) -> dict[str, Engine]:
    """A round that does not count, then `rounds` in which the engines take turns."""
    engines = {name: Engine(generate) for name, generate in ways.items()}
    for turn in range(rounds + 1):
        for engine in engines.values():
            wall, cpu = time.monotonic(), time.process_time()
            tokens = engine.generate(
                rows, sampling, range(turn * len(rows), (turn + 1) * len(rows))
            )
            if turn:
                engine.wall.append(time.monotonic() - wall)
                engine.cpu.append(time.process_time() - cpu)
                engine.tokens = tokens
    return engines


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


def page(cases: dict[str, dict[str, Engine]], command: str, load: float) -> str:
    """The page with the command, the machine and a table per case."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers"))
    machine = (
        f"{processor()}, {torch.get_num_threads()} threads, load {load:.0f} on "
        f"{os.cpu_count()} cores, float32, vLLM {installed_version()}, {versions}"
    )
    first = next(iter(next(iter(cases.values())).values()))
    rounds = (
        f"Medians of {len(first.wall)} rounds in which the engines take turns in one process. Load "
        "is what other work there was before it: read the ratios, and of them those of processor "
        "time."
    )
    tables = [line for name, case in cases.items() for line in ("", name, "", *table(case))]
    return "\n".join(
        [
            "# Rollouts: three engines",
            "",
            f"`{command}` on {machine}.",
            rounds,
            *tables,
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
    parser.add_argument("--prompts", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--prompt-tokens", type=int, default=512)
    parser.add_argument("--new-tokens", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    load, size = os.getloadavg()[0], options.prompt_tokens
    words = "A farmer sells eggs for two dollars each and keeps three for breakfast. " * 100
    ids = AutoTokenizer.from_pretrained(options.model)(words)["input_ids"]
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32).eval()
    most = max(options.prompts) * options.group
    vllm = VllmOptions(chunk_size=most, max_model_len=size + options.new_tokens)
    started = start_vllm(ModelSource(options.model), vllm)
    ways = {
        "vLLM": through(started),
        "ours over transformers": through(
            TransformersEngine(model, pad_token_id=0, chunk_size=most)
        ),
        "`model.generate`": plain(model),
    }
    cases: dict[str, dict[str, Engine]] = {}
    for count in options.prompts:
        # Each begins at another token: nothing is shared between prompts.
        rows = [ids[n : n + size] for n in range(count) for _ in range(options.group)]
        name = (
            f"{count} {'prompt' if count == 1 else 'prompts'} of {size} tokens, {options.group} "
            f"completions of {options.new_tokens} tokens each:"
        )
        cases[name] = measured(ways, rows, Sampling(options.new_tokens), options.rounds)
        print(name, *table(cases[name]), sep="\n", flush=True)
    options.output.write_text(page(cases, " ".join(["python", *sys.argv]), load), "utf-8")
    started.close()


if __name__ == "__main__":
    main()
