"""Packed rows beside padded ones: tokens per second and memory of an update.

The same examples through the same updater, forward and backward, padded and packed in turn within
one process; gradients are compared by their norm. Counted are the examples' own tokens, processor
time and, for memory, the most bytes of live tensors above those of the model at rest, since the
process's own peak never falls. Left out: the optimizer's step, which is the same for both.

    OMP_NUM_THREADS=1 python benchmarks/packing.py --output docs/benchmarks/packing.md
"""

import argparse
import gc
import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile
from transformers import AutoConfig, AutoModelForCausalLM

from machine import processor
from srl_grpo.config.sections import EngineSection, OptimizerSection
from srl_grpo.learner import distributed
from srl_grpo.learner.batch import Sample
from srl_grpo.learner.engine import TrainingEngine
from srl_grpo.learner.policy import Policy
from srl_grpo.learner.updater import UpdateOptions, Updater
from srl_grpo.objective.likelihood import ResponseLoss

VOCABULARY = 4096
SHAPES: dict[str, Callable[[random.Random], int]] = {
    "alike, 120 to 128": lambda chance: chance.randint(120, 128),
    "even, 16 to 256": lambda chance: chance.randint(16, 256),
    "long tail, 32 to 512": lambda chance: min(512, int(32 * chance.paretovariate(1.0))),
    "16 to 64 beside one of 512": lambda chance: chance.randint(16, 64),
}
"""Lengths of examples, by name."""


@dataclass
class Way:
    """One way to lay out rows, and what it took."""

    updater: Updater
    seconds: list[float] = field(default_factory=list)
    bytes: int = 0
    computed: int = 0
    """Tokens of a pass, padding included."""
    norm: float = 0.0


def examples(name: str, count: int, seed: int) -> list[Sample]:
    """Examples whose first third is the prompt."""
    chance = random.Random(seed)
    lengths = [SHAPES[name](chance) for _ in range(count)]
    if "beside one" in name:
        lengths[0] = 512
    made = []
    for length in lengths:
        ids = tuple(chance.randrange(2, VOCABULARY) for _ in range(length))
        made.append(Sample(ids[: max(1, length // 3)], ids[max(1, length // 3) :]))
    return made


def make_engine(world: distributed.World) -> TrainingEngine:
    """A Qwen2 of 4 layers of 256."""
    config = AutoConfig.for_model(
        "qwen2",
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=1024,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    return TrainingEngine(Policy(model), EngineSection(), OptimizerSection(), world)


def accumulate(way: Way, samples: list[Sample]) -> None:
    """One pass, timed by the processor's clock; gradients are dropped after a look at them."""
    began = time.process_time()
    way.updater.accumulate(samples)
    way.seconds.append(time.process_time() - began)
    gradients = list(way.updater.engine.gradients().values())
    way.norm = float(torch.nn.utils.get_total_norm(gradients))
    clear(way.updater.engine)


def clear(engine: TrainingEngine) -> None:
    """Drop the gradients of a step that is not made."""
    for parameter in engine.policy.parameters():
        parameter.grad = None


def live_bytes(way: Way, samples: list[Sample]) -> int:
    """Most bytes of tensors alive at once in one pass, above those before it."""
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        way.updater.accumulate(samples)
    clear(way.updater.engine)
    result = seen.profiler.kineto_results if seen.profiler else None
    events = [e for e in result.events() if e.name() == "[memory]"] if result else []
    total = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        total += event.nbytes()
        most = max(most, total)
    return most


def computed(way: Way, samples: list[Sample]) -> int:
    """Tokens of a pass, padding included."""
    batches = way.updater.micro_batches(samples, way.updater.options.micro_batches)
    return sum(batch.input_ids_BT.numel() for batch in batches)


CUTS = {
    "budget 2,048": {"token_budget": 2048},
    "budget 16,384": {"token_budget": 16384},
    "4 micro-batches": {"micro_batches": 4},
}
"""Where a micro-batch ends, by name."""


def measure(engine: TrainingEngine, samples: list[Sample], cut: str, rounds: int) -> list[Way]:
    """Padded and packed in turn, after one pass each that is not counted."""
    ways = []
    for packing in (False, True):
        options = UpdateOptions(batch_size=len(samples), packing=packing, **CUTS[cut])
        ways.append(Way(Updater(engine, ResponseLoss(), options, pad_id=0)))
    for way in ways:
        accumulate(way, samples)
        way.seconds.clear()
    for _ in range(rounds):
        for way in ways:
            accumulate(way, samples)
    for way in ways:
        way.bytes, way.computed = live_bytes(way, samples), computed(way, samples)
    return ways


def line(name: str, cut: str, samples: list[Sample], ways: list[Way]) -> str:
    """A row of the table; ends the run where the two ways' gradients differ."""
    padded, packed = ways
    if abs(packed.norm - padded.norm) > 1e-4 * padded.norm:
        sys.exit(f"{name}: gradient norms {padded.norm} padded and {packed.norm} packed")
    tokens = sum(sample.length for sample in samples)
    rates = [tokens / statistics.median(way.seconds) for way in ways]
    cells = [
        name,
        cut,
        f"{tokens:,}",
        *(f"{way.computed / tokens:.2f}" for way in ways),
        *(f"{rate:,.0f}" for rate in rates),
        f"{rates[1] / rates[0]:.2f}×",
        *(f"{way.bytes / 2**20:,.0f}" for way in ways),
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure every shape and print or write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=16, help="examples of a batch")
    parser.add_argument("--rounds", type=int, default=3, help="counted passes of each")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    engine = make_engine(distributed.start())
    lines = []
    for name in SHAPES:
        samples = examples(name, options.count, options.seed)
        for cut in CUTS:
            ways = measure(engine, samples, cut, options.rounds)
            lines.append(line(name, cut, samples, ways))
            print(lines[-1], file=sys.stderr)
    text = TEXT.format(
        command=" ".join([Path(sys.executable).stem.rstrip("0123456789."), *sys.argv]),
        machine=f"{processor()}, {torch.get_num_threads()} thread, "
        f"torch {version('torch')}, transformers {version('transformers')}, "
        f"DeepSpeed {version('deepspeed')}",
        count=options.count,
        rounds=options.rounds,
        lines="\n".join(lines),
    )
    distributed.stop()
    options.output.write_text(text, "utf-8") if options.output else print(text)


TEXT = """# Packed rows beside padded ones

`{command}` on {machine}. A Qwen2 of 4 layers of 256, vocabulary 4,096, float32, attention `sdpa`;
batches of {count} examples, forward and backward; medians of {rounds} passes by processor time, the
two ways in turn. Gradient norms agree to 1e-4, which the run checks (tests hold every parameter's).
Tokens are the examples' own; computed is what passed through the model over those; memory is the
most live bytes of tensors above the model at rest.

| lengths | cut by | tokens | computed, padded | packed | tokens/s, padded | packed | | MiB, \
padded | packed |
|---|---|--:|--:|--:|--:|--:|--:|--:|--:|
{lines}

Padded rows are grouped by length already, so that little is padded where examples are alike, and
packing then changes nothing. It gains where lengths are spread, most where one is far longer than
the rest. Cut into so many micro-batches it may lose: each has few examples, long and short ones
together, as wide as its longest. Other work shared the machine, so read the ratios.
"""

if __name__ == "__main__":
    main()
