"""An update of GRPO and a whole step, beside TRL's: prompts shared, every row padded, GRPOTrainer.

One process; TRL's own training loop runs, and behind each of its steps both of ours take one on the
same prompts and completions, with the same model and optimizer, so that all three meet the same
machine. Time is the processor's. Memory is counted twice: the most bytes of live tensors above
those before, by torch's own account, and the peak of the process. The floor is what the matrix
products alone would take, each timed on its own. For whole steps all sample by themselves.

    OMP_NUM_THREADS=1 python benchmarks/train_step.py --output docs/benchmarks/train-step.md
"""

import argparse
import ctypes
import gc
import json
import os
import random
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    TrainerCallback,
)
from trl import GRPOConfig, GRPOTrainer

from machine import processor
from srl_eval.generate import Sampling, TransformersEngine
from srl_grpo.config.sections import EngineSection, OptimizerSection
from srl_grpo.learner import distributed
from srl_grpo.learner.batch import Sample
from srl_grpo.learner.engine import TrainingEngine
from srl_grpo.learner.policy import Policy
from srl_grpo.learner.prompt_groups import Group
from srl_grpo.learner.sharing import sharing_of
from srl_grpo.learner.updater import SHARED_RATIO, UpdateOptions, Updater
from srl_grpo.objective.loss import PolicyLoss

VOCABULARY, HIDDEN, INNER, LAYERS, HEADS, KEY_HEADS = 8192, 256, 1024, 6, 8, 2
PROMPTS, GROUP, ROWS = 4, 8, 8
RATE = 1e-6
RAGGED = (12, 40, 64, 80, 96, 116, 148, 212)
"""Completion tokens of a group whose mean is 96."""
SHAPES: dict[str, tuple[int, Sequence[int]]] = {
    "512/96": (512, (96,) * GROUP),
    "1024/64": (1024, (64,) * GROUP),
    "512/256": (512, (256,) * GROUP),
    "128/1024": (128, (1024,) * GROUP),
    "512/12 to 212": (512, RAGGED),
}
"""Tokens of a prompt, and of each of its completions."""
LEAST_STEPS = 3
STEPS = "updates of each way: the first is not counted, in the last memory is measured"


@dataclass
class Measured:
    """What one way took, step by step."""

    seconds: list[float] = field(default_factory=list)
    live: int = 0
    """Most bytes of tensors above those before the update."""
    peak: int = 0
    """Most bytes of the process above those before the update."""

    @property
    def median(self) -> float:
        """Seconds of a step; the first one is not counted."""
        return statistics.median(self.seconds[1:])


def make_model() -> Qwen2ForCausalLM:
    """A small model, the same one each time."""
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=INNER,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KEY_HEADS,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=1,
    )
    return Qwen2ForCausalLM(config)


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer whose words are the ids."""
    words = {f"w{number}": number for number in range(VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w1"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="w0", pad_token="w1", unk_token="w1"
    )


def made_samples(shape: str) -> list[Sample]:
    """Prompts and completions of a shape, with made-up advantages."""
    chance = random.Random(1)
    prompt_tokens, lengths = SHAPES[shape]
    found = []
    for group in range(PROMPTS):
        prompt = tuple(chance.randrange(10, VOCABULARY) for _ in range(prompt_tokens))
        for number, length in enumerate(lengths):
            completion = tuple(chance.randrange(10, VOCABULARY) for _ in range(length))
            advantage = (number - (GROUP - 1) / 2) / GROUP
            found.append(Sample(prompt, completion, group=group, advantage=advantage))
    return found


LIBC = ctypes.CDLL("libc.so.6")


def status(name: str) -> int:
    """A line of the process's status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


@contextmanager
def peaks(measured: Measured) -> Iterator[None]:
    """Both peaks of what runs inside."""
    gc.collect()
    LIBC.malloc_trim(0)
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        yield
    measured.peak = status("VmHWM") - before
    result = seen.profiler.kineto_results if seen.profiler else None
    events = [e for e in result.events() if e.name() == "[memory]"] if result else []
    total = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        total += event.nbytes()
        measured.live = max(measured.live, total)


@dataclass
class Ours:
    """One of our ways: an updater, and what it took."""

    updater: Updater
    found: Measured = field(default_factory=Measured)
    ratio: float = 0.0

    def update(self, samples: Sequence[Sample]) -> None:
        """A whole update, the optimizer's step included."""
        began = time.process_time()
        self.ratio = self.updater(samples, 0, RATE)[SHARED_RATIO]
        self.found.seconds.append(time.process_time() - began)


def make_ours(
    world: distributed.World, *, shared: bool, count: int, model: Path | None = None
) -> Ours:
    """An updater over a model of its own."""
    os.environ["LOCAL_RANK"] = "0"  # DeepSpeed asks for it; it is gone where TRL's trainer was made
    found = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32) if model else None
    policy = Policy(found or make_model())
    choice = "always" if shared else "never"
    sharing = sharing_of(policy, choice, world, lambda _: None)
    engine = TrainingEngine(policy, EngineSection(), OptimizerSection(learning_rate=RATE), world)
    options = UpdateOptions(batch_size=PROMPTS * GROUP, sharing=sharing, token_budget=count)
    return Ours(Updater(engine, PolicyLoss(), options, pad_id=1))


class Step(TrainerCallback):
    """Behind each of TRL's optimizer steps: its time, then ours."""

    def __init__(self, ways: Sequence[Callable[[bool], None]], steps: int) -> None:
        self.ways, self.steps = ways, steps
        self.found, self.rollout = Measured(), Measured()
        self.began = self.sampled = 0.0
        self.done = 0
        self.watch: object = None

    def on_step_begin(self, *_: object, **__: object) -> None:
        """The clock starts; sampling is inside, and taken off again."""
        self.began, self.sampled = time.process_time(), 0.0

    def on_step_end(self, *_: object, **__: object) -> None:
        """The clock stops; then the others take the same step."""
        if self.watch is not None:
            self.watch.__exit__(None, None, None)
            self.watch = None
        else:
            whole = time.process_time() - self.began
            self.rollout.seconds.append(whole)
            self.found.seconds.append(whole - self.sampled)
        self.done += 1
        last = self.done == self.steps
        for way in self.ways:
            way(last)

    def begin_update(self, sampled: float) -> None:
        """TRL has sampled; in the last step memory is watched from here."""
        self.sampled = sampled
        if self.done == self.steps - 1:
            self.watch = peaks(self.found)
            self.watch.__enter__()


def trl_trainer(samples: Sequence[Sample], step: Step, folder: str, *, fixed: bool) -> GRPOTrainer:
    """TRL's trainer on the same prompts; with `fixed` it is given the completions, too."""
    longest = max(len(sample.completion_ids) for sample in samples)
    texts = [
        " ".join(f"w{token}" for token in samples[row].prompt_ids)
        for row in range(0, len(samples), GROUP)
    ]
    for name in ("LOCAL_RANK", "RANK", "WORLD_SIZE"):
        os.environ.pop(name, None)  # our world of one set it; TRL would wrap the model for several
    arguments = GRPOConfig(
        output_dir=folder,
        per_device_train_batch_size=ROWS,
        gradient_accumulation_steps=PROMPTS * GROUP // ROWS,
        num_generations=GROUP,
        max_completion_length=longest,
        max_steps=step.steps,
        learning_rate=RATE,
        lr_scheduler_type="constant",
        beta=0.0,
        loss_type="dapo",
        mask_truncated_completions=False,
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        report_to=[],
        logging_strategy="no",
        save_strategy="no",
        disable_tqdm=True,
        shuffle_dataset=False,
        optim="adamw_torch_fused",
        max_grad_norm=1.0,
        seed=0,
        generation_kwargs={"min_new_tokens": longest},
    )

    class Timed(GRPOTrainer):  # type: ignore[misc]  # TRL is untyped
        def _generate_and_score_completions(self, inputs: object) -> object:
            began = time.process_time()
            found = super()._generate_and_score_completions(inputs)
            step.begin_update(time.process_time() - began)
            return found

    def given(prompts: Sequence[str], _: object) -> dict[str, object]:
        known = {text: number for number, text in enumerate(texts)}
        rows, times = [], [0] * len(texts)
        for prompt in prompts:
            group = known[prompt]
            rows.append(samples[group * GROUP + times[group]])
            times[group] += 1
        return {
            "prompt_ids": [list(s.prompt_ids) for s in rows],
            "completion_ids": [list(s.completion_ids) for s in rows],
            "logprobs": None,
        }

    def reward(completions: Sequence[str], **_: object) -> list[float]:
        return [(number % GROUP) / GROUP for number in range(len(completions))]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Timed(
            model=make_model(),
            reward_funcs=reward,
            args=arguments,
            train_dataset=Dataset.from_dict({"prompt": texts}),
            processing_class=make_tokenizer(),
            callbacks=[step],
            **({"rollout_func": given} if fixed else {}),
        )


@dataclass
class Row:
    """What all ways took at one shape."""

    shared: Measured
    padded: Measured
    trl: Measured
    ratio: float
    floor: float


def measure(world: distributed.World, shape: str, steps: int, folder: str) -> Row:
    """Updates on given completions, the three ways in turn."""
    samples = made_samples(shape)
    longest = max(sample.length for sample in samples)
    shared = make_ours(world, shared=True, count=16384)
    padded = make_ours(world, shared=False, count=ROWS * longest)
    ways = (shared, padded)

    def ours(last: bool) -> None:
        for way in ways:
            if last:
                with peaks(way.found):
                    way.updater(samples, 0, RATE)
            else:
                way.update(samples)

    step = Step([ours], steps)
    trl_trainer(samples, step, folder, fixed=True).train()
    return Row(shared.found, padded.found, step.found, shared.ratio, floor(shared, samples))


def best(call: Callable[[], object], times: int = 3) -> float:
    """The shortest of some calls, in seconds of the processor."""
    found = []
    for _ in range(times):
        began = time.process_time()
        call()
        found.append(time.process_time() - began)
    return min(found)


def products(tokens: int, inner: int, outer: int) -> float:
    """Seconds of a linear layer's three products: forward, by its input, by its weight."""
    inputs, weight = torch.randn(tokens, inner), torch.randn(outer, inner)
    grad = torch.randn(tokens, outer)
    calls: list[Callable[[], Tensor]] = [
        lambda: inputs @ weight.T,
        lambda: grad @ weight,
        lambda: grad.T @ inputs,
    ]
    return sum(best(call) for call in calls)


def floor(way: Ours, samples: Sequence[Sample]) -> float:
    """Seconds of the matrix products of a shared update, each of its passes by its own size.

    Attention counts the pairs that are seen, seven products each (two forward, five backward), at
    the rate of a square product of the layers' width.
    """
    total = 0.0
    width = HIDDEN // HEADS
    rate = (
        2 * 1024**2 * HIDDEN / best(lambda: torch.randn(1024, HIDDEN) @ torch.randn(HIDDEN, 1024))
    )
    known: dict[tuple[int, int], float] = {}
    for rows in way.updater.micro_batches(samples, way.updater.options.micro_batches).rows:
        group = Group.of(samples, rows)
        targets = sum(len(samples[row].completion_ids) for row in rows)
        size = group.tokens, targets
        if size not in known:
            shapes = [(HIDDEN, HIDDEN)] * 2 + [(HIDDEN, KEY_HEADS * width)] * 2
            shapes += [(HIDDEN, INNER)] * 2 + [(INNER, HIDDEN)]
            layer = sum(products(group.tokens, *shape) for shape in shapes)
            known[size] = LAYERS * layer + products(targets, HIDDEN, VOCABULARY)
        total += known[size] + 7 * 2 * group.pairs * HIDDEN * LAYERS / rate
    return total


def whole_steps(world: distributed.World, steps: int, folder: str) -> tuple[Measured, Measured]:
    """Sampling and update at 512/96: ours with shared prompts, and TRL's."""
    samples = made_samples("512/96")
    way, found = make_ours(world, shared=True, count=16384), Measured()
    engine = TransformersEngine(way.updater.engine.policy.model, pad_token_id=1)
    sampling = Sampling(max_new_tokens=96, temperature=1.0)
    prompts = [sample.prompt_ids for sample in samples]

    def ours(_: bool) -> None:
        began = time.process_time()
        written = engine.generate(prompts, sampling, list(range(len(prompts))))
        drawn = [
            replace(sample, completion_ids=c.token_ids, sampler_logprobs=c.logprobs)
            for sample, c in zip(samples, written, strict=True)
        ]
        way.updater(drawn, 0, RATE)
        found.seconds.append(time.process_time() - began)

    step = Step([ours], steps)
    trl_trainer(samples, step, folder, fixed=False).train()
    return found, step.rollout


def real_samples(folder: Path, tokenizer: PreTrainedTokenizerBase) -> list[Sample]:
    """A problem with its first steps, and the steps that follow in eight others as completions."""
    rows = [json.loads(text) for text in folder.read_text().splitlines()[: 2 * GROUP]]
    first = rows[0]
    prompt = tokenizer.encode("\n\n".join([first["problem"], *first["previous_steps"]]))[
        :REAL_PROMPT
    ]
    found = []
    for number, row in enumerate(rows[:GROUP]):
        ids = tokenizer.encode(row["target_step"], add_special_tokens=False)[:REAL_COMPLETION]
        advantage = (number - (GROUP - 1) / 2) / GROUP
        found.append(Sample(tuple(prompt), tuple(ids), advantage=advantage))
    return found


def real_update(world: distributed.World, model: Path, instances: Path) -> str:
    """One prompt's update of a real model, shared and padded: tokens per second and memory."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    samples = real_samples(instances, tokenizer)
    tokens = sum(sample.length for sample in samples)
    lines = []
    for shared in (True, False):
        count = ROWS * max(sample.length for sample in samples)
        way = make_ours(world, shared=shared, count=count, model=model)
        way.update(samples)
        with peaks(way.found):
            way.updater(samples, 0, RATE)
        rate = tokens / way.found.seconds[-1]
        name = "shared" if shared else "padded"
        lines.append(
            f"| {name} | {way.ratio:.2f} | {way.found.seconds[-1]:.1f} | {rate:,.0f} "
            f"| {mib(way.found.live)} / {mib(way.found.peak)} |"
        )
    lengths = [len(sample.completion_ids) for sample in samples]
    return REAL.format(
        name=model.name,
        prompt=len(samples[0].prompt_ids),
        least=min(lengths),
        most=max(lengths),
        table="\n".join(lines),
    )


REAL = """
## A real model

{name}, float32: a prompt of {prompt} tokens (a problem and its first steps) and eight real steps of
{least} to {most} tokens; one update of each way, without a warm-up.

| | trained per computed | s | tokens/s | MiB |
|---|--:|--:|--:|--:|
{table}
"""
REAL_PROMPT, REAL_COMPLETION = 400, 120


def mib(count: int) -> str:
    """Bytes in MiB."""
    return f"{count / 2**20:,.0f}"


def line(shape: str, row: Row) -> str:
    """A shape's line of the table."""
    ours, padded, trl = row.shared, row.padded, row.trl
    cells = [
        shape,
        f"{row.ratio:.2f}",
        *(f"{way.median:.2f}" for way in (ours, padded, trl)),
        f"{padded.median / ours.median:.2f}×",
        f"**{trl.median / ours.median:.2f}×**",
        f"{ours.median / row.floor:.2f}×",
        *(f"{mib(way.live)} / {mib(way.peak)}" for way in (ours, padded, trl)),
        f"**{trl.live / ours.live:.2f}×**",
    ]
    return "| " + " | ".join(cells) + " |"


HEAD = """# A training step beside TRL's

`python benchmarks/train_step.py --output docs/benchmarks/train-step.md` on {machine}, {threads}
thread, torch {torch}, transformers {transformers}, TRL {trl}. A Qwen2 of {layers} layers of
{hidden}, vocabulary {vocabulary:,}, float32, AdamW; {prompts} prompts × {group} completions, loss
`dapo`.

## The update

Seconds of the processor for a whole update, the optimizer's step included: medians of {steps}
behind one that is not counted, the three ways in turn, inside TRL's own training loop. *Padded* is
ours with `--shared-prompts never`; it and TRL's `GRPOTrainer` take {rows} rows a forward pass.
*Floor* is the time over that of the matrix products alone. Memory in MiB is what an update takes
beyond model, gradients and optimizer: live tensors / the process's peak, of a step of its own under
torch's profiler.

| prompt / completion tokens | trained per computed | shared, s | padded, s | TRL, s | \
padded ÷ shared | TRL ÷ shared | floor | shared, MiB | padded, MiB | TRL, MiB | TRL ÷ shared |
|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|
"""

TAIL = """
## The whole step

At 512/96 with sampling, each by its own means (ours `srl_eval.generate`, TRL's `model.generate`):
ours **{ours:.1f} s**, TRL's {trl:.1f} s, **{ratio:.2f}×**.

Other work shared the machine, so read the ratios. Equality of gradients and metrics is held by
`packages/srl-grpo/tests/test_grpo_shared_update.py`: 1e-12 in float64 over random trees, every
loss, every ZeRO stage, five families of models. Nothing here was run on a GPU.
"""


def main(arguments: Sequence[str]) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path)
    parser.add_argument("--shapes", nargs="*", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--steps", type=int, default=4, help=STEPS)
    parser.add_argument("--no-whole-step", action="store_true")
    parser.add_argument("--model", type=Path, help="folder of a real model")
    parser.add_argument("--instances", type=Path, help="SRL instances for it")
    options = parser.parse_args(arguments)
    if options.steps < LEAST_STEPS:
        parser.error(f"--steps {options.steps}: expected at least {LEAST_STEPS}")
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    world = distributed.start()
    text = HEAD.format(
        machine=processor(),
        threads=torch.get_num_threads(),
        torch=version("torch"),
        transformers=version("transformers"),
        trl=version("trl"),
        layers=LAYERS,
        hidden=HIDDEN,
        vocabulary=VOCABULARY,
        prompts=PROMPTS,
        group=GROUP,
        rows=ROWS,
        steps=options.steps - 2,
    )
    with tempfile.TemporaryDirectory() as folder:
        for shape in options.shapes:
            found = line(shape, measure(world, shape, options.steps, folder))
            print(found, flush=True)
            text += found + "\n"
        if options.model and options.instances:
            found = real_update(world, options.model, options.instances)
            print(found, flush=True)
            text += found
        if not options.no_whole_step:
            ours, trl = whole_steps(world, 3, folder)
            values = {"ours": ours.median, "trl": trl.median}
            found = TAIL.format(**values, ratio=trl.median / ours.median)
            print(found, flush=True)
            text += found
    if options.output:
        options.output.write_text(text)
    distributed.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
